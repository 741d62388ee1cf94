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
# # 2. How policies score and place
#
# Placement is the same loop for every policy: which nodes does the task fit on, what does each of
# them cost, and the cheapest takes it. A policy is only the cost. Here are four of them on the same
# cluster, with the same tasks.

# %% tags=["parameters"] quick="TASKS = 60"
TASKS = 600

# %%
import sim

cluster = sim.Cluster.of(node=(24, "8c 32GiB"))
short = sim.Durations(mean_seconds=30.0, limit_seconds=300.0)
work = sim.Workload.poisson(tasks=TASKS, load=0.6, durations=short)
policies = ["epvm", "best-fit", "round-robin", "first-fit"]
runs = {policy: sim.run(cluster, work, policy, seed=1) for policy in policies}

# %% [markdown]
# ## One decision, four answers
#
# The same task arrives at the same moment under each policy. The first line that says *scheduled* has
# the decision; below it are the nodes that came near. E-PVM asks what the task would *add* to the cost
# of a node, which rises steeply as the node fills; best fit prefers the node where least is left over;
# round robin counts; first fit takes the first.

# %%
for policy in policies:
    print(f"--- {policy}")
    print(runs[policy].explain("job-50/task/1"))

# %% [markdown]
# ## All decisions: where the load lies
#
# A row is a node, the colour how much of its CPU is reserved. E-PVM and round robin spread; best fit
# and first fit fill some nodes and leave others empty.

# %%
runs["epvm"].plot_nodes()

# %%
runs["round-robin"].plot_nodes()

# %%
runs["best-fit"].plot_nodes()

# %%
runs["first-fit"].plot_nodes()

# %% [markdown]
# ## In numbers
#
# Imbalance is the coefficient of variation of the nodes' CPU, 0 if all are equally full. Fragmentation
# is the share of the capacity that is free where a typical task does not fit. Hole filling counts how
# many more tasks of the large class would fit into what is free: whoever packs keeps room for them.

# %%
for key in ("imbalance.cpu", "jain.cpu", "fragmentation.cpu", "hole_filling.large"):
    print(f"{key:20}", *(f"{policy} {runs[policy].metrics[key]:<10.4g}" for policy in policies))
