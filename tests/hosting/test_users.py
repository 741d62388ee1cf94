"""Users on another machine: whom their commands trust, and what they say of others."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from cube.cli.exits import Failure
from cube.cli.tree import cube
from cube.hosting.manager import ManagerHost
from cube.trust import Authority
from cube.trust.certificates import fingerprint
from tests.hosting.hosts import manager_at


@pytest.fixture(scope="module")
def manager(tmp_path_factory) -> Iterator[ManagerHost]:
    with manager_at(tmp_path_factory.mktemp("users") / "manager") as made:
        yield made


def run(state: Path, *words: str, **environment: str):
    every = {"CUBE_STATE_DIR": str(state), **environment}
    for name in ("CUBE_ADDR", "CUBE_TOKEN", "CUBE_CA"):
        every.setdefault(name, "")
    return CliRunner().invoke(cube, words, env=every, standalone_mode=False)


def settings(manager: ManagerHost, name: str, *options: str) -> dict[str, str]:
    """What `cube token create` tells the user to set."""
    done = run(manager.state.path, "token", "create", name, *options)
    assert done.exception is None
    told = dict(re.findall(r"export (\w+)=(\S+)", done.stderr))
    return {**told, "CUBE_TOKEN": done.stdout.strip()}


def test_what_a_new_token_says_is_all_that_its_user_needs(manager, tmp_path) -> None:
    ann = settings(manager, "ann")
    assert ann.keys() == {"CUBE_ADDR", "CUBE_CA", "CUBE_TOKEN"}
    assert ann["CUBE_CA"].startswith("sha256:")
    done = run(tmp_path, "token", "ls", "-o", "json", **ann)
    assert "ann" in {token["name"] for token in json.loads(done.stdout)}
    by_file = {**ann, "CUBE_CA": str(manager.state.certificate_path)}
    assert run(tmp_path, "nodes", **by_file).exception is None
    without_scheme = {**ann, "CUBE_ADDR": ann["CUBE_ADDR"].removeprefix("https://")}
    assert run(tmp_path, "nodes", **without_scheme).exception is None


def test_whoever_is_not_trusted_hears_no_token(manager, tmp_path) -> None:
    bob = settings(manager, "bob")
    other = Authority(tmp_path / "other.pem", "c0ffee", 0.0)
    (tmp_path / "other.crt").write_text(other.pem)
    of_other = f"sha256:{fingerprint(other.certificate).hex()}"

    def refused(code: int, text: str, **changed: str) -> None:
        done = run(tmp_path, "nodes", **{**bob, **changed})
        assert isinstance(done.exception, Failure)
        assert done.exception.exit_code == code
        assert text in done.exception.message
        assert done.exception.remedy
        assert bob["CUBE_TOKEN"] not in f"{done.exception.message} {done.exception.remedy}"

    refused(7, "not the manager that CUBE_CA names", CUBE_CA=of_other)
    refused(7, "not the manager that CUBE_CA names", CUBE_CA="sha256:abc")
    refused(7, "not the manager that is trusted", CUBE_CA=str(tmp_path / "other.crt"))
    refused(7, "which manager to trust", CUBE_CA="")
    refused(7, "which manager to trust", CUBE_CA=str(tmp_path / "none"))
    refused(7, "token", CUBE_TOKEN="guess")
    refused(8, "127.0.0.1:9", CUBE_ADDR="https://127.0.0.1:9")
    port = manager.ports[0]
    refused(8, "broke", CUBE_ADDR=f"http://127.0.0.1:{port}", CUBE_CA="")


def test_read_only_token_changes_nothing(manager, tmp_path) -> None:
    board = settings(manager, "board", "--read-only")
    assert run(tmp_path, "nodes", **board).exception is None
    done = run(tmp_path, "token", "create", "mine", **board)
    assert isinstance(done.exception, Failure)
    assert done.exception.exit_code == 7
    assert "may only look" in done.exception.message


def test_join_token_comes_with_what_to_run(manager) -> None:
    done = run(manager.state.path, "token", "create", "rack", "--join")
    assert done.stdout.startswith("cube1-")
    assert f"cube worker --join {manager.url}" in done.stderr
