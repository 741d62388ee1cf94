"""What hosts a core: saves before sends, rebuilding, messages set aside, a store that fails."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from cube.actor import BATCH, Core, CoreActor, Letter, Lives, RetrySave
from cube.messages import Assign, Effect, Generation, Save, Send, SetAside, StoreDown, StoreUp, Wake


class Echo:
    """Saves and repeats what it is told; raises on "poison"."""

    def __init__(self, life: int, poison: set[Any]) -> None:
        self.life = life
        self.poison = poison

    def birth(self) -> dict[str, Any]:
        return {}

    def receive(self, message: Any, now: float) -> list[Effect]:
        if message in self.poison:
            self.poison.discard("once")
            raise RuntimeError("poisoned")
        if isinstance(message, str):
            return [Save((message,)), Send("other", (self.life, message))]
        if isinstance(message, int):
            return [Send("edge/2", message)]
        if isinstance(message, Assign):
            return [Send("worker", message)]
        if isinstance(message, StoreDown | StoreUp):
            return [Send("edge/1", type(message).__name__)]
        return []


class Store:
    """Remembers what was saved; fails while `broken`."""

    def __init__(self) -> None:
        self.batches: list[list[Any]] = []
        self.broken = False

    def save(self, records: Any) -> None:
        if self.broken:
            raise OSError("disk full")
        self.batches.append(list(records))


class Inbox:
    """Pykka's loop runs until it is empty."""

    def __init__(self) -> None:
        self.letters: list[Any] = []

    def put(self, envelope: Any) -> None:
        self.letters.append(envelope)

    def get(self) -> Any:
        if not self.letters:
            raise queue.Empty
        return self.letters.pop(0)

    def empty(self) -> bool:
        return not self.letters


class HandRun(CoreActor):
    """An actor that runs when it is told to."""

    @staticmethod
    def _create_actor_inbox() -> Any:
        return Inbox()

    @staticmethod
    def _create_future() -> Any:
        raise AssertionError

    def _start_actor_loop(self) -> None:
        self._actor_loop_setup()

    def run(self) -> None:
        with pytest.raises(queue.Empty):
            self._actor_loop_running()


class Stage:
    """A host that writes everything down, in order."""

    def __init__(self) -> None:
        self.log: list[Any] = []
        self.seen: list[Any] = []
        self.store = Store()
        self.poison: set[Any] = {"poison"}
        self.lives = Lives()
        self.actor: Any = None
        HandRun.start("echo", self.make, self, self.store)

    def make(self, life: int) -> Core:
        return Echo(life, self.poison)

    def tell(self, *messages: Any) -> list[Any]:
        for message in messages:
            letter = message if isinstance(message, Letter) else Letter(message)
            self.actor.actor_ref.tell(letter)
        self.log.clear()
        self.actor.run()
        return list(self.log)

    def now(self) -> float:
        return 0.0

    def adopt(self, actor: Any) -> None:
        self.actor = actor

    def next_life(self, name: str) -> int:
        return self.lives.next(name, self.now())

    def deliver(self, sender: str, effect: Send, life: int | None) -> None:
        self.log.append(effect)

    def handled(self, name: str, life: int, now: float, message: Any, effects: Any) -> None:
        self.seen.append((name, life, message, len(effects)))

    def born(self, name: str, life: int, core: Core) -> None:
        self.log.append(f"born {life}")

    def saved(self, name: str) -> None:
        self.log.append(f"saved {self.store.batches[-1]}")

    def failed(self, name: str, message: Any, error: Exception, set_aside: bool) -> None:
        self.log.append(("set aside" if set_aside else "failed", message))


@pytest.fixture
def stage() -> Iterator[Stage]:
    made = Stage()
    yield made
    made.actor._stop()


def test_batch_is_one_transaction_and_then_its_sends(stage: Stage) -> None:
    assert stage.tell("a", "b") == [
        "saved ['a', 'b']",
        Send("other", (1, "a")),
        Send("other", (1, "b")),
    ]


