"""Ends for want of memory, whichever of the engine's two words comes first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from conftest import DOCKER_URL
from docker.api.client import APIClient
from engine_bench import Bench, key_of, shell, start

from cube.engine.docker.checks import NetworkChecks
from cube.engine.docker.ledger import Ledger
from cube.engine.health import HealthChecks
from cube.messages import Exited

pytestmark = pytest.mark.docker
KEY = key_of()


class Hearing:
    """A ledger that hears events by hand; what it puts off is done by hand, too."""

    def __init__(self, api: APIClient, bench: Bench, cluster: str) -> None:
        self.told: list[Any] = []
        self.later: list[Callable[[], None]] = []
        health = HealthChecks("unused", self.told.append)
        self.ledger = Ledger(
            api,
            DOCKER_URL,
            cluster,
            bench.engine.info,
            boot="",
            checks=NetworkChecks(DOCKER_URL, health),
            emit=self.told.append,
            submit=self._submit,
        )

    def _submit(self, lane: object, job: Callable[[], None], after: float) -> None:
        if after:
            self.later.append(job)
        else:
            job()

    def hear(self, container: dict[str, Any], action: str) -> None:
        attributes = {**container["Config"]["Labels"], "exitCode": "137"}
        actor = {"ID": container["Id"], "Attributes": attributes}
        self.ledger.on_event({"Action": action, "Actor": actor})


@pytest.fixture
def killed(docker_bench, docker_api: APIClient, cluster: str) -> tuple[Hearing, dict]:
    """A container that ended with 137, of which the engine does not say why."""
    bench: Bench = docker_bench()
    container = start(bench, docker_api, shell("exit 137", memory_limit_mib=16))
    bench.next(Exited)
    return Hearing(docker_api, bench, cluster), container


def test_the_word_that_comes_after_the_end(killed: tuple[Hearing, dict]) -> None:
    hearing, container = killed
    hearing.hear(container, "die")
    assert hearing.told == []
    hearing.hear(container, "oom")
    (exited,) = hearing.told
    assert (exited.exit_code, exited.reason) == (137, "exited 137 (out of memory)")
    (late,) = hearing.later
    late()
    assert hearing.told == [exited]


def test_the_word_that_comes_first(killed: tuple[Hearing, dict]) -> None:
    hearing, container = killed
    hearing.hear(container, "oom")
    (exited,) = hearing.told
    hearing.hear(container, "die")
    assert (hearing.told, exited.reason) == ([exited], "exited 137 (out of memory)")


def test_a_kill_without_that_word(killed: tuple[Hearing, dict]) -> None:
    hearing, container = killed
    hearing.hear(container, "die")
    (late,) = hearing.later
    late()
    (exited,) = hearing.told
    assert exited.reason == "killed by SIGKILL (perhaps for its memory limit of 16 MiB)"
