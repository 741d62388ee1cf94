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
# # 5. Failures and recovery
#
# Machines crash, messages are lost, disks fill up. The fault simulator lets all of it happen to the
# production control plane, as a seed decides, and checks at every event that its promises hold. Then it
# heals everything, and the cluster must settle within the time that the protocol promises.

# %% tags=["parameters"] quick="SEEDS = range(1, 2)"
SEEDS = range(1, 6)

# %%
from sim.faults import read, run_seed
from sim.faults.campaign import Campaign, run_all

outcome = run_seed(read("crashes"), seed=2, story_of="job-6/main/1")
print(outcome.broken or "every promise was kept")
print(f"{outcome.virtual_seconds:,.0f} virtual seconds, {outcome.checks:,} checks, settled "
      f"{outcome.settle_seconds:.1f} s after all was healed")
outcome.faults

# %% [markdown]
# ## What happened to one task
#
# Each line is a message that an actor received, or what the manager saved; `a2 r1` is the second
# attempt (placement) and its second run. A task whose node is lost is placed
# again with the next attempt, and what the old node still says of it is then old news.

# %%
print("\n".join([line[:150] for line in outcome.story if "job-6/main/1" in line][:40]))

# %% [markdown]
# ## A campaign
#
# The same over several seeds and kinds of trouble. *Unfenced* seconds are those in which a task that
# must run only once ran twice because nobody could stop the old copy: its worker was dead, or its engine
# ignored kills.

# %%
campaign = Campaign()
for found in run_all([read("crashes"), read("network")], SEEDS):
    campaign.add(found)
summary = campaign.summary()
{key: summary[key] for key in ("runs", "broken", "virtual_node_years", "checks", "tasks",
                               "unfenced_seconds", "longest_settle_seconds")}

# %%
summary["faults"]

# %% [markdown]
# A run is decided by its scenario and its seed, so a failure is looked at again as often as it takes:

# %%
print(outcome.replay)
