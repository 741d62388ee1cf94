"""Tagged JSON for every frozen value of `cube.messages`, `cube.task` and `cube.spec`.

One encoder and one decoder are compiled per class from its type hints, once. A field whose type
names one class is written without a tag; where anything may stand (`Any`, unions of classes, the
value itself) it is written as `{"$": "ClassName", ...}`. Round trips are exact: tuples, None,
enums and infinite floats come back as they were. Keys of a newer version are ignored, missing
keys take their defaults. Nothing here reads or writes files, or runs what it reads.
"""

from cube.codec.catalogue import CATALOGUE, TAG, CodecError
from cube.codec.reading import decode, loads, loads_sent
from cube.codec.writing import dumps, encode

__all__ = ["CATALOGUE", "TAG", "CodecError", "decode", "dumps", "encode", "loads", "loads_sent"]
