# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     notebook_metadata_filter: -all,jupytext,kernelspec
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 3. E-PVM against round robin
#
# Which is better, and is the difference more than chance? One run cannot tell. The *seed* is the unit
# of replication here: under one seed every policy meets the same tasks, so that the difference within
# a seed is the policy's, and the spread over seeds says how much to believe it.

# %% tags=["parameters"] quick="TASKS, SEEDS, LOADS = 60, 2, (0.7, 1.0)"
TASKS, SEEDS, LOADS = 1_000, 10, (0.7, 0.85, 1.0)

# %%
import tempfile
from pathlib import Path

import sim

cluster = sim.Cluster.of(big=(4, "16c 64GiB"), small=(16, "8c 32GiB"))
short = sim.Durations(mean_seconds=30.0, limit_seconds=300.0)
work = sim.Workload.poisson(tasks=TASKS, load=0.9, durations=short)
control = {"reports_per_second": 5.0}  # fewer repeated reports: the same decisions, sooner

trial = sim.compare(
    cluster, work, ["epvm", "round-robin"], baseline="round-robin",
    seeds=range(1, SEEDS + 1), control=control,
)
trial.table("wait_seconds.mean", "wait_seconds.p95", "bounded_slowdown.mean",
            "imbalance.cpu", "imbalance.memory", "max_over_mean.cpu")

# %% [markdown]
# The difference is E-PVM's figure less round robin's, with its 95 % interval: where the interval does
# not hold 0, chance alone would hardly give such a difference. Intervals of quantiles come from a
# bootstrap over seeds, those of means from Student's t.
#
# E-PVM balances. That alone starts no task sooner: as long as a task fits *somewhere* it does not wait,
# whichever node takes it, and a cluster that is evenly full has fewer nodes with room for a large task.

# %%
trial.plot("imbalance")

# %%
trial.plot("utilisation")

# %%
trial.plot("waiting")

# %% [markdown]
# ## Over the load
#
# A sweep does the same at every point of a grid. Each cell is a file, so that a sweep which was cut off
# goes on where it was; a cell is reused only if nothing that decides it has changed.

# %%
with tempfile.TemporaryDirectory() as folder:
    surface = sim.sweep(
        cluster, work, ["epvm", "round-robin"], baseline="round-robin",
        grid={"workload.load": LOADS}, seeds=range(1, SEEDS + 1), out=Path(folder) / "loads",
        control=control,
    )
surface.plot("imbalance.cpu")

# %%
surface.plot("wait_seconds.mean")

# %% [markdown]
# Here a task runs as long on a full node as on an empty one. Where tasks share a node's cores, a full
# node slows down all that is on it, and balance is worth what it is in E-PVM's own evaluation.
