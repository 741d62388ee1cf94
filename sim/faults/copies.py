"""What runs where, and who may stop it: one copy of a task, and nothing stopped unasked.

Checkers, entered in `sim.faults.checkers`. The truth is what the engines run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cube.manager.entry import grants
from cube.messages import (
    FENCE_SECONDS,
    MANAGER,
    Assign,
    DeclareLost,
    Discard,
    Effect,
    Kill,
    Reply,
    Run,
    RunKey,
    Send,
    Snapshot,
    Wake,
)
from cube.task import Record, State, Task
from sim.faults.checker import Broken, Checker
from sim.faults.world import machine_of

if TYPE_CHECKING:
    from sim.faults.ordeal import Ordeal


class OneCopy(Checker):
    """For `stop` tasks no two attempts truly run at once; no task runs twice on one node."""

    actors = ("engine/", MANAGER)

    def __init__(self, ordeal: Ordeal) -> None:
        super().__init__(ordeal)
        self._running: dict[str, frozenset[RunKey]] = {node: frozenset() for node in ordeal.nodes}
        self._where: dict[str, set[tuple[str, RunKey]]] = {}
        self._doubled: dict[str, float] = {}  # uid: since when it runs twice, excused
        self._declared: dict[str, tuple[str, float]] = {}  # node: request that took it for lost
        self._unseen: set[tuple[str, str, int]] = set()  # by node: an older store has it elsewhere
        self.unfenced_seconds = 0.0

    def store_replaced(self) -> None:
        for uid, task in self.ordeal.store.content.tasks.items():
            for node, engine in self.ordeal.engines.items():
                is_known = task.state.placed and task.node == node
                is_there = any(key[:2] == (uid, task.attempt) for key in engine.containers)
                if is_there and not is_known:
                    self._unseen.add((node, uid, task.attempt))

    def saved(self, records: Sequence[Record]) -> None:
        for record in records:
            if isinstance(record, Task) and record.state.placed and record.node is not None:
                self._unseen.discard((record.node, record.uid, record.attempt))

    def handled(self, actor: str, message: Any, now: float, effects: list[Effect]) -> None:
        if isinstance(message, DeclareLost):
            self._heed(message, now, effects)
        if actor == MANAGER:
            return
        node = machine_of(actor)
        before, after = self._running[node], frozenset(self.ordeal.engines[node].running())
        if before == after:
            return
        self._running[node] = after
        for key in before - after:
            copies = self._where[key.uid]
            copies.discard((node, key))
            if len(copies) < 2 and key.uid in self._doubled:
                self.unfenced_seconds += now - self._doubled.pop(key.uid)
            if not copies:
                del self._where[key.uid]
        for key in sorted(after - before):
            copies = self._where.setdefault(key.uid, set())
            copies.add((node, key))
            if len(copies) > 1:
                self._twice(key, node, copies, now)

    def _twice(self, key: RunKey, node: str, copies: set[tuple[str, RunKey]], now: float) -> None:
        others = sorted(copies - {(node, key)})
        for where, other in others:
            if self._is_stray(where, other) or self._is_stray(node, key):
                continue  # an operator decides on what the store never knew
            if where == node and not self._excused(where, now):
                raise Broken("one copy", f"{key} and {other} both run on {node}", key.uid)
            # The older of the two is the one to be stopped.
            old_node, old = min((node, key), (where, other), key=lambda copy: copy[1])
            if not self._is_fenced(old_node, old):
                continue
            if not self._excused(old_node, now):
                text = f"{key} begins on {node} while {other} runs on {where}"
                raise Broken("one copy", text, key.uid)
            self._doubled.setdefault(key.uid, now)

    def full(self, now: float, known: Snapshot | None) -> None:
        """What is excused ends with its excuse."""
        for uid, since in self._doubled.items():
            copies = [copy for copy in self._where[uid] if not self._is_stray(*copy)]
            for node, key in sorted(copies, key=lambda copy: copy[1])[:-1]:
                if self._is_fenced(node, key) and not self._excused(node, now):
                    text = f"{key} still runs on {node}, {now - since:.1f} s after another began"
                    raise Broken("one copy", text, uid)

    def _is_fenced(self, node: str, key: RunKey) -> bool:
        """Has its node to stop it when the lease ends? What was made as `keep` goes on."""
        return bool(self.ordeal.engines[node].containers[key].run.spec.on_disconnect == "stop")

    def _is_stray(self, node: str, key: RunKey) -> bool:
        """Has a store that took the place of another lost sight of it?"""
        attempt = (node, *key[:2])
        return attempt in self.ordeal.strays or attempt in self._unseen

    def _heed(self, message: DeclareLost, now: float, effects: list[Effect]) -> None:
        """An operator's word goes before the fence, once."""
        taken = any(isinstance(e, Send) and isinstance(e.message, Reply)
                    and e.message.status == "ok" for e in effects)  # fmt: skip
        if taken and self._declared.get(message.node, ("", 0.0))[0] != message.request:
            self._declared[message.node] = (message.request, now)

    def _excused(self, node: str, now: float) -> bool:
        """Could nobody on that node stop a task, now or within the time it takes to?"""
        granted = grants(len(self.ordeal.nodes), self.ordeal.scenario.reports_per_second)
        lately = self.ordeal.troubled.get(node, float("-inf"))
        _, declared = self._declared.get(node, ("", float("-inf")))
        return (
            self.ordeal.stands_still(node)
            or now - lately < granted.lease + FENCE_SECONDS
            or now - declared < granted.grace
        )


