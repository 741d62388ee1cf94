"""The JSON shapes of answers: plans, explanations, what a submit did, errors.

As `cube.views.shapes`, which has those of what there is.
"""

from __future__ import annotations

from typing import Literal

from typing_extensions import TypedDict

from cube.views.shapes import DecisionView, RejectionView, TaskView

Change = Literal["created", "changed", "restarted", "unchanged", "removed"]


class FieldChange(TypedDict):
    """One field of a service that differs; values as people would write them, masked."""

    field: str
    before: str | None
    after: str | None


class ServiceChange(TypedDict):
    """What a submit does to one service."""

    service: str
    change: Change
    fields: list[FieldChange]  # of a changed service
    instances_before: int
    instances_after: int


class PlacementView(TypedDict):
    """Where a new or replaced task would go under a policy. `node` None: it would wait."""

    task: str
    node: str | None
    decision: DecisionView | None  # None: it waits for something else than a node
    reason: str  # why it would wait


class PolicyPlan(TypedDict):
    """What one policy would do."""

    policy: str
    placed: int
    pending: int
    placements: list[PlacementView]
    error: str  # the policy failed


class PlanView(TypedDict):
    """What a submit would do; nothing was changed."""

    job: str
    version: int  # the newest now; 0: no such job
    has_changes: bool
    text: str
    conflict: str  # why the submit would be refused
    fields: list[FieldChange]  # of the job itself
    services: list[ServiceChange]
    policies: list[PolicyPlan]


class VerdictView(TypedDict):
    """What one node is to one task: a score, or why not."""

    node: str
    feasible: bool
    score: float | None
    picked: bool
    rejections: list[RejectionView]


class NowView(TypedDict):
    """The decision made anew on the fleet as it is now; nothing was changed."""

    decision: DecisionView
    verdicts: list[VerdictView]  # best first, then the nodes that were turned away


class ExplainView(TypedDict):
    """Why a task is where it is."""

    task: TaskView
    text: str
    decision: DecisionView | None  # as recorded; None: nothing was decided yet
    now: NowView | None  # only when asked for


class SubmitView(TypedDict):
    """What a submit did."""

    status: Literal["created", "changed", "unchanged"]
    text: str
    job: str
    version: int
    fields: list[FieldChange]  # of the job itself
    changes: list[ServiceChange]


class AnswerView(TypedDict):
    """What a stop, a removal or a recovery did."""

    status: str  # ok or unchanged
    text: str


class TokenView(TypedDict):
    """A token, without what is secret of it."""

    name: str
    scope: str  # full or read; join: lets machines join
    created: str
    expires: str | None  # None: never


class NewTokenView(TypedDict):
    """A token that was just made."""

    status: str
    text: str
    token: str  # the secret: told once


class RegistryView(TypedDict):
    """A registry for which nodes have a credential, without its password."""

    registry: str
    user: str


class LeftView(TypedDict):
    """An unknown container that was not adopted."""

    task: str
    node: str
    why: str


class RecoverView(TypedDict):
    """What was decided about unknown containers."""

    status: str
    text: str
    decided: int  # how many are adopted, or are to be removed
    left: list[LeftView]  # those that could not be adopted


class JoinedView(TypedDict):
    """What a machine gets that has become a node. It is told once."""

    cluster: str
    certificate: str  # PEM
    secret: str  # goes with each of the node's requests
    machines_port: int  # where the manager speaks with nodes


class HealthView(TypedDict):
    """The server answers."""

    status: Literal["ok"]
    version: str


class ProblemView(TypedDict):
    """An error (RFC 9457) with its remedy and the exit code of the command line."""

    type: str
    title: str
    status: int
    detail: str
    remedy: str
    exit_code: int
