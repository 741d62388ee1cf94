"""What every engine does, whatever it runs tasks with."""

from __future__ import annotations

import pytest
from engine_bench import Bench, cannot_start, exits, forever, key_of, stubborn

from cube.messages import Exited, Started
from cube.spec import Port


@pytest.fixture(params=[pytest.param("docker", marks=pytest.mark.docker), "process", "simulated"])
def bench(request: pytest.FixtureRequest) -> Bench:
    return request.getfixturevalue(f"{request.param}_bench")()


def running(bench: Bench) -> list:
    return [found.key for found in bench.list().found if found.running]


def test_lists_nothing_at_first(bench: Bench) -> None:
    listed = bench.list()
    assert listed.found == ()
    assert listed.info == bench.engine.info
    assert listed.info.name == "node-1"
    assert listed.info.cpu_milli > 0
    assert listed.info.memory_mib > 0


def test_starts_and_lists(bench: Bench) -> None:
    spec = forever(cpu_milli=120, memory_mib=33, disk_mib=5, on_disconnect="stop")
    key = bench.run(spec)
    started = bench.next(Started)
    assert started.key == key
    (found,) = bench.list().found
    assert (found.key, found.running, found.exit_code) == (key, True, None)
    assert found.handle == started.handle != ""
    assert found.size == (120, 33, 5)
    assert found.on_disconnect == "stop"


def test_starting_again_changes_nothing(bench: Bench) -> None:
    key = bench.run(forever())
    first = bench.next(Started)
    bench.run(forever())
    assert bench.next(Started) == first
    assert running(bench) == [key]


@pytest.mark.parametrize("code", [0, 3])
def test_tells_the_exit_and_keeps_the_remains(bench: Bench, code: int) -> None:
    key = bench.run(exits(code))
    bench.next(Started)
    exited = bench.next(Exited)
    assert (exited.key, exited.exit_code, exited.reason) == (key, code, f"exited {code}")
    assert exited.started
    assert not exited.interrupted
    (found,) = bench.list().found
    assert (found.running, found.exit_code, found.reason) == (False, code, f"exited {code}")


def test_discard_removes_the_remains(bench: Bench) -> None:
    key = bench.run(exits(0))
    bench.next(Exited)
    bench.discard(key)
    assert bench.list().found == ()


def test_discard_is_repeatable_and_fine_for_what_is_not_there(bench: Bench) -> None:
    bench.discard(key_of())
    bench.discard(key_of())
    assert bench.list().found == ()


def test_discard_leaves_alone_what_runs(bench: Bench) -> None:
    key = bench.run(forever())
    bench.next(Started)
    bench.discard(key)
    assert running(bench) == [key]


def test_a_key_runs_once(bench: Bench) -> None:
    bench.run(exits(3))
    first = bench.next(Exited)
    bench.run(exits(3))
    assert bench.next(Exited) == first
    assert running(bench) == []


def test_kill_ends_it(bench: Bench) -> None:
    key = bench.run(forever())
    bench.next(Started)
    bench.kill(key)
    exited = bench.next(Exited)
    assert (exited.key, exited.exit_code, exited.started) == (key, 143, True)
    (found,) = bench.list().found
    assert not found.running


def test_kill_ends_what_ignores_its_stop_signal(bench: Bench) -> None:
    key = bench.run(stubborn())
    bench.next(Started)
    bench.logs_until(key, b"ready")
    bench.kill(key, grace_seconds=0.3)
    assert bench.next(Exited).exit_code == 137
    assert running(bench) == []


def test_kill_without_grace(bench: Bench) -> None:
    key = bench.run(stubborn())
    bench.next(Started)
    bench.kill(key, grace_seconds=0.0)
    assert bench.next(Exited).exit_code == 137


def test_killing_twice_tells_one_end(bench: Bench) -> None:
    key = bench.run(forever())
    bench.next(Started)
    bench.kill(key, grace_seconds=20.0)
    bench.kill(key, grace_seconds=20.0)
    assert bench.next(Exited).exit_code == 143
    assert running(bench) == []


def test_a_kill_that_comes_during_the_start_wins(bench: Bench) -> None:
    key = bench.run(forever())
    bench.kill(key, grace_seconds=0.5)
    assert bench.next(Exited).key == key
    assert running(bench) == []


def test_killing_what_is_not_there(bench: Bench) -> None:
    bench.kill(key_of())
    exited = bench.next(Exited)
    assert (exited.key, exited.exit_code) == (key_of(), None)
    assert "gone" in exited.reason


def test_killing_what_has_ended_tells_how(bench: Bench) -> None:
    key = bench.run(exits(3))
    first = bench.next(Exited)
    bench.kill(key)
    assert bench.next(Exited) == first


def test_tells_why_it_cannot_start(bench: Bench) -> None:
    key = bench.run(cannot_start())
    exited = bench.next(Exited)
    assert (exited.key, exited.started) == (key, False)
    assert exited.reason == "no such command: nonesuch"
    assert running(bench) == []
    assert bench.nothing_more(Exited)


def test_another_worker_finds_what_runs_and_may_end_it(bench: Bench) -> None:
    key = bench.run(forever())
    handle = bench.next(Started).handle
    bench.restart()
    (found,) = bench.list().found
    assert (found.key, found.running, found.handle) == (key, True, handle)
    bench.run(forever())
    assert bench.next(Started).handle == handle
    bench.kill(key)
    assert bench.next(Exited).exit_code == 143


FAILURES = (1753900000.1234567, 1753900012.0)


def test_another_worker_is_told_the_failures_that_were_known_at_the_start(bench: Bench) -> None:
    bench.run(forever(), failures=FAILURES)
    handle = bench.next(Started).handle
    bench.restart()
    assert [found.failures for found in bench.list().found] == [FAILURES]
    bench.run(forever())  # knows of none, and it is the same run
    assert bench.next(Started).handle == handle
    assert [found.failures for found in bench.list().found] == [FAILURES]


def test_failures_are_told_of_what_has_ended_too(bench: Bench) -> None:
    bench.run(exits(3), failures=FAILURES)
    bench.next(Exited)
    assert [found.failures for found in bench.list().found] == [FAILURES]


def test_a_first_run_has_no_failures_whatever_its_user_s_labels_say(bench: Bench) -> None:
    bench.run(forever(labels=(("cube.failures", "1.0,2.0"),)))
    bench.next(Started)
    assert [found.failures for found in bench.list().found] == [()]


def test_publishes_ports(bench: Bench) -> None:
    bench.run(forever(ports=(Port(80),)))
    (chosen,) = bench.next(Started).ports
    assert (chosen.container, chosen.protocol) == (80, "tcp")
    assert chosen.host > 1023
    (found,) = bench.list().found
    assert found.ports == (chosen,)


def test_runs_are_independent(bench: Bench) -> None:
    keys = [key_of(f"shop/web/{i}") for i in range(6)]
    for key in keys:
        bench.run(forever(), key)
    for key in keys:
        bench.next(Started, key)
    for key in keys[:3]:
        bench.kill(key)
    for key in keys[:3]:
        bench.next(Exited, key)
    assert sorted(running(bench)) == keys[3:]
