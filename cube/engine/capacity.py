"""How much of a machine tasks may use: what it has, less a reserve, divided by its nodes.

Owns the reserve and the identity of the running machine. Never measures load.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from cube.messages import NodeInfo

MIB = 1024 * 1024
GPU_SECONDS = 20  # `nvidia-smi` may wake a sleeping driver


class Reserve(NamedTuple):
    """What a machine keeps for itself."""

    cpu_milli: int = 250
    memory_mib: int = 512
    disk_mib: int = 512


class Share(NamedTuple):
    """The part of a machine that a node may use: the `number`-th of `parts` equal ones."""

    number: int = 0
    parts: int = 1
    reserve: Reserve = Reserve()


WHOLE = Share()


def with_capacity(
    info: NodeInfo, cpu_milli: int, memory_mib: int, disk_mib: int, share: Share
) -> NodeInfo:
    """`info` with a share of a machine's sizes less the reserve.

    A machine smaller than the reserve offers nothing. GPUs are dealt out in turn: each keeps its
    number, and is one node's alone.
    """
    part, parts, reserve = share
    assert 0 <= part < parts, f"{share} is no part"
    return replace(
        info,
        cpu_milli=max(0, cpu_milli - reserve.cpu_milli) // parts,
        memory_mib=max(0, memory_mib - reserve.memory_mib) // parts,
        disk_mib=max(0, disk_mib - reserve.disk_mib) // parts,
        gpus=tuple(m if number % parts == part else "" for number, m in enumerate(info.gpus)),
    )


def machine_gpus() -> tuple[str, ...]:
    """The models of this machine's NVIDIA GPUs by number; none where `nvidia-smi` is not there."""
    query = ("nvidia-smi", "--query-gpu=index,name", "--format=csv,noheader")
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=GPU_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return read_gpus(answer.stdout) if answer.returncode == 0 else ()


def read_gpus(answer: str) -> tuple[str, ...]:
    """Models by number, from lines like `0, Tesla T4`."""
    models: dict[int, str] = {}
    for line in answer.splitlines():
        number, _, model = line.partition(",")
        if number.strip().isdigit():
            models[int(number)] = model.strip()
    return tuple(models.get(number, "") for number in range(max(models, default=-1) + 1))


def free_disk_mib(path: str | Path) -> int:
    """Free space for unprivileged users on the file system of `path`; 0 if it is not here."""
    try:
        stat = os.statvfs(path)
    except OSError:
        return 0
    return stat.f_bavail * stat.f_frsize // MIB


def boot_id() -> str:
    """Changes with every boot of this machine; "" where the system has none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def port_space() -> str:
    """Names the set of host ports that processes here share: the network namespace."""
    try:
        return f"{boot_id()}/{os.stat('/proc/self/ns/net').st_ino}"
    except OSError:
        return boot_id()
