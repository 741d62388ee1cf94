"""Jobs that are kept together (`x-cube.together`): what could never be on one node.

Findings for `checks`; nothing here changes anything.
"""

from __future__ import annotations

from collections.abc import Iterator

from cube.compose.document import Path
from cube.compose.models import JobFile, Service
from cube.compose.translate import gpu_need
from cube.spec import GpuNeed

Finding = tuple[Path, str, str]
APART = "Change it, or remove `together`."


def together_problems(file: JobFile) -> Iterator[Finding]:
    """What keeps a job from being on one node, whatever nodes there are."""
    if not file.cube.together:
        return
    for name, service in file.services.items():
        yield from _spread_out(("services", name), service)
    yield from _gpus(file)


def together_warnings(file: JobFile) -> Iterator[Finding]:
    """What has no effect on one node."""
    for name, service in file.services.items() if file.cube.together else ():
        spread = service.cube.spread
        if spread is not None and spread.mode == "prefer":
            text = "`spread` has no effect in a job that is kept together"
            yield ("services", name, "x-cube", "spread"), text, "Remove it."


def _spread_out(path: Path, service: Service) -> Iterator[Finding]:
    deploy, several = service.deploy, (service.deploy.replicas or 1) > 1
    if deploy.mode.startswith("global"):
        text = f"`{deploy.mode}` runs on every node, and the job is kept together on one"
        yield (*path, "deploy", "mode"), text, APART
        return
    most = deploy.placement.max_replicas_per_node
    if most is not None and (deploy.replicas or 1) > most:
        text = f"{deploy.replicas} instances cannot be together, with {most} on a node at most"
        yield (*path, "deploy", "placement", "max_replicas_per_node"), text, APART
    spread = service.cube.spread
    if several and spread is not None and spread.mode == "require":
        text = "instances that must be spread cannot be together on one node"
        yield (*path, "x-cube", "spread"), text, APART
    for index, entry in enumerate(service.ports):
        if several and entry.published:
            text = "instances on one node cannot share a host port, and the job is kept together"
            yield (*path, "ports", index), text, "Publish without a host port."


def _gpus(file: JobFile) -> Iterator[Finding]:
    """Room for all GPUs is looked for at once: only what can be added up can be asked for."""
    needs: list[GpuNeed] = []
    for name, service in file.services.items():
        need = gpu_need(service)
        needs += [] if need is None else [need] * (service.deploy.replicas or 1)
        if needs and GpuNeed.all_of(needs) is None:
            text = "in a job that is kept together, GPUs are whole ones of the same models"
            yield ("services", name), text, "Ask for those, or for one share in all."
            return
