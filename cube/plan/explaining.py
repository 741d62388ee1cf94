"""Why a task is where it is: what was recorded, and on demand what would be decided now.

Pure: it looks at a `Snapshot` and changes nothing.
"""

from __future__ import annotations

from dataclasses import replace

from cube.manager.together import whole_of
from cube.messages import Snapshot
from cube.placement.filters import tie_of
from cube.plan.bench import Bench
from cube.policies import Policy
from cube.spec import Demand
from cube.task import Decision, Rejection, State, Task
from cube.views import ExplainView, NowView, RejectionView, VerdictView
from cube.views.jobs import find_job
from cube.views.show import decision_text, show_decision, show_rejection, show_task, task_reason


def explain(snapshot: Snapshot, task: Task, policy: Policy | None = None) -> ExplainView:
    """The recorded decision about `task`; with `policy` also the one it would make now."""
    return {
        "task": show_task(task),
        "text": _text(task),
        "decision": None if task.decision is None else show_decision(task.decision),
        "now": None if policy is None else _now(snapshot, task, policy),
    }


def _text(task: Task) -> str:
    decision, reason = task.decision, task_reason(task)
    if task.state is State.PENDING:
        return f"{task.id} is pending: {reason or 'it has not been looked at yet'}"
    where = f"{task.id} is {task.state}" + (f" on {task.node}" if task.node else "")
    why = f": {decision_text(decision)}" if decision is not None and decision.node else ""
    return where + why


def _now(snapshot: Snapshot, task: Task, policy: Policy) -> NowView | None:
    """Decide about it as if it were not placed, on the fleet as it is."""
    job = find_job(snapshot, task.job)
    if job is None:
        return None
    bench = Bench(snapshot, policy)
    bench.give_back(task)
    demand = bench.demand(job.spec, task.spec, task.index)
    whole = demand.together and demand.node is None
    if whole:
        tasks = (t for t in snapshot.tasks if t.job == task.job)
        demand = whole_of(job.spec, tasks)
    decision = bench.placer.decide(demand, bench.present(demand), task.uid)
    decision = replace(decision, whole=whole)
    verdicts = [_verdict(bench, demand, node, decision) for node in bench.placer.fleet.names]
    return {"decision": show_decision(decision), "verdicts": sorted(verdicts, key=_merit)}


def _verdict(bench: Bench, demand: Demand, node: str, decision: Decision) -> VerdictView:
    """What the filters and the policy say of one node."""
    if demand.node not in (None, node):
        rejections = [show_rejection(Rejection(tie_of(demand), 1, node=demand.node))]
        score = None
    else:
        alone = bench.placer.decide(demand.pinned(node), bench.present(demand))
        score = alone.score if alone.row is not None else None
        others = tie_of(demand.pinned(node))  # they are turned away because only this was asked
        rejections = [] if score is not None else _mine(alone, others)
    return {
        "node": node,
        "feasible": score is not None,
        "score": score,
        "picked": node == decision.node,
        "rejections": rejections,
    }


def _mine(alone: Decision, others: str) -> list[RejectionView]:
    """Why this node is not picked: its own reasons, or that the policy failed on it."""
    if alone.error:
        failed = show_rejection(Rejection("policy", 1))
        return [{**failed, "text": alone.error}]
    return [show_rejection(r) for r in alone.rejections if r.reason != others]


def _merit(verdict: VerdictView) -> tuple[bool, bool, float]:
    """The picked one, then the others that fit by score, then those turned away."""
    score = verdict["score"]
    return (not verdict["picked"], score is None, 0.0 if score is None else score)