def test_every_message_is_shown_with_what_it_led_to(stage: Stage) -> None:
    stage.tell("a", 7, "poison")
    assert stage.seen == [
        ("echo", 1, Wake(1), 0),
        ("echo", 1, "a", 2),
        ("echo", 1, 7, 1),
        ("echo", 2, Wake(2), 0),
        ("echo", 3, Wake(3), 0),
    ]


def test_lives_rise_with_the_clock_and_never_repeat() -> None:
    lives = Lives()
    assert [lives.next("a", 5.0), lives.next("a", 5.0), lives.next("b", 0.0)] == [5000, 5001, 1]
    assert lives == {"a": 5001, "b": 1}


def test_batch_is_bounded(stage: Stage) -> None:
    stage.tell(*["x"] * (BATCH + 1))
    assert [len(b) for b in stage.store.batches] == [BATCH, 1]


def test_core_that_raises_is_rebuilt_and_told_once_more(stage: Stage) -> None:
    stage.poison.add("once")
    assert stage.tell("once") == [
        ("failed", "once"),
        "born 2",
        "saved ['once']",
        Send("other", (2, "once")),
    ]


def test_message_that_raises_twice_is_set_aside_and_life_goes_on(stage: Stage) -> None:
    log = stage.tell("before", "poison", "after")
    assert log == [
        ("failed", "poison"),
        "saved ['before']",
        Send("other", (1, "before")),
        "born 2",
        ("set aside", "poison"),
        Send("manager", SetAside("echo", "str", "RuntimeError('poisoned')")),
        "born 3",
        "saved ['after']",
        Send("other", (3, "after")),
    ]


def test_timer_of_an_earlier_life_is_dropped(stage: Stage) -> None:
    assert stage.tell(Letter("timer", life=1)) != []
    stage.tell("poison")
    assert stage.tell(Letter("timer", life=1)) == []


def test_timer_of_an_earlier_life_at_the_end_of_a_batch_lets_the_batch_out(stage: Stage) -> None:
    stage.tell("poison")
    log = stage.tell("a", Letter("timer", life=1))
    assert log == ["saved ['a']", Send("other", (3, "a"))]


def test_sends_wait_for_a_store_that_fails(stage: Stage) -> None:
    stage.store.broken = True
    log = stage.tell("a")
    assert log == [Send("echo", RetrySave(), 1.0), Send("echo", StoreDown("disk full"))]
    assert stage.tell(StoreDown("disk full")) == [Send("edge/1", "StoreDown")]
    assert stage.tell("b") == []
    stage.store.broken = False
    assert stage.tell(RetrySave()) == [
        "saved ['a', 'b']",
        Send("other", (1, "b")),  # the newest word to an actor is enough
        Send("edge/1", "StoreUp"),
    ]
    assert stage.store.batches == [["a", "b"]]


def test_answer_waits_while_the_core_does_not_know_that_the_store_fails() -> None:
    """It may rest on what was decided before, and is not saved."""
    stage = Stage()
    stage.store.broken = True
    stage.tell("a")
    assert stage.tell(7) == []
    assert stage.tell(StoreDown("disk full")) == [Send("edge/1", "StoreDown")]
    assert stage.tell("b", 8) == [Send("edge/2", 8)]
    stage.store.broken = False
    assert Send("edge/2", 7) in stage.tell(RetrySave())
    stage.actor._stop()


def test_answer_does_not_wait_because_the_store_was_tried_again_in_vain() -> None:
    """The core knows already that it is down, and has decided nothing since."""
    stage = Stage()
    stage.store.broken = True
    stage.tell("a")
    stage.tell(StoreDown("disk full"))
    assert Send("edge/2", 7) in stage.tell(RetrySave(), 7)
    stage.actor._stop()


