"""The users of a cluster in a box: they say what they want until the manager has taken it in.

What was refused or not answered is owed, and said again later: saying a thing twice changes
nothing. Does not judge whether the cluster does as it was told.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from cube.client import ApiProblem, Client, ClientError
from cube.spec import JobSpec
from tests.cluster.control import Control

RECOVER_SECONDS = 60.0
ADOPT_SECONDS = 20.0
NOT_FOUND = 404


class Users:
    """What they want of a `Control`, whose `wanted` follows at once."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self.owed: dict[str, Callable[[Client], object]] = {}

    def want(self, job: JobSpec) -> str:
        """Have a job run, and so. Returns what the manager said, if it did not take it in."""
        self._control.wanted[job.name] = job
        return self._say(job.name, lambda client: client.submit(job))

    def stop(self, job: str) -> str:
        """Have a job run no more."""
        self._control.wanted.pop(job, None)
        return self._say(job, lambda client: _stop(client, job))

    def scale(self, job: str, service: str, instances: int) -> str:
        """Have another number of instances."""
        spec = self._control.wanted[job]
        changed = tuple(
            replace(s, instances=instances) if s.name == service else s for s in spec.services
        )
        return self.want(replace(spec, services=changed))

    def restart(self, target: str) -> str:
        """Have instances started anew; once is enough, so it is not owed."""
        with self._control.client() as client:
            try:
                client.restart(target)
            except ClientError as error:
                return str(error)
        return ""

    def drain(self, node: str, *, on: bool) -> str:
        """Have a node emptied, or let it have tasks again."""
        return self._say(node, lambda client: client.drain(node, on=on))

    def insist(self) -> bool:
        """Say again what is owed; has all of it been taken in?"""
        for name, say in list(self.owed.items()):
            self._say(name, say)
        return not self.owed

    def _say(self, name: str, say: Callable[[Client], object]) -> str:
        self.owed[name] = say
        with self._control.client() as client:
            try:
                say(client)
            except ClientError as error:
                return str(error)
        del self.owed[name]
        return ""

    # --- an operator's procedure after the store was lost or restored ---

    def recover(self) -> str:
        """Adopt what can be, remove the rest, and say everything once more.

        Raises:
            AssertionError: the nodes do not come back, or unknown containers stay.
        """
        control, left = self._control, 0
        control.watch.until(lambda: control.alive() == set(control.box.nodes), RECOVER_SECONDS)
        with control.client() as client:
            with suppress(AssertionError):
                control.watch.until(lambda: _adopted(client), ADOPT_SECONDS)
            if left := len(client.recovery()["unknown"]):
                client.recover("remove")
                control.watch.until(lambda: not client.recovery()["unknown"], ADOPT_SECONDS)
            for job in client.jobs():
                if job["name"] not in control.wanted and job["state"] != "stopped":
                    client.stop(job["name"])
            for spec in control.wanted.values():
                client.submit(spec)
            for node in control.box.nodes:
                client.drain(node, on=False)
        self.owed.clear()
        return f"{left} could not be adopted" if left else ""


def _stop(client: Client, job: str) -> None:
    try:
        client.stop(job)
    except ApiProblem as problem:
        if problem.status != NOT_FOUND:
            raise


def _adopted(client: Client) -> bool:
    """Is nothing unknown (any more)? What is, is adopted once its node has told all of it."""
    unknown = client.recovery()["unknown"]
    if unknown and all(u["image"] for u in unknown):
        client.recover("adopt")
    return not unknown
