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
# # 4. Packing and fragmentation
#
# A policy that spreads keeps machines away from their limits; one that packs keeps some machines whole.
# What does each cost? Two experiments without messages, on the machines and the tasks of a scenario whose
# sizes have a heavy tail: how small a cell the tasks need, and what still fits while more of them come.

# %% tags=["parameters"] quick="POLICIES, SEEDS, UNTIL = ['epvm', 'best-fit'], 1, 60"
POLICIES, SEEDS, UNTIL = ["epvm", "epvm-book", "best-fit", "dot-product", "round-robin"], 5, 130

# %%
from cube.policies import make_policy
from sim.packing import source
from sim.packing.capacity import compact
from sim.packing.inflate import inflate
from sim.packing.pictures import draw_compaction, draw_inflation

whole = source.scenario("mixed-sizes")
cell = source.Cell(whole.name, whole.nodes, whole.demands[:8_000])
print(f"{len(cell.nodes):,} machines, {len(cell.demands):,} tasks, which ask for")
{resource: f"{share:.0%}" for resource, share in cell.load.items()}

# %% [markdown]
# ## What still fits
#
# Tasks come and none leaves. The left picture shows how much of what is asked for finds a place; above
# the grey line nothing can be. The right one shows how many machines have hardly any CPU left.

# %%
curves = [inflate(cell, make_policy(policy), seed=1, until_percent=UNTIL) for policy in POLICIES]
draw_inflation(curves)

# %% [markdown]
# When was a task of each class first turned away? A class is a task's CPU as a part of the largest
# machine: the largest tasks feel fragmentation first.

# %%
{curve.policy: {name: f"{percent:.0f} %" for name, percent in curve.first_rejected.items()}
 for curve in curves}

# %% [markdown]
# E-PVM's cost of a machine grows as n to the power of its load, with n the number of machines: it fills
# no machine while another is emptier, so there is soon none left on which a large task fits. The base of
# the book's code, 1.54, makes the cost nearly linear: it hardly tells a full machine from an empty one,
# spreads by the number of tasks, and crowds some machines all the same.

# %% [markdown]
# ## How small a cell suffices
#
# Borg's protocol: machines are removed in a random order until more than 0.2 % of the tasks find no
# place when all are packed from scratch. The bars show the 90th percentile of the orders, the lines the
# least and the most.

# %%
cells = [compact(cell, policy, seed) for policy in POLICIES for seed in range(1, SEEDS + 1)]
draw_compaction(cells)

# %% [markdown]
# The same with real traces: `python -m sim capacity --google FILE`, `python -m sim inflate --nodes FILE
# --pods FILE`; what they showed stands in `docs/reproductions.md`.
