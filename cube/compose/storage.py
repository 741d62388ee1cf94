"""`volumes` and `tmpfs` of a service, and the job's own `volumes`."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from cube import units
from cube.compose.part import Ignored, Part, Refused
from cube.compose.scalars import shown
from cube.compose.written import (
    STRING,
    Bytes,
    Flag,
    Text,
    Written,
    only,
    read_flag,
    read_list,
    read_text,
    wrong,
)

_VOLUME_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,99}")
_HARMLESS = {"rw", "z", "Z", "cached", "delegated", "consistent"}
_HOW = "Write 'name:/path', './folder:/path:ro' or '/path'."


class VolumeExtras(Part):
    """`x-cube` of a volume or of a long mount."""

    title = "`x-cube` of a volume"

    shared: Flag = Field(
        False,
        description="The data is reachable from every node (a network file system): the task is"
        " not tied to the node where it first ran.",
    )


class BindOptions(Part):
    """`bind` of a long mount."""

    title = "`bind` of a long mount"

    create_host_path: Annotated[Any, Ignored("A host path must exist on its node.")] = None
    selinux: Annotated[Any, Ignored("It has no effect.")] = None
    propagation: Annotated[Any, Refused("Remove it.")] = None
    recursive: Annotated[Any, Refused("Remove it.")] = None


class VolumeOptions(Part):
    """`volume` of a long mount."""

    title = "`volume` of a long mount"

    nocopy: Annotated[Any, Refused("Remove it.")] = None
    subpath: Annotated[Any, Refused("Mount the whole volume.")] = None
    labels: Annotated[Any, Ignored("It has no effect.")] = None


class TmpfsOptions(Part):
    """`tmpfs` of a long mount."""

    title = "`tmpfs` of a long mount"

    size: Bytes | None = Field(None, description="At most so large; rounded up to MiB.")
    mode: Annotated[Any, Refused("Set the mode in the command.")] = None


def read_path(value: Any) -> str:
    """A path inside the container."""
    text = read_text(value)
    if not text.startswith("/") or "\0" in text:
        raise wrong(f"{shown(value)} is not an absolute path", "Begin it with '/'.")
    return text


Target = Annotated[str, Written(read_path, (STRING,))]


def read_mount(value: Any) -> Any:
    """The short form as the long one; the long form as it is."""
    if isinstance(value, dict):
        return value
    source, target, options = _split_mount(read_text(value), value)
    for option in options:
        if option != "ro" and option not in _HARMLESS:
            raise wrong(f"mount option '{option}' is not supported by Cube", "Remove it.")
    is_path = source.startswith(("/", ".", "~"))
    return {
        "type": "bind" if is_path else "volume",
        **({"source": source} if source else {}),
        "target": target,
        "read_only": "ro" in options,
    }


def _split_mount(text: str, value: Any) -> tuple[str, str, list[str]]:
    """(source or "", target, options) of a short mount."""
    parts = text.split(":")
    if not all(parts) or len(parts) > 3:
        raise wrong(f"{shown(value)} is not a mount", _HOW)
    if len(parts) == 1:
        return "", parts[0], []
    return parts[0], parts[1], parts[2].split(",") if len(parts) == 3 else []


class MountEntry(Part):
    """A mount in its long form."""

    title = "A service's `volumes`, long form"

    type: Literal["volume", "bind", "tmpfs"] = Field(description="`volume`, `bind` or `tmpfs`.")
    source: Text | None = Field(
        None,
        description="A volume of the job's `volumes`, or a host path; relative ones start at the"
        " file's folder. A volume without a source is anonymous.",
    )
    target: Target = Field(description="Absolute path in the container.")
    read_only: Flag = Field(False, description="Mounted read-only.")
    bind: BindOptions = Field(BindOptions(), description="See below.")
    volume: VolumeOptions = Field(VolumeOptions(), description="See below.")
    tmpfs: TmpfsOptions = Field(TmpfsOptions(), description="See below.")
    consistency: Annotated[Any, Ignored("It has no effect.")] = None
    cube: VolumeExtras = Field(VolumeExtras(), alias="x-cube", description="See below.")

    @model_validator(mode="after")
    def _source_fits(self) -> MountEntry:
        if self.type == "bind" and not (self.source or "").startswith(("/", ".", "~")):
            raise wrong("a bind mount needs a host path", "Begin `source` with '/' or './'.")
        if self.type == "bind" and re.match(r"~[^/]", self.source or ""):
            raise wrong(f"'{self.source}' names another user's folder", "Write the whole path.")
        if self.type == "tmpfs" and self.source:
            raise wrong("a tmpfs mount has no source", "Remove `source`.")
        return self


def read_tmpfs(value: Any) -> Any:
    """`/path` or `/path:size=64m` as the long form."""
    target, _, options = read_text(value).partition(":")
    size: dict[str, Any] = {}
    for option in filter(None, options.split(",")):
        name, _, amount = option.partition("=")
        if name == "size":
            size = {"size": amount}
        elif option != "rw":
            raise wrong(f"tmpfs option '{option}' is not supported by Cube", "Write size= alone.")
    if size:
        try:
            units.parse_bytes(size["size"])
        except ValueError as error:
            raise wrong(f"{shown(size['size'])} is not a size", f"{error}.") from None
    return {"type": "tmpfs", "target": target, "tmpfs": size}


MountForm = Annotated[MountEntry, Written(read_mount, (STRING,), True)]
TmpfsForm = Annotated[MountEntry, Written(read_tmpfs, (STRING,))]
TmpfsList = Annotated[
    tuple[TmpfsForm, ...],
    Written(read_list, (STRING, {"type": "array", "items": STRING})),
]


def read_volume_name(value: Any) -> str:
    """The name of a named volume."""
    text = read_text(value)
    if _VOLUME_NAME.fullmatch(text) is None:
        raise wrong(
            f"{shown(value)} cannot name a volume", "Use letters, digits, '_', '.' and '-'."
        )
    return text


def read_external(value: Any) -> bool:
    """False; a volume that is made elsewhere is refused."""
    if read_flag(value):
        raise wrong("`external: true` is not supported by Cube", "Remove it, or bind a host path.")
    return False


VolumeName = Annotated[str, Written(read_volume_name, (STRING,))]


class TopVolume(Part):
    """A named volume of the job."""

    title = "The job's `volumes`"

    name: VolumeName | None = Field(
        None, description="Its name instead of the key. Either is prefixed with the job's name."
    )
    driver: Annotated[Text, only("local")] = Field("local", description="Only `local`.")
    driver_opts: Annotated[
        Any, Refused("Mount the file system on the nodes and write a bind with x-cube.shared.")
    ] = None
    external: Annotated[bool, Written(read_external, ({"const": False},))] = Field(
        False, description="Only `false`: Cube makes each job's volumes."
    )
    labels: Annotated[Any, Ignored("It has no effect.")] = None
    cube: VolumeExtras = Field(VolumeExtras(), alias="x-cube", description="See below.")


VolumeForm = Annotated[
    TopVolume, Written(lambda v: {} if v is None else v, ({"type": "null"},), True)
]