def test_a_word_that_a_worker_was_told_before_goes_out_while_the_store_fails() -> None:
    """It answers its report: else a full disk would end the leases of all nodes."""
    first = Assign(Generation("test", 1, 4), "node-1", 1.0, (1, 1), 1.0, 10.0, 13.0, ())
    stage = Stage()
    stage.tell(first)
    stage.store.broken = True
    stage.tell("a")
    again = replace(first, now=2.0, answers=(1, 2), tell_whole=True)
    assert stage.tell(again) == [Send("worker", again)]
    for news in (
        replace(again, generation=Generation("test", 1, 5)),
        replace(again, lease=20.0),
        replace(again, keep=(("shop/web/1@7", 1),)),
    ):
        assert stage.tell(news) == []
    stage.store.broken = False
    assert Send("worker", news) in stage.tell(RetrySave())
    stage.actor._stop()


def test_core_that_raises_while_the_store_fails_is_reborn_once_the_store_knows_all() -> None:
    stage = Stage()
    stage.store.broken = True
    stage.tell("a")
    assert stage.tell("poison", "lost") == [("failed", "poison")]
    assert stage.tell(RetrySave()) == [
        Send("echo", RetrySave(), 1.0),
        Send("echo", StoreDown("disk full")),
    ]
    stage.store.broken = False
    log = stage.tell(RetrySave(), "b")
    assert log == [
        "saved ['a']",
        Send("other", (1, "a")),
        "born 2",
        "saved ['b']",
        Send("other", (2, "b")),
    ]
    stage.actor._stop()


def test_core_that_cannot_be_rebuilt_is_tried_again() -> None:
    class Unborn(Stage):
        unreadable = False

        def make(self, life: int) -> Core:
            if self.unreadable:
                raise OSError("cannot read")
            return super().make(life)

    stage = Unborn()
    stage.unreadable = True
    log = stage.tell("poison", "lost")
    assert log == [
        ("failed", "poison"),
        ("failed", Wake(2)),
        Send("echo", RetrySave(), 1.0),
    ]
    stage.unreadable = False
    assert stage.tell(RetrySave(), "b") == ["born 3", "saved ['b']", Send("other", (3, "b"))]
    stage.actor._stop()


def test_first_message_of_a_life_is_wake() -> None:
    told: list[Any] = []

    class Listener(Echo):
        def receive(self, message: Any, now: float) -> list[Effect]:
            told.append(message)
            return []

    class Listening(Stage):
        def make(self, life: int) -> Core:
            return Listener(life, set())

    made = Listening()
    made.actor._stop()
    assert told == [Wake(1)]


def test_retry_dies_with_the_life_that_set_it() -> None:
    """Else each crash while the store fails would leave one more that tries it every second."""

    class Timed(Stage):
        def deliver(self, sender: str, effect: Send, life: int | None) -> None:
            self.log.append(Letter(effect.message, life))

    stage = Timed()
    stage.store.broken = True
    (retry, _) = stage.tell("a")
    stage.actor._stop()
    HandRun.start("echo", stage.make, stage, stage.store)
    assert (retry.message, stage.tell(retry)) == (RetrySave(), [])
    stage.actor._stop()


def test_without_a_store_nothing_waits_for_one() -> None:
    stage = Stage()
    HandRun.start("echo", stage.make, stage)
    assert stage.tell("hello") == [Send("other", (stage.actor.life, "hello"))]


def test_of_what_is_held_back_the_newest_goes_last() -> None:
    stage = Stage()
    stage.tell("first")
    stage.store.broken = True
    stage.tell("lost")
    stage.actor.core.receive = lambda message, now: [
        Save((message,)), Send("one", message), Send("two", message)
    ][: 2 if message == "again" else 3]  # fmt: skip
    stage.tell("both", "again")
    stage.store.broken = False
    sends = [e for e in stage.tell(RetrySave()) if isinstance(e, Send)]
    held = [(e.to, e.message) for e in sends if isinstance(e.message, str)]
    assert held == [("two", "both"), ("one", "again")]
