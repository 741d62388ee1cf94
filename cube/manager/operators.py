"""What operators say of nodes, draining apart: that they are lost, gone for good, or have labels.

Owns when such a word is taken. What follows for tasks is left to `nodes` and `jobs`.
"""

from __future__ import annotations

from cube.manager.drain import count_tasks
from cube.manager.entry import Entry
from cube.manager.jobs import Jobs
from cube.manager.ledger import Ledger
from cube.manager.nodes import Nodes
from cube.marks import mark
from cube.messages import DeclareLost, LabelNode, RemoveNode, Reply
from cube.task import NodeState


class Operators:
    """Takes their word, or says why not."""

    def __init__(self, ledger: Ledger, nodes: Nodes, jobs: Jobs) -> None:
        self._ledger = ledger
        self._nodes = nodes
        self._jobs = jobs

    def declare_lost(self, lost: DeclareLost) -> Reply:
        """Take an operator's word that a node is gone, even where we may be the ones cut off."""
        entry = self._nodes.entries.get(lost.node)
        if entry is None:
            return Reply(lost.request, "not-found", f"there is no node {lost.node}")
        if entry.state is NodeState.LOST:
            return Reply(lost.request, "unchanged", f"{lost.node} is lost already")
        if self._reports(entry):
            text = f"{lost.node} still reports; drain it to move its tasks"
            return Reply(lost.request, "conflict", text)
        mark("node-declared-lost")
        tasks = [t.id for t in self._ledger.on(lost.node)]
        self._nodes.lose(entry, "declared by an operator")
        text = f"{lost.node} is lost: {count_tasks(tasks)} to be placed elsewhere"
        return Reply(lost.request, "ok", text, {"node": lost.node, "tasks": tasks})

    def label(self, label: LabelNode) -> Reply:
        """Add labels to a node, and take added ones away."""
        node, entry = label.node, self._nodes.entries.get(label.node)
        if entry is None and node not in self._ledger.node_marks:
            return Reply(label.request, "not-found", f"there is no node {node}")
        before = dict(self._ledger.mark_of(node).labels)
        unknown = next((key for key in label.drop if key not in before), None)
        if unknown is not None:
            text = f"no operator has added a label {unknown} to {node}, so none can be taken away"
            return Reply(label.request, "refused", text)
        kept = {key: value for key, value in before.items() if key not in label.drop}
        after = {**kept, **dict(label.add)}
        if after == before:
            return Reply(label.request, "unchanged", f"{node} has these labels already")
        self._ledger.mark_node(node, labels=tuple(sorted(after.items())))
        changes = [f"{key}={value}" for key, value in label.add]
        changes += [f"{key} taken away" for key in label.drop]
        text = f"{node} is labelled: {', '.join(changes)}"
        self._ledger.event("node.labelled", text, node=node)
        if entry is not None:
            self._nodes.relabel(entry)
        self._jobs.node_changed(node)
        return Reply(label.request, "ok", text, {"node": node, "labels": after})

    def remove(self, remove: RemoveNode) -> Reply:
        """Forget a node that is gone for good."""
        node, entry = remove.node, self._nodes.entries.get(remove.node)
        if entry is None and node not in self._ledger.node_marks:
            return Reply(remove.request, "not-found", f"there is no node {node}")
        if entry is not None:
            if self._reports(entry):
                text = f"{node} still reports and would only join again; stop its worker first"
                return Reply(remove.request, "conflict", text)
            tasks = self._ledger.on(node)
            if tasks:
                text = f"{count_tasks(tasks)} may still run on {node}; say first that it is lost"
                return Reply(remove.request, "conflict", text)
            self._nodes.forget(entry)
        mark("node-removed")
        self._ledger.forget_node(node)
        text = f"{node} is no longer part of the cluster"
        self._ledger.event("node.removed", text, node=node)
        self._jobs.node_changed(node)
        return Reply(remove.request, "ok", text, {"node": node})

    def _reports(self, entry: Entry) -> bool:
        """Is it heard of still?"""
        return entry.state is NodeState.ALIVE or not self._nodes.is_silent(entry)
