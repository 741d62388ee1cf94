"""Tokens over HTTP: made, listed, expired, taken back; a read-only one changes nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx2
import pytest
from click.testing import CliRunner

from cube.client import Client
from cube.cluster import Cluster, ClusterOptions
from cube.snapshot import read
from tests.api.asking import fails


@pytest.fixture
def reader(cluster, client) -> Iterator[Client]:
    """Somebody who may only look."""
    secret = client.create_token("reader", "read")["token"]
    with Client(cluster.url, secret) as made:
        yield made
    client.remove_token("reader")


def test_token_lets_in_until_it_is_taken_back(cluster, client) -> None:
    made = client.create_token("ann")
    assert (made["status"], made["text"]) == ("created", "the token ann was made (full)")
    with Client(cluster.url, made["token"]) as ann:
        assert ann.cluster()["cluster"] == cluster.id
        ann.create_token("by-ann")
        assert [t["name"] for t in ann.tokens()] == ["ann", "by-ann"]
        client.remove_token("by-ann")
        assert client.remove_token("ann")["status"] == "ok"
        error = fails(401, 7, ann.cluster)
    assert "missing or wrong" in str(error)
    assert client.tokens() == []
    fails(404, 5, lambda: client.remove_token("ann"))


def test_name_of_a_token_is_given_once(client, reader) -> None:
    error = fails(409, 6, lambda: client.create_token("reader"))
    assert "cube token rm" in error.remedy
    fails(422, 1, lambda: client.create_token("No Name"))
    fails(422, 1, lambda: client.create_token("ann", "all"))
    error = fails(409, 6, lambda: client.create_token("ann", "join"))
    assert "cube manager" in error.remedy
    assert [t["scope"] for t in client.tokens()] == ["read"]


def test_token_that_has_expired_says_so(cluster, client) -> None:
    secret = client.create_token("short", seconds=1e-6)["token"]
    with Client(cluster.url, secret) as short:
        error = fails(401, 7, short.cluster)
    assert str(error) == "The token short has expired."
    client.remove_token("short")


def test_reader_sees_what_there_is(client, reader) -> None:
    assert reader.cluster()["cluster"] == client.cluster()["cluster"]
    assert len(reader.nodes()) == 3
    assert read(json.dumps(reader.snapshot())).snapshot.cluster == client.cluster()["cluster"]
    (token,) = reader.tokens()
    assert set(token) == {"name", "scope", "created", "expires"}


def test_nobody_gets_in_by_a_digest_or_another_scheme(cluster, client) -> None:
    secret = client.create_token("ann")["token"]
    (kept,) = cluster.backend.access().tokens
    with httpx2.Client(base_url=cluster.url) as http:
        for given in (f"Bearer {kept.digest}", f"Basic {secret}", secret, f"Bearer {secret}x", ""):
            response = http.get("/v1/cluster", headers={"Authorization": given})
            assert response.status_code == 401, given
        assert "www-authenticate" in response.headers
    client.remove_token("ann")


def test_tokens_outlive_their_manager_and_are_nowhere_in_the_state(tmp_path) -> None:
    options = ClusterOptions(tmp_path, workers=1, engine="simulated", record=tmp_path / "record")
    with Cluster(options) as cluster, Client(cluster.url, cluster.token) as client:
        secret = client.create_token("ann")["token"]
        assert "ann" in [e["text"].split()[2] for e in client.events() if "token" in e["kind"]]
    with Cluster(options) as cluster, Client(cluster.url, secret) as ann:
        assert ann.cluster()
    kept = b"".join(p.read_bytes() for p in tmp_path.iterdir() if p.is_file())
    assert b"the token ann was made" in kept
    assert secret.encode() not in kept


def test_command_makes_lists_and_takes_back(cluster, client) -> None:
    from cube.cli.tree import cube

    environment = {"CUBE_ADDR": cluster.url, "CUBE_TOKEN": cluster.token}

    def run(*words: str, token: str = cluster.token):
        return CliRunner().invoke(cube, words, env={**environment, "CUBE_TOKEN": token})

    made = run("token", "create", "bob", "--read-only", "--expires", "8h")
    assert made.exit_code == 0
    secret = made.stdout.strip()
    assert "it is not shown again" in made.stderr
    listed = run("token", "ls").stdout.splitlines()
    assert [line.split()[:2] for line in listed] == [["NAME", "MAY"], ["bob", "read"]]
    assert secret not in run("token", "ls", "-o", "json").stdout
    refused = run("token", "rm", "bob", token=secret)
    assert refused.exit_code == 7
    assert "may only look" in refused.stderr
    assert "CUBE_TOKEN must hold" not in refused.stderr  # it holds a token, of the other kind
    assert "bob" in run("token", "rm", "bob").stdout
    assert client.tokens() == []
