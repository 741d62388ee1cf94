"""What the API stands on: the manager to ask, the store's events, the engines' output, and more.

Owns nothing; it reaches what a cluster has. Its methods may block for a while and are called from
threads of the server, never from an actor.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from cube.api.problems import Problem, check_reply, not_answered, not_found
from cube.engine import CannotExecute, NoSuchRun, TaskIO
from cube.engine.session import Session, Wish
from cube.messages import MANAGER, Access, Look, LookAccess, Reply, RunKey, Snapshot
from cube.registries import Registries
from cube.remote.line import Refused, Unreachable
from cube.serving.streams import Bell
from cube.store import Store
from cube.task import Job, State, Task
from cube.views.jobs import find_job, find_task
from cube.world import NoAnswer, World

ANSWER_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Backend:
    """One running cluster, as the API sees it."""

    world: World
    store: Store
    engines: Mapping[str, TaskIO] | None  # by node; None: they are simulated, and tasks say nothing
    bell: Bell  # rings when something was saved
    registries: Registries  # for nodes that pull

    def look(self) -> Snapshot:
        """All that the manager knows now.

        Raises:
            NoAnswer: it did not answer in time.
        """
        reply = self.world.ask(MANAGER, lambda edge: Look("look", edge), ANSWER_SECONDS)
        assert isinstance(reply.body, Snapshot)
        return reply.body

    def access(self) -> Access:
        """Who is let in, as the manager knows it now.

        Raises:
            NoAnswer: it did not answer in time.
        """
        reply = self.world.ask(MANAGER, lambda edge: LookAccess("access", edge), ANSWER_SECONDS)
        assert isinstance(reply.body, Access)
        return reply.body

    def request(self, make: Callable[[str], Any], conflict: str = "") -> Reply:
        """Ask the manager for a change.

        Args:
            make: the message, from the address to answer to.
            conflict: what the user can do if it is a conflict.

        Raises:
            NoAnswer: it answers nothing at all; repeating the request is safe.
            Problem: it refused, or its answer waits for a store that does not work.
        """
        try:
            reply = self.world.ask(MANAGER, make, ANSWER_SECONDS)
        except NoAnswer:
            raise not_answered(ANSWER_SECONDS, self.look().note) from None
        return check_reply(reply, conflict)

    def job(self, snapshot: Snapshot, name: str) -> Job:
        """The job of that name.

        Raises:
            Problem: there is none.
        """
        job = find_job(snapshot, name)
        if job is None:
            raise not_found(f"job {name}")
        return job

    def task(self, snapshot: Snapshot, job: str, service: str, index: str) -> Task:
        """The task of that name.

        Raises:
            Problem: there is none.
        """
        task = find_task(snapshot, f"{job}/{service}/{index}")
        if task is None:
            raise not_found(f"task {job}/{service}/{index}")
        return task

    def logs(
        self,
        task: Task,
        stop: threading.Event,
        *,
        follow: bool,
        tail: int | None,
        since: float | None,
        previous: bool = False,
    ) -> Iterator[bytes]:
        """The output of a task's newest run, or of the one before it on the same node.

        Reading it may block until `stop` is set.

        Raises:
            Problem: it has not run, its engine keeps no output, or it went with its container.
        """
        run = RunKey(task.uid, task.attempt, task.restart - 1) if previous else task.uid
        if previous and not task.restart:
            raise Problem(404, f"{task.id} was not restarted, so there is no run before this one.")
        if self.engines is None:
            raise Problem(404, "The simulated engine has no output.", "Run on a real one.")
        known = self.engines.get(task.node or "")
        away = (Unreachable, Refused) if known is None else ()  # then another may have it
        for engine in self.engines.values() if known is None else (known,):
            with _reaching(task.node), suppress(NoSuchRun, *away):
                return engine.logs(run, follow=follow, tail=tail, since=since, stop=stop)
        raise _no_output(task)

    def exec(self, task: Task, wish: Wish) -> Session:
        """A command beside a task.

        Raises:
            Problem: it does not run, or the command cannot.
        """
        if self.engines is None:
            raise Problem(404, "The simulated engine runs no commands.", "Use a real one.")
        if task.state is not State.RUNNING:
            what = f"{task.id} is {task.state}, so no command can be run there."
            raise Problem(409, what, f"See why with: cube explain {task.id}")
        engine = self.engines.get(task.node or "")
        if engine is None:
            raise _away(task.node, "it was not heard since the manager started")
        try:
            with _reaching(task.node):
                return engine.execute(task.uid, wish)
        except NoSuchRun as error:
            remedy = f"Wait until it runs again: cube status {task.id}"
            raise Problem(409, f"No command can be run there now: {error}.", remedy) from error
        except CannotExecute as error:
            remedy = "Name a command that is there, after --."
            raise Problem(422, f"The command cannot be run: {error}.", remedy) from error


@contextmanager
def _reaching(node: str | None) -> Iterator[None]:
    """What goes wrong on the way to another machine, as a user is told."""
    try:
        yield
    except Unreachable as error:
        raise _away(node, str(error)) from error
    except Refused as error:
        if error.status == HTTPStatus.NOT_IMPLEMENTED:
            raise Problem(404, str(error), "Run on a real engine.") from error
        raise Problem(502, f"The worker of {node} refused: {error}", error.remedy) from error


def _away(node: str | None, why: str) -> Problem:
    remedy = f"See how the node is: cube nodes; and on {node}: systemctl status cube-worker."
    return Problem(503, f"The worker of {node} cannot be asked: {why}.", remedy)


def _no_output(task: Task) -> Problem:
    if task.state in (State.PENDING, State.SCHEDULED):
        why = f": {task.reason}" if task.reason else ""
        return Problem(
            404, f"{task.id} has not started{why}.", f"See why with: cube explain {task.id}"
        )
    if not task.handle:
        why = f": {task.reason}" if task.reason else ""
        remedy = f"See what happened with: cube events --job {task.job}"
        return Problem(404, f"{task.id} never ran, so it has said nothing{why}.", remedy)
    return Problem(
        404,
        f"The output of {task.id} is gone: its container was removed.",
        "It is kept until the task is stopped, run again or removed (in Docker a day longer); "
        "`cube logs -f` follows it.",
    )
