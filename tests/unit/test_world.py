"""The live world: ways to other machines, and followers of the store, that fail."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from typing import Any

import pytest

from cube.messages import Effect, Look, Reply, Save, Send
from cube.store import MemoryStore
from cube.task import Meta
from cube.world import World


class Gossip:
    """Saves, tells somebody far away, and answers."""

    def birth(self) -> dict[str, Any]:
        return {}

    def receive(self, message: Any, now: float) -> list[Effect]:
        if not isinstance(message, Look):
            return []
        answer = Send(message.reply_to, Reply(message.request, "ok"))
        return [Save((Meta("heard", message.request),)), Send("far", message.request), answer]


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    made.start_core("gossip", lambda life: Gossip(), MemoryStore())
    yield made
    made.stop()


def tell(world: World, request: str) -> Reply:
    return world.ask("gossip", lambda edge: Look(request, edge))


def test_message_to_another_machine_takes_its_way_while_there_is_one(world: World) -> None:
    carried: queue.SimpleQueue[Any] = queue.SimpleQueue()
    world.connect("far", carried.put)
    tell(world, "one")
    world.disconnect("far")
    tell(world, "two")
    world.connect("far", carried.put)
    tell(world, "three")
    assert [carried.get_nowait(), carried.get_nowait()] == ["one", "three"]
    assert world.lost == {"str": 1}


def test_way_that_fails_loses_the_message_and_not_the_sender(world: World) -> None:
    def broken(message: Any) -> None:
        raise OSError("no route to host")

    world.connect("far", broken)
    assert [tell(world, str(i)).status for i in range(2)] == ["ok", "ok"]
    assert world.lost == {"str": 2}


def test_follower_of_the_store_that_fails_does_not_end_the_actor(world: World) -> None:
    followed = []

    def broken() -> None:
        followed.append(1)
        raise RuntimeError("a bug")

    world.on_saved(broken)
    assert [tell(world, str(i)).status for i in range(2)] == ["ok", "ok"]
    assert len(followed) == 2
