"""Sweeps: a grid of parameters, worked cell by cell, that can be cut off and taken up again.

Whatever ends a sweep, the cells that are finished stay; the same call does the rest, and what it
then writes is what an undisturbed sweep would have written. Several processes, machines or shards
may work on one sweep.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from sim import experiment, files
from sim.errors import InputError, SimulationError
from sim.experiment import AnyMetric, AnyPolicy
from sim.grid import Cell, CellResult, Stale, cells_of, read_cell, write_cell
from sim.metrics import Metric
from sim.results import RunResult
from sim.scenario import Scenario, written
from sim.schema import SCHEMA_VERSION
from sim.settings import inline
from sim.surface import Surface
from sim.workers import work_all

Told = Callable[[int, int], None]  # cells that are done by now, of how many that are to do
DEFINITION = "sweep.json"


@dataclass(frozen=True)
class Shard:
    """Every `count`-th cell from the `number`-th on, both from 1."""

    number: int = 1
    count: int = 1

    @classmethod
    def read(cls, text: str) -> Shard:
        """Read `i/n`.

        Raises:
            InputError: that is no shard.
        """
        number, slash, count = text.partition("/")
        if slash and number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count):
            return cls(int(number), int(count))
        raise InputError(f"'{text}' is no shard", "Write it as in 1/3, 2/3 and 3/3.")


def sweep(
    scenario: Scenario,
    grid: Mapping[str, Sequence[Any]],
    policies: Sequence[AnyPolicy] = (),
    *,
    out: Path,
    metrics: Iterable[AnyMetric] = (),
    processes: int = 1,
    dask: str = "",
    shard: Shard | None = None,
    force: bool = False,
    progress: Told | None = None,
) -> Surface:
    """Simulate every policy with every seed at every point of the grid.

    Args:
        scenario: everything that the grid does not change.
        grid: values by path, as in `{"workload.load": [0.7, 0.8]}`.
        policies: those of the scenario unless given.
        out: folder of the sweep; what an earlier call has finished there is reused.
        metrics: the user's own.
        processes: on this machine.
        dask: address of a Dask scheduler, whose workers do it instead.
        shard: work only this part; the tables are written when all parts are there.
        force: replace results that no longer stand, because source or versions have changed.
        progress: told how many cells are done, of how many that are to do.

    Raises:
        InputError: something that was asked for makes no sense, or results would be replaced.
        SimulationError: a run cannot be carried out; what is finished stays.
    """
    wanted = [experiment.policy_of(policy) for policy in policies or scenario.policies]
    measures = experiment.measures_of(scenario, metrics)
    scenario = experiment.with_policies(scenario, wanted)
    scenario = scenario.but(metrics=tuple(measure.name for measure in measures))
    cells = cells_of(scenario, grid, wanted, measures)
    _claim(out, _definition(scenario, grid), force)
    found = _reusable(out, cells, force)
    missing = [cell for i, cell in enumerate(cells) if cell.place not in found and _mine(shard, i)]
    interrupted = False
    try:
        with closing(_worked(missing, processes, dask)) as results:
            for done, (cell, result) in enumerate(results, 1):
                found[cell.place] = write_cell(out, cell, result)
                if progress is not None:
                    progress(done, len(missing))
    except KeyboardInterrupt:
        interrupted = True
    made = [found[cell.place] for cell in cells if cell.place in found]
    _check_paired(made)
    own: tuple[Metric, ...] = tuple(measure.metric for measure in measures)
    surface = Surface(
        scenario, tuple(grid), tuple(made), len(cells), len(missing), interrupted, own
    )
    if surface.complete:
        surface.write(out)
        _tidy(out)
    return surface


def _mine(shard: Shard | None, place: int) -> bool:
    return shard is None or place % shard.count == shard.number - 1


def _definition(scenario: Scenario, grid: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "kind": "sweep",
        "grid": {path: [inline(value) for value in values] for path, values in grid.items()},
        "scenario": written(scenario).splitlines(),
    }


def _claim(out: Path, definition: Mapping[str, Any], force: bool) -> None:
    """Make the folder, or take it up if it is that of this sweep.

    Raises:
        InputError: it holds something else, or cannot be written to.
    """
    data = files.as_json(definition)
    place = out / DEFINITION
    try:
        if out.exists() and any(out.iterdir()) and not force:
            if not place.exists():
                remedy = "Name another folder, or say --force to use this one all the same."
                raise InputError(f"{out} is not empty, and no sweep", remedy)
            if place.read_bytes() != data:
                remedy = "Name another folder, or say --force to replace its tables."
                raise InputError(f"{out} holds another sweep: see {place}", remedy)
        out.mkdir(parents=True, exist_ok=True)
        files.put(place, data)
    except OSError as error:
        remedy = "Name a folder that can be written to."
        raise InputError(f"cannot write to {out}: {error.strerror}", remedy) from None


def _reusable(out: Path, cells: Iterable[Cell], force: bool) -> dict[Path, CellResult]:
    """What is there of the cells, by place."""
    found: dict[Path, CellResult] = {}
    stale: list[str] = []
    for cell in cells:
        try:
            result = read_cell(out, cell)
        except Stale:
            stale.append(str(cell.place))
            continue
        if result is not None:
            found[cell.place] = result
    if stale and not force:
        many = f"{len(stale)} results" if len(stale) > 1 else "a result"
        what = f"{out} holds {many} of earlier source or versions, such as {stale[0]}"
        raise InputError(what, "Name another folder, or say --force to replace them.")
    return found


def _worked(
    cells: Sequence[Cell], processes: int, dask: str
) -> Generator[tuple[Cell, RunResult], None, None]:
    """Results as they come."""
    by_place = {cell.place: cell for cell in cells}
    modules = experiment.modules_of(cell.piece for cell in cells)
    jobs = [partial(_work, cell) for cell in cells]
    with closing(work_all(jobs, processes=processes, dask=dask, modules=modules)) as results:
        for place, result in results:
            yield by_place[place], result


def _work(cell: Cell) -> tuple[Path, RunResult]:
    """In whatever process; where there is no file system to share."""
    return cell.place, cell.piece.work()


def _check_paired(results: Iterable[CellResult]) -> None:
    """At each point, every policy met the same tasks."""
    digests: dict[Any, str] = {}
    for result in results:
        key = (inline(dict(result.point)), result.seed)
        if digests.setdefault(key, result.workload_digest) != result.workload_digest:
            raise SimulationError(f"seed {result.seed} gave two policies different tasks")


def _tidy(out: Path) -> None:
    """Remove what writers left half done that were killed: all cells are there."""
    for partial_file in out.rglob(".partial-*"):
        partial_file.unlink(missing_ok=True)
