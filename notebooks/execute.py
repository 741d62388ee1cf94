"""Carry out notebooks and keep what they show: `python notebooks/execute.py [NAME.py ...]`.

The `.py` files are what people edit; the `.ipynb` files are made of them and of their outputs.
A quick form takes other parameters, which the cell that sets them carries in its metadata.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import jupytext
import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).parent
SECONDS = 1800  # for one cell


def names() -> list[Path]:
    """Every notebook's text."""
    return sorted(path for path in HERE.glob("*.py") if path != Path(__file__))


def executed(path: Path, *, quick: bool = False) -> Any:
    """The notebook with its outputs.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell raised.
    """
    notebook = jupytext.read(path)
    for place, cell in enumerate(notebook.cells):
        cell["id"] = str(place)  # not a random one: equal notebooks are equal files
        if quick and "quick" in cell.metadata:
            cell.source = cell.metadata["quick"]
    client = NotebookClient(
        notebook,
        timeout=SECONDS,
        kernel_name="python3",
        record_timing=False,
        resources={"metadata": {"path": str(HERE)}},
    )
    client.execute()
    return notebook


if __name__ == "__main__":
    for place in [Path(name) for name in sys.argv[1:]] or names():
        print(place.name, flush=True)
        nbformat.write(executed(place), place.with_suffix(".ipynb"))
