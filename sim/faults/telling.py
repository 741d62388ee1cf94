"""What is told: the same answer to the same request, ends as they were, and nothing for ever.

Checkers, entered in `sim.faults.checkers`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cube.actor import is_edge
from cube.messages import MANAGER, Effect, Reply, RunKey, Send
from cube.task import Answer, Record, State, Task
from sim.faults.checker import Broken, Checker

if TYPE_CHECKING:
    from sim.faults.ordeal import Ordeal

AT_ONE_MOMENT = (
    10_000  # messages: as many are handled only by cores that answer each other for ever
)


class AnsweredOnce(Checker):
    """A request that is sent again gets the answer that was saved, and does nothing more."""

    actors = MANAGER

    def __init__(self, ordeal: Ordeal) -> None:
        super().__init__(ordeal)
        self._answers: dict[str, Answer] = {}

    def store_replaced(self) -> None:
        self._answers = dict(self.ordeal.store.content.answers)

    def saved(self, records: Sequence[Record]) -> None:
        for record in records:
            if isinstance(record, Answer):
                before = self._answers.setdefault(record.request, record)
                if before != record:
                    text = f"{record.request} was carried out a second time: {record.text}"
                    raise Broken("requests are done once", text)

    def handled(self, actor: str, message: Any, now: float, effects: list[Effect]) -> None:
        for effect in effects:
            if (
                isinstance(effect, Send)
                and isinstance(effect.message, Reply)
                and is_edge(effect.to)
            ):
                self._told(effect.message)

    def _told(self, reply: Reply) -> None:
        answer = self._answers.get(reply.request)
        if answer is None or reply.status == "unavailable":
            return
        if (reply.status, reply.text) != (answer.status, answer.text):
            text = f"{reply.request} was answered {answer.text!r}, now {reply.text!r}"
            raise Broken("requests are done once", text)


class EndsAreTrue(Checker):
    """An ended task ended as its container did: with that exit code, and completed only with 0."""

    def saved(self, records: Sequence[Record]) -> None:
        for record in records:
            if isinstance(record, Task) and record.state in (State.COMPLETED, State.FAILED):
                self._ended(record)

    def _ended(self, task: Task) -> None:
        containers = self.ordeal.engines[task.node or ""].containers
        held = containers.get(RunKey(task.uid, task.attempt, task.restart))
        if held is None or held.ended is None:
            return  # it is gone, or never was: nobody knows better than the worker
        ended, completed = held.ended, task.state is State.COMPLETED
        if completed and (ended.exit_code != 0 or ended.interrupted):
            text = f"{task.uid} counts as completed; its end was {ended}"
            raise Broken("ends are true", text, task.uid)
        if not ended.interrupted and task.exit_code != ended.exit_code:
            text = f"{task.uid} has exit code {task.exit_code}; its end was {ended}"
            raise Broken("ends are true", text, task.uid)


class TimeGoesOn(Checker):
    """No actors go on answering each other while no time passes."""

    def __init__(self, ordeal: Ordeal) -> None:
        super().__init__(ordeal)
        self._moment = 0.0
        self._count = 0

    def handled(self, actor: str, message: Any, now: float, effects: list[Effect]) -> None:
        if now != self._moment:
            self._moment, self._count = now, 0
        self._count += 1
        if self._count > AT_ONE_MOMENT:
            text = (
                f"{AT_ONE_MOMENT} messages at one moment; now {type(message).__name__} to {actor}"
            )
            raise Broken("time goes on", text)
