"""`cube run IMAGE`: a job of one service, from the options of a command line.

The options become the document that a file would have been, so that they mean the same and are
checked the same; only the places of problems differ: they are names of options.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cube.compose.document import Document, Map, Path, Place
from cube.compose.models import suggested_name
from cube.compose.problem import Problem, SpecError
from cube.compose.reading import finish
from cube.compose.translate import Surroundings
from cube.spec import JobSpec

_DEFAULT_NAME = "task"
_LIMITS = ("deploy", "resources", "limits")
_PLACES: dict[tuple[str, ...], str] = {
    ("image",): "IMAGE",
    ("command",): "COMMAND",
    ("deploy", "replicas"): "--replicas",
    (*_LIMITS, "cpus"): "--cpus",
    (*_LIMITS, "memory"): "--memory",
    ("x-cube", "disk"): "--disk",
    ("environment",): "-e",
    ("ports",): "-p",
    ("restart",): "--restart",
}


@dataclass(slots=True)
class _Options(Document):
    """A document whose places are options."""

    service: str = field(default="")

    def problem(self, path: Path, text: str, remedy: str = "", *, at_key: bool = False) -> Problem:
        inner = path[2:] if path[:2] == ("services", self.service) else ()
        option = "--name"
        for length in range(len(inner), 0, -1):
            known = _PLACES.get(tuple(str(step) for step in inner[:length]))
            if known:
                option = known
                break
        return Problem(option, 0, 0, re.sub(r"^`[\w-]+`:? ", "", text), remedy)

    def place(self, path: Path, *, at_key: bool = False) -> Place:
        """Options have no lines."""
        return (0, 0)


def job_from_options(
    image: str,
    command: Sequence[str] = (),
    *,
    name: str | None = None,
    replicas: int | str | None = None,
    cpus: str | float | None = None,
    memory: str | None = None,
    disk: str | None = None,
    env: Sequence[str] = (),
    publish: Sequence[str] = (),
    restart: str | None = None,
    batch: bool | None = None,
    environ: Mapping[str, str] | None = None,
) -> JobSpec:
    """The job `cube run IMAGE [-- COMMAND...]`, whose one service bears the job's name.

    `cpus` and `memory` are limits, which placement counts too. `env` holds NAME=value, or NAME,
    whose value is in `environ`. `batch`: does exiting with 0 complete it? See `_mode`.

    Raises:
        SpecError: whose problems name the option instead of a file.
    """
    job = name if name is not None else name_from_image(image)
    service: dict[str, Any] = {
        "image": image,
        "command": list(command) or None,
        "environment": list(env),
        "ports": list(publish),
        "restart": restart,
        "deploy": {
            "mode": _mode(batch, restart),
            "replicas": replicas,
            "resources": {"limits": {"cpus": cpus, "memory": memory}},
        },
        "x-cube": {"disk": disk},
    }
    data = Map((0, 0))
    data["services"] = {job: service}
    if not image.strip():
        raise SpecError([Problem("IMAGE", 0, 0, "is empty", "Name an image.")])
    document = _Options(file="", data=data, service=job)
    return finish(document, Surroundings(job, source="", folder="/"), environ or {}).job


def _mode(batch: bool | None, restart: str | None) -> str:
    """What may come to an end by its way to restart is batch, unless told otherwise."""
    if batch is None:
        batch = re.match(r"(no|on-failure)(:|$)", restart or "") is not None
    return "replicated-job" if batch else "replicated"


def name_from_image(image: str) -> str:
    """The name of a job that runs this image: `registry.example/shop/web:1.2` -> `web`."""
    last = image.split("@")[0].rsplit("/", 1)[-1].split(":")[0]
    return suggested_name(last) or _DEFAULT_NAME
