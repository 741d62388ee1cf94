"""Names and labels of what Cube makes in a Docker engine, and how they are read back.

Names are deterministic, so that a create whose answer was lost is found again; labels carry the
whole identity, so that a container can be adopted by a worker that has forgotten everything.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from cube import codec
from cube.engine import spec_hash
from cube.messages import Run, RunKey
from cube.spec import TaskSpec
from cube.task import TaskName

CLUSTER = "cube.cluster"
NODE = "cube.node"
JOB = "cube.job"
SERVICE = "cube.service"
TASK = "cube.task"  # the uid
ATTEMPT = "cube.attempt"
RESTART = "cube.restart"
VERSION = "cube.version"
SPEC = "cube.spec"  # hash
CPU = "cube.cpu_milli"
MEMORY = "cube.memory_mib"
DISK = "cube.disk_mib"
GPUS = "cube.gpus"  # device numbers, or absent
GPU = "cube.gpu_milli"  # thousandths of each of them
ON_DISCONNECT = "cube.on_disconnect"
GRACE = "cube.stop_grace_seconds"
BOOT = "cube.boot"  # of the machine, when the container was made
MADE_FROM = "cube.made_from"  # the whole spec: an engine outlives any store
FAILURES = "cube.failures"  # when they were seen, known when the container was made; or absent
VOLUME = "cube.volume"

# What must agree before a container of the right name is taken for the run that was asked for.
_NUMBER = re.compile(r"[0-9]{1,15}")
_DEVICE = re.compile(r"[0-9]{1,3}")
IDENTITY = (CLUSTER, NODE, JOB, SERVICE, TASK, ATTEMPT, RESTART, VERSION, SPEC)


def short(cluster: str) -> str:
    """The part of a cluster's id that stands in names."""
    return _clean(cluster)[:8]


def container_name(cluster: str, key: RunKey) -> str:
    """`cube.<cluster8>.<job>.<service>.<index>.<incarnation>.a<attempt>.r<restart>`."""
    name = TaskName.parse(key.uid)
    parts = ("cube", short(cluster), name.job, name.service, _clean(name.index))
    return ".".join((*parts, str(name.incarnation), f"a{key.attempt}", f"r{key.restart}"))


def kept_name(name: str) -> str:
    """What a container is called once its run is over and done with."""
    return f"{name}.kept"


def is_kept(name: str) -> bool:
    """Is that the name of a container whose run is over and done with?"""
    return name.endswith(kept_name(""))


def network_name(cluster: str, job: str) -> str:
    """The network on which the services of a job find one another."""
    return f"cube-{short(cluster)}-{job}"


def volume_name(cluster: str, job: str, volume: str) -> str:
    """A job's named volume as the engine knows it."""
    return f"cube-{short(cluster)}-{job}-{_clean(volume)}"


def labels_of(cluster: str, node: str, run: Run, boot: str) -> dict[str, str]:
    """The user's labels and, never overridden by them, the identity of a run."""
    name = TaskName.parse(run.key.uid)
    spec = run.spec
    users = {label: value for label, value in spec.labels if label not in (FAILURES, GPUS, GPU)}
    return {
        **users,
        CLUSTER: cluster,
        NODE: node,
        JOB: name.job,
        SERVICE: name.service,
        TASK: run.key.uid,
        ATTEMPT: str(run.key.attempt),
        RESTART: str(run.key.restart),
        VERSION: str(run.version),
        SPEC: spec_hash(spec),
        MADE_FROM: codec.dumps(spec),
        **_size_labels(spec),
        **_gpu_labels(run),
        ON_DISCONNECT: spec.on_disconnect,
        GRACE: repr(spec.stop_grace_seconds),
        BOOT: boot,
        **({FAILURES: ",".join(map(repr, run.failures))} if run.failures else {}),
    }


def _size_labels(spec: TaskSpec) -> dict[str, str]:
    sizes = (spec.cpu_milli, spec.memory_mib, spec.disk_mib)
    return {name: str(size) for name, size in zip((CPU, MEMORY, DISK), sizes, strict=True)}


def _gpu_labels(run: Run) -> dict[str, str]:
    if run.spec.gpu is None:
        return {}
    return {GPUS: ",".join(map(str, run.gpus)), GPU: str(run.spec.gpu.milli)}


def key_of(labels: Mapping[str, str]) -> RunKey | None:
    """The run that labels name; None if they name none: anybody can make a container."""
    try:
        uid, attempt, restart = labels[TASK], labels[ATTEMPT], labels[RESTART]
        TaskName.parse(uid)
    except (KeyError, ValueError):
        return None
    if not (_NUMBER.fullmatch(attempt) and _NUMBER.fullmatch(restart)):
        return None
    return RunKey(uid, int(attempt), int(restart))


def size_of(labels: Mapping[str, str]) -> tuple[int, int, int]:
    """(cpu_milli, memory_mib, disk_mib) that a container was placed with."""
    cpu, memory, disk = (_int(labels.get(name, "")) for name in (CPU, MEMORY, DISK))
    return (cpu, memory, disk)


def version_of(labels: Mapping[str, str]) -> int:
    """The version of its job that a container was made from; 0 if no label says so."""
    return _int(labels.get(VERSION, ""))


def made_from(labels: Mapping[str, str]) -> TaskSpec | None:
    """The spec that a container was made from; None if no label of ours says so."""
    try:
        spec = codec.loads(labels.get(MADE_FROM, ""))
    except codec.CodecError:
        return None
    return spec if isinstance(spec, TaskSpec) else None


def gpus_of(labels: Mapping[str, str]) -> tuple[tuple[int, ...], int]:
    """The device numbers that a container was given, and the thousandths of each."""
    numbers = labels.get(GPUS, "").split(",")
    return tuple(int(n) for n in numbers if _DEVICE.fullmatch(n)), _int(labels.get(GPU, ""))


def grace_of(labels: Mapping[str, str]) -> float:
    """The stop grace in seconds that a container was made with."""
    try:
        return float(labels.get(GRACE, ""))
    except ValueError:
        return 10.0


def failures_of(labels: Mapping[str, str]) -> tuple[float, ...]:
    """When the failures were seen that were known when a container was made."""
    try:
        found = tuple(float(at) for at in labels.get(FAILURES, "").split(",") if at)
    except ValueError:
        return ()
    return found if all(map(math.isfinite, found)) else ()


def label_filter(cluster: str, node: str | None = None, job: str | None = None) -> list[str]:
    """The engine's filter for what belongs to a cluster (and node, and job)."""
    wanted = {CLUSTER: cluster, NODE: node, JOB: job}
    return [f"{name}={value}" for name, value in wanted.items() if value is not None]


def _clean(text: str) -> str:
    return re.sub(r"[^a-zA-Z0-9_-]", "-", text)


def _int(text: str) -> int:
    return int(text) if _NUMBER.fullmatch(text) else 0
