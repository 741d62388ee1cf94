"""The openb trace: 1,523 nodes of a GPU cluster at Alibaba in 2023, and the pods that came to it.

Owns the form of its two kinds of files, which `pack` and `reproduce fgd` take.

Nodes: `sn, cpu_milli, memory_mib, gpu, model`. Pods: `name, cpu_milli, memory_mib, num_gpu,
gpu_milli, gpu_spec` and others that are not read here. `gpu_milli` is a share of one GPU where
`num_gpu` is 1; `gpu_spec` are the models that will do, as `A|B`.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cube.messages import NodeInfo
from cube.spec import WHOLE_GPU_MILLI, Demand, GpuNeed
from sim.errors import InputError, did_you_mean

WHAT = "nodes and pods of Alibaba's GPU cluster of 2023, for pack and reproduce fgd"
WHERE = (
    "github.com/alibaba/clusterdata, cluster-trace-gpu-v2023; variants of the pods:"
    " github.com/hkust-adsl/kubernetes-scheduler-simulator"
)
NODE_COLUMNS = ("sn", "cpu_milli", "memory_mib", "gpu", "model")
POD_COLUMNS = ("name", "cpu_milli", "memory_mib", "num_gpu", "gpu_milli", "gpu_spec")
_MOST = 2**40  # of any number: beyond this a file is broken


@dataclass(frozen=True, slots=True)
class Pod:
    """One pod of the trace: its name, and what it reserves."""

    name: str
    demand: Demand


class _Row:
    """A line of a file, whose cells know where they stand."""

    def __init__(self, path: Path, line: int, cells: dict[str, str]) -> None:
        self._path = path
        self._line = line
        self._cells = cells

    def error(self, text: str, remedy: str) -> InputError:
        return InputError(f"{self._path}:{self._line}: {text}", remedy)

    def text(self, column: str) -> str:
        return self._cells[column].strip()

    def name(self, column: str) -> str:
        name = self.text(column)
        if not name:
            raise self.error(f"`{column}` is empty", "Every line needs its own name.")
        return name

    def whole(self, column: str) -> int:
        text = self.text(column)
        if not (text.isascii() and text.isdecimal() and int(text) <= _MOST):
            raise self.error(f"`{column}` is {text!r}", "It must be a whole number, not below 0.")
        return int(text)


def read_nodes(path: Path) -> tuple[NodeInfo, ...]:
    """The nodes of the cluster, in the order of the file.

    Raises:
        InputError: the file cannot be read, or line so-and-so is wrong.
    """
    nodes: dict[str, NodeInfo] = {}
    for row in _rows(path, NODE_COLUMNS):
        name, model, count = row.name("sn"), row.text("model"), row.whole("gpu")
        if count and not model:
            raise row.error(f"{count} GPUs without a `model`", "Name it, or write 0 for `gpu`.")
        if name in nodes:
            raise row.error(f"node {name!r} is there twice", "Remove one of them.")
        cpu, memory = row.whole("cpu_milli"), row.whole("memory_mib")
        nodes[name] = NodeInfo(name, cpu, memory, 0, gpus=(model,) * count)
    return tuple(nodes.values())


def read_pods(path: Path) -> tuple[Pod, ...]:
    """The pods, in the order of the file.

    Raises:
        InputError: the file cannot be read, or line so-and-so is wrong.
    """
    pods: dict[str, Pod] = {}
    for row in _rows(path, POD_COLUMNS):
        name = row.name("name")
        if name in pods:
            raise row.error(f"pod {name!r} is there twice", "Remove one of them.")
        cpu, memory = row.whole("cpu_milli"), row.whole("memory_mib")
        pods[name] = Pod(name, Demand(cpu, memory, gpu=_need(row)))
    return tuple(pods.values())


def described(path: Path) -> str:
    """What a file holds, once all of it was read.

    Raises:
        InputError: as `read_nodes` and `read_pods`.
    """
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            of_nodes = "sn" in file.readline().split(",")
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}", "Name a file of openb.") from None
    if of_nodes:
        nodes = read_nodes(path)
        gpus = sum(len(info.gpus) for info in nodes)
        models = sorted({model for info in nodes for model in info.gpus})
        return f"{path}: {len(nodes):,} nodes with {gpus:,} GPUs ({', '.join(models)})"
    pods = read_pods(path)
    milli = sum(pod.demand.gpu_milli for pod in pods)
    shapes = len({pod.demand for pod in pods})
    return f"{path}: {len(pods):,} pods of {shapes:,} shapes, {milli / WHOLE_GPU_MILLI:,.1f} GPUs"


def _need(row: _Row) -> GpuNeed | None:
    count, milli = row.whole("num_gpu"), row.whole("gpu_milli")
    if not count:
        if milli:
            raise row.error(f"`gpu_milli` is {milli}, but `num_gpu` is 0", "Write 0 for both.")
        return None
    if not 0 < milli <= WHOLE_GPU_MILLI:
        raise row.error(f"`gpu_milli` is {milli}", "It must be 1 to 1000, a share of one GPU.")
    if count > 1 and milli < WHOLE_GPU_MILLI:
        raise row.error(f"a share of {milli} of {count} GPUs", "A share is of one GPU only.")
    models = tuple(sorted(filter(None, row.text("gpu_spec").split("|"))))
    return GpuNeed(count, milli, models)


def _rows(path: Path, wanted: tuple[str, ...]) -> Iterator[_Row]:
    """The lines after the head, each with a cell for every column of the head."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise InputError(f"cannot read {path}: {reason}", "Name a CSV file of openb.") from None
    reader = csv.reader(text.splitlines())
    head = next(reader, [])
    for column in wanted:
        if column not in head:
            remedy = did_you_mean(column, head) if head else "Name a CSV file of openb."
            raise InputError(f"{path}:1: there is no column `{column}`", remedy)
    found = 0
    for cells in reader:
        if not cells:
            continue  # an empty line
        if len(cells) != len(head):
            raise InputError(
                f"{path}:{reader.line_num}: {len(cells)} cells for {len(head)} columns",
                "Is the file cut off? Get it anew.",
            )
        found += 1
        yield _Row(path, reader.line_num, dict(zip(head, cells, strict=True)))
    if not found:
        raise InputError(f"{path} has no lines after its head", "Is the file cut off?")
