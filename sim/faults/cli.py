"""`python -m sim faults` and `python -m sim replay`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sim.errors import InputError

if TYPE_CHECKING:
    from sim.faults.campaign import Campaign
    from sim.faults.kept import KeptRuns
    from sim.faults.ordeal import Outcome


@click.command()
@click.option(
    "--scenario",
    "names",
    multiple=True,
    metavar="NAME|FILE",
    help="A scenario that ships, or a TOML file; may be repeated. All that ship if none.",
)
@click.option(
    "--seeds",
    default="1..20",
    show_default=True,
    metavar="N|A..B",
    help="One seed, or the first and the last.",
)
@click.option(
    "--processes",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Runs worked side by side; results do not depend on it.",
)
@click.option("--until-failure", is_flag=True, help="Stop at the first broken promise.")
@click.option(
    "--shrink",
    "shrinks",
    is_flag=True,
    help="Cut the first failing run down to the faults that it takes.",
)
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE",
              help="Write the sums to this file after every run, as JSON.")  # fmt: skip
@click.option("--keep", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="Keep every run in this file, and take from it what is done.")  # fmt: skip
def faults(
    names: tuple[str, ...],
    seeds: str,
    processes: int,
    until_failure: bool,
    shrinks: bool,
    out: Path | None,
    keep: Path | None,
) -> None:
    """Break everything that can break, and check every promise."""
    from sim.faults import campaign as campaigns
    from sim.faults import report, scenario
    from sim.faults.kept import KeptRuns

    scenarios = [scenario.read(name) for name in names or scenario.named()]
    wanted = _seeds(seeds)
    campaign = campaigns.Campaign(asked=len(scenarios) * len(wanted))
    kept = None if keep is None else KeptRuns(keep, scenarios)
    for outcome in kept.read(wanted) if kept else ():
        campaign.take_over(outcome)
    with report.progress(campaign.asked) as tell:
        outcomes = campaigns.run_all(scenarios, wanted, processes, campaign.taken_over)
        interrupted = _sum_up(
            campaign, _keeping(outcomes, kept), tell, out, until_failure=until_failure
        )
    for outcome in campaign.broken[:5]:
        report.show_failure(outcome)
    if shrinks and campaign.broken and not interrupted:
        first = campaign.broken[0]
        fewest = campaigns.shrink(next(s for s in scenarios if s.name == first.scenario), first)
        click.echo(f"  it takes: {first.replay} --only {','.join(fewest) or 'nothing'}")
    report.show_campaign(campaign)
    if campaign.failed or interrupted:
        sys.exit(130 if interrupted else 1)


def _keeping(outcomes: Generator[Outcome], kept: KeptRuns | None) -> Generator[Outcome]:
    """The same, each kept first."""
    with closing(outcomes):
        for outcome in outcomes:
            if kept is not None:
                kept.add(outcome)
            yield outcome


def _sum_up(
    campaign: Campaign,
    outcomes: Generator[Outcome],
    tell: Callable[[Campaign], None],
    out: Path | None,
    *,
    until_failure: bool,
) -> bool:
    """Take in the runs as they end, and keep the sums in a file. True: Ctrl-C cut it off."""

    def keep() -> None:
        if out is not None:
            out.parent.mkdir(parents=True, exist_ok=True)
            partial = out.with_name(f".partial-{out.name}")  # the file is there whole at any time
            partial.write_text(json.dumps(campaign.summary(), indent=2) + "\n")
            partial.replace(out)

    keep()  # all may have been done before
    if campaign.broken and until_failure:
        return False
    try:
        with closing(outcomes):
            for outcome in outcomes:
                campaign.add(outcome)
                tell(campaign)
                keep()
                if outcome.broken and until_failure:
                    break
    except KeyboardInterrupt:
        keep()  # the last may not have been
        return True
    return False


@click.command()
@click.option(
    "--scenario",
    default="everything",
    show_default=True,
    metavar="NAME|FILE",
    help="A scenario that ships, or a TOML file.",
)
@click.option("--seed", type=click.IntRange(0), required=True, help="Which run.")
@click.option("--story", metavar="NAME", help="Tell what happened to this task, job or node.")
@click.option("--until", type=float, metavar="SECONDS", help="Stop at that virtual time.")
@click.option("--only", metavar="FAULT,...", help="Let only these faults strike.")  # fmt: skip
def replay(
    scenario: str, seed: int, story: str | None, until: float | None, only: str | None
) -> None:
    """Carry out one run of the fault simulator again."""
    from sim.faults import report
    from sim.faults.ordeal import run_seed
    from sim.faults.scenario import read

    chosen = None if only is None else [f for f in only.split(",") if f != "nothing"]
    outcome = run_seed(read(scenario), seed, only=chosen, until=until, story_of=story)
    for line in outcome.story:
        click.echo(line)
    report.show_replay(outcome)
    if outcome.broken:
        sys.exit(1)


def _seeds(text: str) -> range:
    first, dots, last = text.partition("..")
    if not first.isdecimal() or (dots and not last.isdecimal()):
        raise InputError(f"'{text}' names no seeds", "Write one, as in 7, or two, as in 1..200.")
    end = int(last) if dots else int(first)
    if end < int(first):
        raise InputError(f"'{text}' names no seeds", "The first seed comes first.")
    return range(int(first), end + 1)
