"""Why a task waits, in words.

Owns the sentences. The numbers come from the rejections that placement counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from cube.fleet import RESOURCES
from cube.placement.filters import GPU
from cube.spec import WHOLE_GPU_MILLI
from cube.task import Decision, Rejection

NO_NODES: Final = "there are no nodes"
WHOLE: Final = "no node takes its whole job, which is kept together"


def why_pending(decision: Decision) -> str:
    """Why the task of a decision without a row waits."""
    if decision.error or not decision.whole:
        return decision.error or describe(decision.rejections)
    return f"{WHOLE}: {describe(decision.rejections)}"


def describe(rejections: Sequence[Rejection]) -> str:
    """What it needs and who comes nearest, then who was turned away for other reasons.

    For instance: `needs 4096 MiB memory; the best of 12 nodes, node-7, has 3276 MiB free; 3 nodes
    fail constraint node.labels.zone == b; 1 node is not accepting tasks`.
    """
    if not rejections:
        return NO_NODES
    tied = [r for r in rejections if r.reason.startswith(("node ", "together "))]
    short = [r for r in rejections if r.reason in (*RESOURCES, GPU)]
    other = [r for r in rejections if r not in tied and r not in short]
    sentences = [*map(_tied, tied), *map(_short, short), *map(_other, other)]
    return "; ".join(sentences)


def _tied(rejection: Rejection) -> str:
    kind, _, name = rejection.reason.partition(" ")
    to = "kept with its job on" if kind == "together" else "tied to"
    return f"is {to} {name}" + ("" if rejection.node else ", which is not in this cluster")


def _short(rejection: Rejection) -> str:
    assert rejection.need is not None
    assert rejection.best is not None
    need, best = (amount(rejection.reason, n) for n in (rejection.need, rejection.best))
    what = "" if rejection.reason in ("cpu", GPU) else f" {rejection.reason}"
    who = rejection.node
    if rejection.nodes > 1:
        who = f"the best of {rejection.nodes} nodes, {rejection.node},"
    if rejection.reason == GPU and rejection.need >= WHOLE_GPU_MILLI:
        best = f"{rejection.best // WHOLE_GPU_MILLI}"
    return f"needs {need}{what}; {who} has {best} free"


def amount(resource: str, quantity: int) -> str:
    """A quantity of a resource with its unit."""
    if resource not in ("cpu", GPU):
        return f"{quantity} MiB"
    unit = resource.upper()
    if resource == GPU and quantity < WHOLE_GPU_MILLI:
        return f"{quantity / 1000:g} of a GPU"
    return f"1 {unit}" if quantity == 1000 else f"{quantity / 1000:g} {unit}s"


def _other(rejection: Rejection) -> str:
    kind, _, rest = rejection.reason.partition(" ")
    one = rejection.nodes == 1
    nodes = "1 node" if one else f"{rejection.nodes} nodes"
    match kind:
        case "closed":
            return f"{nodes} {'is' if one else 'are'} not accepting tasks"
        case "datacenter":
            return f"{nodes} {'is' if one else 'are'} not in datacenter {rest}"
        case "constraint":
            return f"{nodes} {'fails' if one else 'fail'} constraint {rest}"
        case "gpus":
            number, _, models = rest.partition(" ")
            lacks = "has no" if one else "have no"
            if number not in ("0", "1"):
                lacks = f"{'has' if one else 'have'} fewer than {number}"
            of = f" of model {models.replace('|', ' or ')}" if models else ""
            return f"{nodes} {lacks} GPU{'s' if number not in ('0', '1') else ''}{of}"
        case "port":
            return f"port {rest} is in use on {nodes}"
        case "max":
            most = rest.removesuffix(" per node")
            instances = "1 instance" if most == "1" else f"{most} instances"
            return f"{nodes} {'has' if one else 'have'} the {instances} allowed per node"
        case "spread":
            where = "the node" if rest == "node" else f"the same {rest}"
            return f"{nodes} {'is' if one else 'are'} ruled out by an instance on {where}"
        case _:
            return f"{nodes} {'is' if one else 'are'} refused by {rejection.reason}"
