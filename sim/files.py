"""The folder of a run or a comparison: what is written where, and that nothing is lost.

A file appears whole or not at all, and only after `claim` found that it would replace nothing (or
was told to). Columns and units: docs/simulation.md.
"""

from __future__ import annotations

import io
import json
import os
import platform
import re
import shutil
import sys
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from sim.comparison import Comparison
from sim.errors import InputError
from sim.metrics import node_levels
from sim.observation import Observation
from sim.results import RunResult
from sim.scenario import Scenario, written

_OURS = (  # of a run, and of a comparison
    "runs",
    "summary.json",
    "scenario.toml",
    "env.json",
    "tasks.csv.gz",
    "nodes.npz",
    "comparison.csv",
    "comparison.png",
    *(f"comparison.{name}.csv" for name in ("utilisation", "waiting", "imbalance")),
    "curves.npz",
    "figures.csv",
    "report.html",
)


def claim(out: Path, force: bool) -> None:
    """Make `out`, empty for us; with `force`, remove what an earlier run left in it.

    Raises:
        InputError: it holds something, is no folder, or cannot be written to.
    """
    try:
        if out.exists() and any(out.iterdir()):
            if not force:
                remedy = "Name another folder, or say --force to replace the results in it."
                raise InputError(f"{out} is not empty", remedy)
            _clear(out)
        out.mkdir(parents=True, exist_ok=True)
        probe = out / ".probe"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise InputError(
            f"cannot write to {out}: {error.strerror}", "Name a folder that can be written to."
        ) from None


def _clear(out: Path) -> None:
    """Remove results, and nothing else."""
    for name in _OURS:
        path = out / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def tidy(out: Path) -> None:
    """Remove what an interrupted writer left half done, and every folder that is then empty."""
    for folder in out.glob("runs/*/seed-*"):
        if not (folder / "summary.json").exists():
            shutil.rmtree(folder)
    for partial in out.glob(".partial*"):
        partial.unlink()
    for folder in (*out.glob("runs/*"), out / "runs", out):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def write_run(result: RunResult, out: Path) -> None:
    """summary.json, tasks.csv.gz, nodes.npz, scenario.toml, env.json."""
    out.mkdir(parents=True, exist_ok=True)
    if result.observation is not None:
        put(out / "tasks.csv.gz", result.tasks.csv_gz())
        put(out / "nodes.npz", _nodes(result.observation))
    _put_common(out, result.scenario, result.summary(), "run")


def write_comparison(result: Comparison, out: Path) -> None:
    """summary.json, comparison.csv, figures.csv, comparison.png, curves.npz, and the common two."""
    from sim.plots import PANELS, draw_panels, panel_tables

    if result.seeds:
        put(out / "comparison.csv", result.everything.to_table().csv())
        put(out / "figures.csv", result.figures.csv())
        put(out / "curves.npz", _curves(result))
        tables = panel_tables(result.by_policy, list(PANELS))
        for name, table in tables.items():
            put(out / f"comparison.{name}.csv", table.csv())
        picture = draw_panels(result.by_policy, tables, 10.0, result.caption)
        picture.save(out / "comparison.png")
    _put_common(out, result.scenario, result.summary(), "compare")


def _put_common(out: Path, scenario: Scenario, summary: dict[str, Any], command: str) -> None:
    replay = f"# Replay: python -m sim {command} --scenario scenario.toml --out DIR\n"
    put(out / "scenario.toml", (replay + written(scenario)).encode())
    put(out / "env.json", as_json(environment()))
    put(out / "summary.json", as_json(summary))  # last: with it the folder is complete


def environment() -> dict[str, Any]:
    """Versions and platform: what besides the scenario might change a figure."""
    packages = ("cube-orchestrator", "numpy", "simpy", "pykka", "pydantic", "joblib", "matplotlib")
    return {
        "python": sys.version.split()[0],
        "implementation": platform.python_implementation(),
        "platform": platform.system(),
        "machine": platform.machine(),
        "processors": os.cpu_count(),
        "packages": {name: version(name) for name in packages},
        "numpy_disabled_features": os.environ.get("NPY_DISABLE_CPU_FEATURES", ""),
    }


def slugs(policies: Iterable[str]) -> dict[str, str]:
    """A folder's name for each policy."""
    names: dict[str, str] = {}
    for policy in policies:
        slug = name = re.sub(r"[^A-Za-z0-9.=]+", "-", policy).strip("-.") or "policy"
        count = 1
        while name in names.values():
            count += 1
            name = f"{slug}-{count}"
        names[policy] = name
    return names


def put(path: Path, data: bytes) -> None:
    """Write a file whole or not at all, whatever ends this process meanwhile."""
    partial = path.with_name(f".partial-{os.getpid()}-{path.name}")
    with partial.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)


def as_json(value: Any) -> bytes:
    """For people and programs; a number that is none is an error."""
    return (json.dumps(value, indent=2, allow_nan=False) + "\n").encode()


def _nodes(seen: Observation) -> bytes:
    seconds, levels = node_levels(seen)
    kind = {name: values.astype(np.int32) for name, values in levels.items()}
    return _npz(
        seconds=seconds,
        names=np.array(seen.node_names),
        capacity_cpu_milli=seen.capacity[:, 0],
        capacity_memory_mib=seen.capacity[:, 1],
        **kind,
    )


def _curves(result: Comparison) -> bytes:
    """The data behind the picture: per policy, float64[seeds, grid, 2] and all waits."""
    arrays = {}
    names = slugs(result.by_policy)
    for policy, runs in result.by_policy.items():
        name = names[policy]
        arrays[f"{name}/seconds"] = np.stack([run.curves.seconds for run in runs])
        arrays[f"{name}/utilisation"] = np.stack([run.curves.utilisation for run in runs])
        arrays[f"{name}/imbalance"] = np.stack([run.curves.imbalance for run in runs])
        arrays[f"{name}/wait_seconds"] = np.concatenate([run.wait_seconds for run in runs])
    return _npz(**arrays)


def _npz(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()