class KillsAreWanted(Checker):
    """No `keep` container is stopped unless some word that its worker was told omits it."""

    actors = "worker/"

    def __init__(self, ordeal: Ordeal) -> None:
        super().__init__(ordeal)
        # By worker: the run of each attempt that this life of it ordered last.
        self._ordered: dict[str, dict[tuple[str, int], int]] = {}
        # By worker: what some word to this life of it left out.
        self._unwanted: dict[str, set[tuple[str, int]]] = {}
        self._latest: dict[str, tuple[Any, ...]] = {}  # by worker: what the latest word rests on

    def handled(self, actor: str, message: Any, now: float, effects: list[Effect]) -> None:
        if isinstance(message, Wake):
            self._ordered[actor] = {}
            self._unwanted[actor] = set()
            self._latest.pop(actor, None)
        if isinstance(message, Assign):
            self._told(actor, message)
        for effect in effects:
            if isinstance(effect, Send) and isinstance(effect.message, Kill):
                self._check(actor, effect.message.key)
            if isinstance(effect, Send) and isinstance(effect.message, Run):
                key = effect.message.key
                self._ordered[actor][key[:2]] = key.restart

    def _told(self, actor: str, assign: Assign) -> None:
        engine = self.ordeal.engines[machine_of(actor)]
        rests_on = (assign.tasks, assign.keep, tuple(engine.containers))
        if self._latest.get(actor) == rests_on:
            return  # it leaves out what the one before left out
        self._latest[actor] = rests_on
        wanted = {(w.uid, w.attempt) for w in assign.tasks if w.run}
        self._unwanted[actor] |= {(w.uid, w.attempt) for w in assign.tasks if not w.run}
        here = {(key.uid, key.attempt) for key in engine.containers}
        self._unwanted[actor] |= {k for k in here - wanted if k not in assign.keep}

    def _check(self, actor: str, key: RunKey) -> None:
        containers = self.ordeal.engines[machine_of(actor)].containers
        held = containers.get(key)
        if held is None or not held.running or held.run.spec.on_disconnect == "stop":
            return
        later = self._ordered[actor].get(key[:2], 0)  # of which there may be no container
        older = later > key.restart or any(
            k[:2] == key[:2] and k.restart > key.restart for k in containers
        )
        if not older and key[:2] not in self._unwanted[actor]:
            raise Broken("kills are wanted", f"{actor} stops {key}; nobody told it to", key.uid)


class ForgetfulDestroysNothing(Checker):
    """What a lost or old store never knew runs on until an operator decides."""

    actors = "engine/"

    def __init__(self, ordeal: Ordeal) -> None:
        super().__init__(ordeal)
        self._placed: set[tuple[str, str, int]] = set()  # by node, with whatever store
        self._listed: set[tuple[str, str, int]] = set()  # saved as unknown, by node

    def saved(self, records: Sequence[Record]) -> None:
        for record in records:
            if isinstance(record, Task) and record.state.placed and record.node is not None:
                attempt = (record.node, record.uid, record.attempt)
                self._placed.add(attempt)
                self.ordeal.strays.discard(attempt)

    def store_replaced(self) -> None:
        self._listed.clear()
        saved, before = self.ordeal.store.content.tasks, self.ordeal.replaced.content.tasks
        # Running, about to, or on its way: what the store does not know, nobody can stop.
        for node, uid, attempt in self._placed:
            task = saved.get(uid)
            if task is None or task.attempt < attempt:
                self.ordeal.strays.add((node, uid, attempt))
        for engine in self.ordeal.engines.values():
            for key in engine.running():
                stray, was = (engine.info.name, *key[:2]) in self.ordeal.strays, before.get(key.uid)
                if stray and was is not None and _is_wanted(was, key):
                    self.ordeal.orphans.add((engine.info.name, *key[:2]))

    def handled(self, actor: str, message: Any, now: float, effects: list[Effect]) -> None:
        if not self.ordeal.orphans or self.ordeal.healed:
            return
        if isinstance(message, Kill | Discard):
            key, node = message.key, machine_of(actor)
            if (node, *key[:2]) in self.ordeal.orphans and not self._is_excused(node, key):
                text = f"{type(message).__name__} of {key}, which this store never knew"
                raise Broken("a forgetful manager destroys nothing", text, key.uid)

    def full(self, now: float, known: Snapshot | None) -> None:
        if known is not None and known.unknown and self.ordeal.world.is_saved(MANAGER):
            self._listed.update((node, fact.uid, fact.attempt) for node, fact in known.unknown)

    def _is_excused(self, node: str, key: RunKey) -> bool:
        """Is it fenced, ended, placed anew before it was heard of, or placed right here?"""
        task = self.ordeal.store.content.tasks.get(key.uid)
        if task is not None and task.node == node:
            return True
        anew = task is not None and task.attempt > key.attempt
        if anew and (node, *key[:2]) not in self._listed:
            return True
        held = self.ordeal.engines[node].containers.get(key)
        return held is None or held.run.spec.on_disconnect == "stop" or held.ended is not None


def _is_wanted(task: Task, key: RunKey) -> bool:
    """Is that container to run, as the books say? If not, a word to stop it may be under way."""
    return task.state in (State.SCHEDULED, State.RUNNING) and task.attempt == key.attempt
