"""Credentials of registries on their way: from the command to the manager, and on to its nodes."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cube.cli.tree import cube
from cube.client import Client
from cube.cluster import Cluster, ClusterOptions
from cube.hosting.manager import ManagerHost
from cube.hosting.worker import WorkerHost
from cube.registries import Credential, Unavailable
from tests.api.asking import fails
from tests.hosting.hosts import client_of, manager_at, worker_at

SECRET = "swept-away-password"


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[ManagerHost]:
    with manager_at(tmp_path / "manager") as made:
        yield made


@pytest.fixture
def client(manager: ManagerHost) -> Iterator[Client]:
    with client_of(manager) as made:
        yield made


@pytest.fixture
def worker(tmp_path: Path, manager: ManagerHost) -> Iterator[WorkerHost]:
    with worker_at(tmp_path / "one", manager, "one", engine="process") as made:
        yield made


def run(manager: ManagerHost, *words: str, given: str | None = None) -> Result:
    environment = {"CUBE_STATE_DIR": str(manager.state.path)}
    environment |= dict.fromkeys(("CUBE_ADDR", "CUBE_TOKEN", "CUBE_CA"), "")
    return CliRunner().invoke(cube, ["registry", *words], input=given, env=environment)


def test_the_commands(manager: ManagerHost) -> None:
    login = ("login", "https://Registry.example:5000/v2/", "-u", "ci", "--password-stdin")
    done = run(manager, *login, given=f"{SECRET}\n")
    assert (done.exit_code, done.stdout) == (
        0, "nodes log in to registry.example:5000 as ci from their next pull on\n"
    )  # fmt: skip
    assert run(manager, "ls").stdout.splitlines()[1].split() == ["registry.example:5000", "ci"]
    assert json.loads(run(manager, "ls", "-o", "json").stdout) == [
        {"registry": "registry.example:5000", "user": "ci"}
    ]
    assert json.loads(run(manager, *login, "-o", "json", given="other").stdout)["status"] == "ok"
    done = run(manager, "logout", "registry.example:5000")
    assert (done.exit_code, done.stdout) == (
        0, "the credential for registry.example:5000 was removed\n"
    )  # fmt: skip
    done = run(manager, "logout")
    assert done.exit_code == 5
    assert "There is no credential for the registry docker.io\n" in done.stderr
    assert "cube registry ls" in done.stderr


@pytest.mark.parametrize(
    ("words", "given", "told"),
    [
        (("login", "-u", "ci"), "x", "no terminal to ask on"),
        (("login", "--password-stdin"), "x", "name the user with -u"),
        (("login", "-u", "ci", "--password-stdin"), "\n", "the password is empty"),
        (("login", "a b", "-u", "ci", "--password-stdin"), "x", "'a b' is no registry"),
        (("logout", "~"), None, "'~' is no registry"),
    ],
)
def test_what_is_typed_wrong(manager: ManagerHost, words, given, told) -> None:
    done = run(manager, *words, given=given)
    assert done.exit_code == 2
    assert told in done.stderr


def test_a_node_is_told_what_it_asks_for(manager, client, worker) -> None:
    assert worker._credential("registry.example") is None
    client.log_in("registry.example", "ci", SECRET)
    client.log_in("docker.io", "hub", "other")
    assert worker._credential("registry.example") == Credential("ci", SECRET)
    assert worker._credential("docker.io") == Credential("hub", "other")
    assert worker._credential("[::1]:5000") is None
    client.log_out("registry.example")
    assert worker._credential("registry.example") is None


def test_a_node_that_cannot_ask_knows_that_it_does_not_know(manager, client, worker) -> None:
    client.log_in("registry.example", "ci", SECRET)
    manager.state.registries_path.write_text("{")
    with pytest.raises(Unavailable, match=r"registries\.json is damaged"):
        worker._credential("registry.example")
    manager.stop()
    with pytest.raises(Unavailable, match="the manager cannot be asked"):
        worker._credential("registry.example")


def test_a_password_is_in_its_file_and_nowhere_else(tmp_path, caplog) -> None:
    options = ClusterOptions(tmp_path, workers=1, engine="simulated", record=tmp_path / "record")
    with (
        caplog.at_level(logging.DEBUG),
        Cluster(options) as cluster,
        Client(cluster.url, cluster.token) as client,
    ):
        client.log_in("registry.example", "ci", SECRET)
        refused = fails(422, 1, lambda: client.log_in("registry.example", "ci\n", SECRET))
        too_long = fails(422, 1, lambda: client.log_in("registry.example", "ci", SECRET * 1000))
        told = [client.registries(), client.snapshot(), client.events(), client.cluster()]
    assert "the credential for the registry registry.example was set" in caplog.messages
    with_it = {
        p.name for p in tmp_path.iterdir() if p.is_file() and SECRET in p.read_text("latin-1")
    }
    assert with_it == {"registries.json"}
    assert SECRET not in f"{told} {refused} {too_long} {caplog.text}"
