"""How much of a machine tasks may use: what it has, less a reserve, divided by its nodes.

Owns the reserve and the identity of the running machine. Never measures load.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

from cube.messages import NodeInfo

RESERVE_CPU_MILLI = 250
RESERVE_MEMORY_MIB = 512
MIB = 1024 * 1024
GPU_SECONDS = 20  # `nvidia-smi` may wake a sleeping driver


def with_capacity(
    info: NodeInfo, cpu_milli: int, memory_mib: int, disk_mib: int, share: tuple[int, int]
) -> NodeInfo:
    """`info` with the i-th of n equal parts (`share`) of a machine's sizes less the reserve.

    The disk's reserve is as large as the memory's. A machine smaller than the reserve offers
    nothing. GPUs are dealt out in turn: each keeps its number, and is one node's alone.
    """
    index, parts = share
    assert 0 <= index < parts, f"share {share} is not (i, n) with 0 <= i < n"
    return replace(
        info,
        cpu_milli=max(0, cpu_milli - RESERVE_CPU_MILLI) // parts,
        memory_mib=max(0, memory_mib - RESERVE_MEMORY_MIB) // parts,
        disk_mib=max(0, disk_mib - RESERVE_MEMORY_MIB) // parts,
        gpus=tuple(m if number % parts == index else "" for number, m in enumerate(info.gpus)),
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
