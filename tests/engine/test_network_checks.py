"""Health checks over the network: what passes, what it says otherwise, and who is told."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from command_bench import cluster_of, command, until
from docker.api.client import APIClient
from engine_bench import Bench, forever, shell

from cube.client import Client
from cube.engine.probes import probe
from cube.messages import Exited, Health, Started
from cube.spec import Port, PortCheck

Serve = Callable[[socket.socket], None]


@contextmanager
def server(serve: Serve) -> Iterator[int]:
    """Answers one connection."""
    with socket.create_server(("127.0.0.1", 0)) as door:

        def answer() -> None:
            peer, _ = door.accept()
            with peer:
                serve(peer)

        thread = threading.Thread(target=answer)
        thread.start()
        try:
            yield door.getsockname()[1]
        finally:
            thread.join()


def answers(*chunks: bytes) -> Serve:
    def serve(peer: socket.socket) -> None:
        assert peer.recv(1000).startswith(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1")
        for chunk in chunks:
            peer.sendall(chunk)

    return serve


def stays_silent(peer: socket.socket) -> None:
    while peer.recv(1000):
        pass


def never_ends(peer: socket.socket) -> None:
    """A header without end, a byte at a time."""
    peer.settimeout(0.02)
    while True:
        try:
            peer.send(b"x")
            if not peer.recv(1000):
                return
        except TimeoutError:
            continue
        except OSError:
            return


@pytest.mark.parametrize(
    ("serve", "verdict"),
    [
        (answers(b"HTTP/1.1 200 OK\r\n\r\nfine"), ""),
        (answers(b"HTT", b"P/1.0 204\r\n\r\n"), ""),
        (answers(b"HTTP/1.1 302 Found\r\n\r\n"), ""),
        (answers(b"HTTP/1.1 400 Bad\r\n\r\n"), "GET :80/health: answered 400"),
        (answers(b"HTTP/1.1 503 No\r\n\r\n" + b"x" * 10), "GET :80/health: answered 503"),
        (answers(b"SSH-2.0-OpenSSH\r\n"), "GET :80/health: what answered is not HTTP"),
        (answers(), "GET :80/health: what answered is not HTTP"),
        (stays_silent, "GET :80/health: no answer in 0.2 s"),
        (never_ends, "GET :80/health: no answer in 0.2 s"),
    ],
)
def test_http(serve: Serve, verdict: str) -> None:
    begun = time.monotonic()
    with server(serve) as port:
        check = PortCheck(80, "/health", timeout_seconds=0.2 if "no answer" in verdict else 10)
        assert probe(check, "127.0.0.1", port) == verdict
    assert time.monotonic() - begun < 5


def test_tcp() -> None:
    with socket.create_server(("127.0.0.1", 0)) as door:
        port = door.getsockname()[1]
        assert probe(PortCheck(80), "127.0.0.1", port) == ""
    assert probe(PortCheck(80), "127.0.0.1", port) == "tcp :80: connection refused"


FAST = PortCheck(80, "/health", interval_seconds=0.05, retries=2, start_period_seconds=20)


def test_a_process_is_asked_at_the_port_that_it_was_given(process_bench) -> None:
    bench: Bench = process_bench()
    script = 'echo fine > health; exec busybox httpd -f -p "$CUBE_PORT_80" -h .'
    key = bench.run(shell(script, ports=(Port(80),), check=FAST))
    bench.next(Started)
    assert bench.next(Health) == Health(key, healthy=True)
    (found,) = bench.list().found
    assert found.healthy is True
    bench.restart()  # whoever comes next tests what it finds
    bench.list()
    assert bench.next(Health) == Health(key, healthy=True)


def test_a_process_without_that_port_is_unhealthy_and_says_why(process_bench) -> None:
    bench: Bench = process_bench()
    with socket.create_server(("127.0.0.1", 0)) as door:
        unused = door.getsockname()[1]
    check = replace(FAST, port=unused, path=None, start_period_seconds=0)
    key = bench.run(forever(check=check))
    verdict = bench.next(Health)
    assert verdict == Health(key, False, f"tcp :{unused}: connection refused")
    bench.kill(key, 0.0)
    bench.next(Exited)
    assert bench.nothing_more(Health)


@pytest.mark.docker
def test_a_container_is_asked_at_its_own_address(docker_bench, docker_api: APIClient) -> None:
    bench: Bench = docker_bench()
    script = "cd /tmp; echo fine > health; httpd -p 80; sleep 1; rm health; sleep 100"
    check = replace(FAST, interval_seconds=0.1)
    key = bench.run(shell(script, check=check))  # it publishes nothing
    handle = bench.next(Started).handle
    assert docker_api.inspect_container(handle)["Config"]["Healthcheck"]["Test"] == ["NONE"]
    assert bench.next(Health) == Health(key, healthy=True)
    assert bench.next(Health) == Health(key, False, "GET :80/health: answered 404")
    assert bench.list().found[0].healthy is False


JOB = """\
name: chain
services:
  web:
    image: busybox
    command: [sh, -c, 'echo fine > health; exec busybox httpd -f -p "$$CUBE_PORT_80" -h .']
    ports: ["80"]
    depends_on: {migrate: {condition: service_completed_successfully}}
    x-cube:
      check: {http: ":80/health", interval: 100ms, retries: 2, start_period: 20s}
      restart: {delay: 0s}
  migrate:
    image: busybox
    command: [sh, -c, exit 0]
    deploy: {mode: replicated-job}
  client:
    image: busybox
    command: [sh, -c, sleep 1000]
    depends_on: {web: {condition: service_healthy}}
"""


def test_what_depends_waits_and_the_unhealthy_is_restarted(tmp_path, capsys, monkeypatch) -> None:
    (tmp_path / "chain.yaml").write_text(JOB)
    with cluster_of(tmp_path / "state", workers=1) as cluster:
        monkeypatch.setenv("CUBE_STATE_DIR", str(cluster.state.path))
        cube = command(capsys)
        done = cube("run", "-f", tmp_path / "chain.yaml", "--wait")
        assert done.code == 0, done.err
        told = cube("events", "-o", "json").json
        order = [(e["kind"], e["task"]) for e in told]
        migrated = order.index(("task.completed", "chain/migrate/1"))
        assert migrated < order.index(("task.placed", "chain/web/1"))
        assert order.index(("task.running", "chain/web/1")) < order.index(
            ("task.placed", "chain/client/1")
        )
        with Client(cluster.url, cluster.token) as client:

            def web() -> dict[str, Any]:
                (task,) = [t for t in client.tasks("chain") if t["service"] == "web"]
                return task

            assert web()["healthy"] is True
            (found,) = [s for s in client.services("chain") if s["service"] == "web"]
            (address,) = found["addresses"]
            assert (address["host"], address["healthy"]) == ("127.0.0.1", True)
            socket.create_connection((address["host"], address["port"]), 10).close()
            told = cube("services", "chain").out
            assert f"127.0.0.1:{address['port']}  80/tcp  chain/web/1  node-1  healthy" in told
            (file,) = (tmp_path / "state").rglob("health")
            file.unlink()
            until(client, lambda: web()["restart"] == 1)
        why = "its health check failed: GET :80/health: answered 404"
        (text,) = [
            e["text"] for e in cube("events", "-o", "json").json if "restarting" in e["kind"]
        ]
        assert text == f"chain/web/1 ended on node-1 ({why}), starts again in 0 s"
