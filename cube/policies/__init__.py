"""Policies: who gets the task among those on whom it fits. Lower scores are better.

`make_policy("epvm")` reads the text that users write; `policy` makes one of a function. Each policy
cites its source and gives its formula.
"""

from cube.policies.fit import BestFit, FirstFit, WorstFit
from cube.policies.fragmentation import Fgd
from cube.policies.opportunity import Epvm, EpvmBook, EpvmPaper
from cube.policies.policy import Policy, PolicyError, PolicyFunction, policy
from cube.policies.registry import make_policy, policy_names
from cube.policies.turns import Greedy, Random, RoundRobin

__all__ = [
    "BestFit",
    "Epvm",
    "EpvmBook",
    "EpvmPaper",
    "Fgd",
    "FirstFit",
    "Greedy",
    "Policy",
    "PolicyError",
    "PolicyFunction",
    "Random",
    "RoundRobin",
    "WorstFit",
    "make_policy",
    "policy",
    "policy_names",
]
