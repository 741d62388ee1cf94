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
# # 1. One task's way through the system
#
# Cube's control plane is three kinds of actor that send messages to one another. The *manager* owns
# jobs and tasks, the *scheduler* owns a policy and decides where tasks go, and each node's *worker*
# owns what runs there. In a simulation they are the same classes as in a live cluster; only the
# clock, the network and the container engine differ. So one task can be followed through all of it.

# %% tags=["parameters"] quick="TASKS = 60"
TASKS = 400

# %%
import sim

cluster = sim.Cluster.of(big=(2, "16c 64GiB"), small=(8, "8c 32GiB"))
work = sim.Workload.poisson(tasks=TASKS, load=0.9)
run = sim.run(cluster, work, "epvm", seed=1)
run.counts

# %% [markdown]
# Every task has a name, `JOB/SERVICE/INDEX`. This is what became of each of the first ones:

# %%
run.tasks.to_polars().head(8).select(
    "task", "submitted_seconds", "placed_seconds", "started_seconds", "ended_seconds", "state", "node"
)

# %% [markdown]
# A run keeps no decisions: it is decided by its scenario and its seed, so one is looked up by doing
# the run again, with somebody looking on. A task is *pending* until the scheduler has an answer,
# *scheduled* from the manager's decision until its node reports that it runs, and *running* until its
# node reports the end. The scores are the policy's; lower is better.

# %%
task = run.explain("job-20/task/1")
print(task)

# %% [markdown]
# And these are the messages that concern it, as the actors received them. There is no start command
# and no acknowledgement: an `Assign` says what a node *should* run, a `Report` says what it *does* run,
# and either can be lost, repeated or late, because the next one repairs everything.

# %%
print("\n".join(line[:160] for line in task.messages))

# %% [markdown]
# All messages of the run, by type. `Tick` is a worker's own timer; most reports and assignments only
# repeat what is known, at a rate that does not depend on the number of tasks.

# %%
run.messages

# %% [markdown]
# The same run, from a shell. It has the same `trace_hash`, which covers every change of every task's
# state and place to the microsecond:

# %%
print(run.replay_command)
print(run.trace_hash)
