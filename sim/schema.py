"""Every table that is written: its columns, their units and dtypes.

A test holds them to the committed list and to docs/simulation.md; whoever changes one raises
`SCHEMA_VERSION`.
"""

from __future__ import annotations

from sim.table import Column

SCHEMA_VERSION = 2

TASKS = (
    Column("task", "", "str", "its id, JOB/SERVICE/INDEX"),
    Column("submitted_seconds", "s", "float64", "when it arrived"),
    Column("decided_seconds", "s", "float64", "first decision, were it only 'nowhere'", True),
    Column("placed_seconds", "s", "float64", "first placement", True),
    Column("started_seconds", "s", "float64", "latest start of a run", True),
    Column("ended_seconds", "s", "float64", "when it came into a final state", True),
    Column("wait_seconds", "s", "float64", "submit to first placement; or to the end, at least"),
    Column("run_seconds", "s", "float64", "how long it truly runs"),
    Column("state", "", "str", "at the end", True),
    Column("exit_code", "", "int64", "of its last run", True),
    Column("node", "", "str", "of its latest placement", True),
    Column("attempts", "", "int64", "placements"),
    Column("restarts", "", "int64", "runs anew on the same node"),
    Column("evictions", "", "int64", "places lost before it had ended"),
    Column("lost_seconds", "s", "float64", "time of runs that did not end it"),
    Column("cpu_milli", "milli-cores", "int64", "what it reserves"),
    Column("memory_mib", "MiB", "int64", "what it reserves"),
    Column("disk_mib", "MiB", "int64", "what it reserves"),
)
FIGURES = (
    Column("policy", "", "str", "as given, with its parameters"),
    Column("seed", "", "int64", "of everything that is drawn"),
    Column("metric", "", "str", "its key"),
    Column("unit", "", "str", "of the value", True),
    Column("value", "", "float64", "empty: nothing to measure", True),
    Column("censored", "tasks", "int64", "tasks that entered it as lower bounds"),
)
COMPARISON = (
    Column("metric", "", "str", "its key"),
    Column("unit", "", "str", "of mean and difference", True),
    Column("policy", "", "str", "as given, with its parameters"),
    Column("mean", "", "float64", "over seeds", True),
    Column("mean_low_95", "", "float64", "its 95 % interval", True),
    Column("mean_high_95", "", "float64", "its 95 % interval", True),
    Column("difference", "", "float64", "to the baseline, paired by seed, mean", True),
    Column("low_95", "", "float64", "95 % interval of the difference", True),
    Column("high_95", "", "float64", "95 % interval of the difference", True),
    Column("p_holm", "", "float64", "of no difference, Holm-adjusted over policies", True),
    Column("n", "seeds", "int64", "pairs of runs"),
    Column("censored", "tasks", "int64", "tasks that entered it as lower bounds, over all seeds"),
)
TABLES = {"tasks": TASKS, "figures": FIGURES, "comparison": COMPARISON}
