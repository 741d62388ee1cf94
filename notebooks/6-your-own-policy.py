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
# # 6. Your own policy
#
# A policy is a function: given the fleet, the task and the rows (nodes) on which the task fits, it
# returns a cost for each row. The lowest is picked. Columns of the fleet are NumPy arrays, so a policy
# is a formula.

# %% tags=["parameters"] quick="TASKS, SEEDS = 100, 2"
TASKS, SEEDS = 1_000, 10

# %%
import sim


@sim.policy(row_local=True)  # one row and the task decide: scores may be cached
def aligned(fleet, task, rows, *, weight=0.5):
    """Leave little of what is free, and leave CPU and memory in proportion."""
    cpu = (fleet.cpu_free_milli[rows] - task.cpu_milli) / fleet.cpu_milli[rows]
    memory = (fleet.memory_free_mib[rows] - task.memory_mib) / fleet.memory_mib[rows]
    return weight * (cpu + memory) + (1 - weight) * abs(cpu - memory)


# %% [markdown]
# ## Try it
#
# It is used like any other, everywhere a policy is named: `aligned`, or `aligned(weight=0.2)`.

# %%
cluster = sim.Cluster.of(big=(4, "16c 64GiB"), small=(16, "8c 32GiB"))
short = sim.Durations(mean_seconds=30.0, limit_seconds=300.0)
work = sim.Workload.poisson(tasks=TASKS, load=0.95, durations=short)
run = sim.run(cluster, work, aligned(weight=0.2), seed=1)
print(run.explain("job-90/task/1"))

# %% [markdown]
# ## Measure what you care about
#
# A metric is a function of a `Window`: one run, and the part of it that counts.

# %%
@sim.metric(unit="s")
def wait_of_the_large(window):
    """Mean wait of tasks that reserve four cores or more."""
    large = window.seen.arrivals.demand[window.arrived, 0] >= 4000
    return window.wait_seconds[large].mean()


# %% [markdown]
# ## Compare it
#
# With the same tasks, seed by seed. `p` is adjusted for the number of policies.

# %%
trial = sim.compare(
    cluster, work, [aligned(weight=0.2), "best-fit", "round-robin"], baseline="round-robin",
    metrics=[wait_of_the_large], seeds=range(1, SEEDS + 1),
    control={"reports_per_second": 5.0},
)
trial.table("wait_of_the_large", "wait_seconds.mean", "stranded.memory", "fragmentation.cpu")

# %%
trial.plot("waiting", width_inches=4.5)

# %% [markdown]
# ## Use it
#
# Put it into a module, say `mine.py`, and name it wherever a policy is named:
#
# ```
# python -m sim compare --policies "mine:aligned(weight=0.2),best-fit" --out runs/mine
# python -m sim report runs/mine
# cube dev --policy "mine:aligned(weight=0.2)"
# ```
#
# A package can offer its policies by short names, as entry points of the group `cube.policies`.
