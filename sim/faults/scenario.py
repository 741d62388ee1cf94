"""A fault scenario as one value and as a short TOML file: what happens how often, and to what.

Named ones ship in `sim/faults/scenarios/`. Which faults there are is told by `sim.faults.kinds`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from sim.description import Count, Description, Positive, Seconds, Share
from sim.errors import did_you_mean
from sim.network import Weather
from sim.scenario import find, parse_as, text_of

SCENARIOS = Path(__file__).parent / "scenarios"


def _known(kind: str) -> str:
    from sim.faults.kinds import KINDS

    if kind not in KINDS:
        raise ValueError(f"there is no fault '{kind}'. {did_you_mean(kind, KINDS)}")
    return kind


Sort = Literal[
    "plain",
    "batch",
    "failing",
    "fenced",
    "pinned",
    "global",
    "slow",
    "flapping",
    "ported",
    "pulling",
    "together",
]  # what each is stands in `sim.faults.user`
SORTS: tuple[Sort, ...] = (
    "plain", "plain", "batch", "failing", "fenced", "pinned", "global", "slow"
)  # fmt: skip
KindName = Annotated[str, AfterValidator(_known)]


class Work(Description):
    """What users run: a random mix of services and batch jobs."""

    jobs: Count = 8
    instances: Count = 4  # of one service, at most
    sorts: tuple[Sort, ...] = SORTS  # of services and jobs; one named twice comes twice as often
    backoff_seconds: Seconds = 8.0  # the longest delay before a failed task is placed anew
    defaults: bool = False  # restart and reschedule policies as shipped, instead of quick ones


class FaultScenario(Description):
    """What is simulated under faults."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,60}$")] = "quiet"
    about: str = ""
    nodes: Count = 6
    racks: Count = 2
    cpu_milli: Count = 4000
    memory_mib: Count = 8192
    seconds: Positive = 300.0  # virtual, in which faults strike
    reports_per_second: Positive = 50.0
    drift: Share = 0.0  # clocks run wrong by up to this share
    backup_seconds: Positive = 20.0  # between copies of the store, of which the last ten are kept
    stretch: Positive = 1.0  # faults last so many times as long as they do by themselves
    kept_per_node: Annotated[int, Field(strict=True, ge=0)] = 5
    queue: Literal["bypass", "fifo"] = "bypass"  # may others pass a task that does not fit?
    network: Weather = Weather()
    work: Work = Work()
    rates: dict[KindName, Positive] = Field(
        default_factory=dict
    )  # faults by kind, per virtual hour of the whole cluster


def named() -> list[str]:
    """Names of the scenarios that ship."""
    return sorted(path.stem for path in SCENARIOS.glob("*.toml"))


def read(source: str | Path) -> FaultScenario:
    """The fault scenario of that name, or in that file.

    Raises:
        InputError: there is none, or it is wrong; the text has file and line.
    """
    path = find(source, SCENARIOS)
    return parse(text_of(path), str(path))


def parse(text: str, file: str = "scenario") -> FaultScenario:
    """The fault scenario that `text` writes down; `file` stands in errors.

    Raises:
        InputError: with all that is wrong, one finding per line.
    """
    scenario: Any = parse_as(FaultScenario, text, file)
    assert isinstance(scenario, FaultScenario)
    return scenario
