"""Takes out of a `Snapshot` what nobody needs who simulates it, secrets above all.

Environments, commands, container labels, log options and health checks keep their names and lose
their values: each distinct value becomes a number. So two specs that differed still differ, which
tells what a roll-out has yet to replace, and nothing can be guessed back from it.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace

from cube.messages import Fact, NodeInfo, NodeRow, Snapshot
from cube.secrets import is_secret_name, mask_value
from cube.spec import Constraint, JobSpec, TaskSpec
from cube.task import Job, JobVersion, Node, Task

Pairs = tuple[tuple[str, str], ...]
_NODE_LABEL = "node.labels."


def hide(snapshot: Snapshot) -> Snapshot:
    """The same cluster without what is secret."""
    return _Hiding().snapshot(snapshot)


class _Hiding:
    """One snapshot's hidden values, each with its number."""

    def __init__(self) -> None:
        self._numbers: dict[Hashable, str] = {}
        self._specs: dict[TaskSpec, TaskSpec] = {}

    def snapshot(self, snapshot: Snapshot) -> Snapshot:
        return replace(
            snapshot,
            jobs=tuple(map(self._job, snapshot.jobs)),
            tasks=tuple(map(self._task, snapshot.tasks)),
            nodes=tuple(map(self._node, snapshot.nodes)),
            rows=tuple(map(self._row, snapshot.rows)),
            unknown=tuple((node, self._fact(fact)) for node, fact in snapshot.unknown),
            note=_text(snapshot.note),
        )

    def _job(self, job: Job) -> Job:
        earlier = tuple(JobVersion(v.version, self._job_spec(v.spec)) for v in job.earlier)
        return replace(
            job, spec=self._job_spec(job.spec), earlier=earlier, halted=_text(job.halted)
        )

    def _job_spec(self, spec: JobSpec) -> JobSpec:
        return replace(spec, services=tuple(map(self._spec, spec.services)))

    def _task(self, task: Task) -> Task:
        """The record of its latest decision goes too: the simulated scheduler decides anew."""
        return replace(task, spec=self._spec(task.spec), reason=_text(task.reason), decision=None)

    def _spec(self, spec: TaskSpec) -> TaskSpec:
        if spec not in self._specs:
            self._specs[spec] = self._hidden(spec)
        return self._specs[spec]

    def _hidden(self, spec: TaskSpec) -> TaskSpec:
        check = spec.healthcheck
        if check is not None and len(check.test) > 1:
            check = replace(check, test=(check.test[0], self._number(check.test[1:])))
        port = spec.check
        if port is not None and port.path is not None:
            port = replace(port, path=f"/{self._number(port.path)}")
        return replace(
            spec,
            command=self._words(spec.command),
            entrypoint=self._words(spec.entrypoint),
            environment=self._values(spec.environment),
            labels=self._values(spec.labels),
            log_options=self._values(spec.log_options),
            healthcheck=check,
            check=port,
            constraints=tuple(map(self._constraint, spec.constraints)),
        )

    def _constraint(self, constraint: Constraint) -> Constraint:
        name = constraint.attribute.removeprefix(_NODE_LABEL)
        if name == constraint.attribute or not is_secret_name(name):
            return constraint
        return replace(constraint, value=self._number(constraint.value))

    def _node(self, node: Node) -> Node:
        return replace(
            node,
            labels=self._node_labels(node.labels),
            note=_text(node.note),
            engine_error=_text(node.engine_error),
        )

    def _row(self, row: NodeRow) -> NodeRow:
        return replace(row, info=self._info(row.info))

    def _info(self, info: NodeInfo) -> NodeInfo:
        return replace(info, labels=self._node_labels(info.labels))

    def _node_labels(self, labels: Pairs) -> Pairs:
        """Placement looks at these: only what is named like a secret is hidden."""
        return tuple((k, self._number(v) if is_secret_name(k) else v) for k, v in labels)

    def _fact(self, fact: Fact) -> Fact:
        spec = None if fact.spec is None else self._spec(fact.spec)
        return replace(fact, spec=spec, reason=_text(fact.reason))

    def _values(self, pairs: Pairs) -> Pairs:
        return tuple((name, self._number(value)) for name, value in pairs)

    def _words(self, words: tuple[str, ...] | None) -> tuple[str, ...] | None:
        return None if words is None else (self._number(words),)

    def _number(self, value: Hashable) -> str:
        return self._numbers.setdefault(value, f"hidden-{len(self._numbers) + 1}")


def _text(text: str) -> str:
    """What an engine said may name an address with a password in it."""
    return mask_value("", text)
