"""Containers on the engines of a box that are not the cluster's, and of which it must keep off.

On each engine one runs that no label marks, and one that another cluster made lies ready to start.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass

from cube.engine.docker import names
from tests.cluster.box import Box
from tests.cluster.jobs import FOREVER

RUNNING = "foreign"
READY = "of-another-cluster"
LABELS = {
    names.CLUSTER: "c1-of-somebody-else",
    names.JOB: "shop",
    names.SERVICE: "web",
    names.TASK: "shop/web/1@1",
    names.ATTEMPT: "1",
    names.RESTART: "0",
}


@dataclass(frozen=True)
class Found:
    """What the engine says of one."""

    id: str
    state: str
    started: str  # when


class Foreign:
    """Makes them, and sees whether they are as they were."""

    def __init__(self, box: Box) -> None:
        self._box = box
        self._before: dict[str, dict[str, Found]] = {}

    def place(self) -> None:
        """Make them on every engine."""
        marks = [f"--label={name}={value}" for name, value in LABELS.items()]
        for name, machine in self._box.nodes.items():
            forever = ("--restart=always", f"--name={RUNNING}", "busybox", *FOREVER)
            machine.run("docker", "run", "--detach", *forever)
            marks_of_node = (*marks, f"--label={names.NODE}={name}")
            machine.run("docker", "create", *marks_of_node, f"--name={READY}", "busybox", "true")
            self._before[name] = self._find(name)

    def touched(self, node: str, *, restarted: bool) -> str:
        """What befell those of a node since this was asked last; "" if nothing did.

        `restarted`: its engine ended meanwhile, and with it what ran.
        """
        before, now = self._before[node], self._find(node)
        self._before[node] = {**before, **now}
        for name, old in before.items():
            new = now.get(name)
            if new is None:
                return f"{name} on {node} is gone"
            if new.id != old.id or new.state != old.state:
                return f"{name} on {node} was {old} and is {new}"
            if new.started != old.started and not restarted:
                return f"{name} on {node} was started anew"
        return ""

    def remove(self) -> None:
        """Take them away again."""
        for machine in self._box.nodes.values():
            machine.run("docker", "rm", "--force", RUNNING, READY, check=False)

    def _find(self, node: str) -> dict[str, Found]:
        with closing(self._box.engines[node].api()) as api:
            raws = {}
            for raw in api.containers(all=True):
                raws[raw["Names"][0].lstrip("/")] = raw["Id"]
            told = {n: api.inspect_container(raws[n]) for n in (RUNNING, READY) if n in raws}
        return {
            name: Found(one["Id"], one["State"]["Status"], one["State"]["StartedAt"])
            for name, one in told.items()
        }
