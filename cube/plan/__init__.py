"""Answers to "what if" and "why": differences, plans, explanations.

Pure functions from the manager's `Snapshot` to views; they place by the same `Placer` and the same
policies as the scheduler, on a copy of the fleet. Nothing here changes anything.
"""

from cube.plan.changes import diff, diff_job
from cube.plan.explaining import explain
from cube.plan.planning import plan

__all__ = ["diff", "diff_job", "explain", "plan"]
