"""Secrets go through all that Cube does, and come out nowhere but where they must be kept."""

from __future__ import annotations

import json
import logging
import stat
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from click.testing import CliRunner

from cube.cli.tree import cube
from cube.codec import encode
from cube.spec import JobSpec, TaskSpec
from cube.trust import Identity, JoinToken
from cube.trust.identity import key_pem
from tests.security.site import NODE, Site, site
from tests.waiting import wait

VALUES = {
    "DB_PASSWORD": "sweep-one-password",
    "API_TOKEN": "sweep-two-token",
    "AWS_SECRET_ACCESS_KEY": "sweep-three-key",
    "DATABASE_URL": "postgres://user:sweep-four-in-a-url@db/shop",
}
WRONG = "sweep-five-of-a-stranger"
REGISTRY = "sweep-six-of-a-registry"
FILE = """\
services:
  web:
    image: busybox
    command: sleep 1000
    environment: {environment}
  broken:
    image: busybox
    command: /no/such/program
    environment: {environment}
  big:
    image: busybox
    command: sleep 1000
    environment: {environment}
    deploy: {{resources: {{reservations: {{memory: 900G}}}}}}
"""


@dataclass
class Sweep:
    """All that was said, and what must not be in it."""

    here: Site
    caplog: pytest.LogCaptureFixture
    path: Path
    said: list[tuple[str, str]] = field(default_factory=list)
    secrets: set[str] = field(default_factory=set)

    def run(self, *words: str | Path, given: str = "", **environment: str) -> str:
        """A command of a user, whatever becomes of it."""
        every = {"CUBE_STATE_DIR": str(self.here.manager.state.path), **environment}
        told = [str(word) for word in words]
        done = CliRunner().invoke(cube, told, input=given, env=every, standalone_mode=False)
        error = "" if done.exception is None else repr(done.exception)
        self.hear(" ".join(told), done.stdout + done.stderr + error)
        return done.stdout

    def hear(self, where: str, text: str) -> None:
        self.said.append((where, text))

    def found(self) -> list[tuple[str, str]]:
        """Where a secret was said."""
        said = [*self.said, *(("log", r.getMessage()) for r in self.caplog.records)]
        said.append(("log", self.caplog.text))
        return sorted({(where, s) for where, text in said for s in self.secrets if s in text})


def test_secrets_are_said_nowhere(tmp_path, caplog) -> None:
    with (
        caplog.at_level(logging.DEBUG),
        site(tmp_path, record=tmp_path / "record") as here,
    ):
        sweep = Sweep(here, caplog, tmp_path)
        sweep.secrets |= {VALUES[n] for n in list(VALUES)[:3]} | {
            "sweep-four-in-a-url",
            WRONG,
            REGISTRY,
        }
        sweep.secrets |= credentials(here)
        tokens(sweep)
        registries(sweep)
        a_job_s_life(sweep)
        mistakes(sweep)
        looks(sweep)
        sweep.run("store", "backup", tmp_path / "backup.tar.gz")
        sweep.run("store", "check")
        lines = process_arguments()
        sweep.hear("arguments of processes", lines)
    assert "shim.py" in lines
    assert len(sweep.said) > 60
    assert sweep.found() == []
    told = "\n".join(text for _, text in sweep.said)
    assert "********" in told  # environments were shown
    assert "/no/such/program" in told
    kept_where_they_must_be(sweep)


def credentials(here: Site) -> set[str]:
    """Of the machines, and of whoever may read the state directory."""
    kept = Identity.read(here.manager.state.manager_path)
    assert kept is not None
    authority = here.manager.state.authority_path.read_text()
    keys = [key_pem(here.identity.key), key_pem(kept.key), authority]
    lines = {key.split("-----\n")[1].split("\n")[0] for key in keys}
    assert all(len(line) == 64 for line in lines)
    first = here.manager.first_join
    return {here.manager.token, here.identity.secret, first, JoinToken.parse(first).secret, *lines}


def tokens(sweep: Sweep) -> None:
    """Told once, to whoever has them made."""
    for name, *options in (("ann",), ("bob", "--read-only"), ("rack", "--join")):
        made = CliRunner().invoke(
            cube, ["token", "create", name, *options],
            env={"CUBE_STATE_DIR": str(sweep.here.manager.state.path)}, standalone_mode=False,
        )  # fmt: skip
        sweep.secrets.add(made.stdout.strip())
    sweep.run("token", "ls")
    sweep.run("token", "ls", "-o", "json")
    sweep.run("token", "rm", "ann")
    sweep.run("doctor", "--join", sweep.here.manager.url, "--token", sweep.here.manager.first_join)
    sweep.run("nodes", CUBE_ADDR=sweep.here.manager.url, CUBE_TOKEN=WRONG,
              CUBE_CA=str(sweep.here.manager.state.certificate_path))  # fmt: skip


def registries(sweep: Sweep) -> None:
    """Told to nodes alone."""
    login = ("registry", "login", "registry.example", "-u", "ci", "--password-stdin")
    sweep.run(*login, given=f"{REGISTRY}\n")
    sweep.run(*login, "-o", "json", given=REGISTRY)
    sweep.run("registry", "ls")
    sweep.run("registry", "ls", "-o", "json")
    users = sweep.here.doors["users"]
    for body in ({"user": "ci\n", "password": REGISTRY}, {"user": "ci", "password": [REGISTRY]},
                 {"user": "ci", "password": REGISTRY * 1000}, REGISTRY):  # fmt: skip
        answer = users.ask("PUT", "/v1/registries/registry.example", json.dumps(body).encode())
        assert answer.status == 422, answer
        sweep.hear("answer to a login", answer.body.decode())


def a_job_s_life(sweep: Sweep) -> None:
    client, file = sweep.here.client, sweep.path / "web.yaml"
    file.write_text(FILE.format(environment=json.dumps(VALUES)))
    for command in (["validate"], ["plan", "-f"], ["plan", "--policy", "epvm,random", "-f"]):
        sweep.run(*command, file)
    sweep.run("run", "-f", file)
    wait(client, lambda: client.task("web/web/1")["state"] == "running")
    wait(client, lambda: bool(client.task("web/broken/1")["reason"]))
    changed = {name: f"{value}-changed" for name, value in VALUES.items()}
    file.write_text(FILE.format(environment=json.dumps(changed)))
    sweep.run("plan", "-f", file)
    sweep.run("run", "-f", file)


def mistakes(sweep: Sweep) -> None:
    """What users do wrong with a secret in it."""
    users, worker = sweep.here.doors["users"], sweep.here.doors["worker"]
    secret = VALUES["DB_PASSWORD"]
    good = encode(JobSpec("bad", (TaskSpec("web", "image"),)))
    for wrong in (
        [["DB_PASSWORD", [secret]]], [["DB_PASSWORD", {secret: secret}]], [secret], secret,
        [["", secret]], [[secret]], [["DB_PASSWORD", f"{secret}\x00"]], [[["A"], secret]],
    ):  # fmt: skip
        job = {**good, "services": [{**good["services"][0], "environment": wrong}]}
        body = json.dumps({"request": "r", "job": job}).encode()
        answer = users.ask("POST", "/v1/jobs", body)
        assert answer.status == 422, answer
        sweep.hear(f"answer to {wrong}", answer.body.decode())
        assign = {"$": "Assign", "node": NODE, "tasks": [{"spec": job["services"][0]}]}
        answer = worker.ask("PUT", "/v1/assignment", json.dumps(assign).encode())
        assert answer.status == 422, answer
        sweep.hear(f"worker's answer to {wrong}", answer.body.decode())
    for path in ("/v1/join", "/v1/tokens", "/v1/stop", "/v1/jobs/web/scale"):
        for body in ({"secret": secret, "seconds": secret, "counts": secret, "target": [secret]},
                     {"request": secret * 9, "name": secret + "!"}, [secret], secret):  # fmt: skip
            answer = users.ask("POST", path, json.dumps(body).encode())
            assert answer.status == 422, answer
            sweep.hear(f"answer of {path}", answer.body.decode())
    for door in sweep.here.doors.values():
        answer = door.ask("GET", "/v1/nowhere", bearer=WRONG)
        sweep.hear("answer to a stranger", answer.body.decode())
    for text in (
        "services: {web: {environment: [DB_PASSWORD}",
        "services: {web: {image: 7, command: true}}",
        "services: {web: {environment: {DB_PASSWORD: [%s]}}}",
        "services: {web: {image: a, environment: [[DB_PASSWORD, %s]]}}",
        "services: {web: {image: a, environment: %s}}",
        "services: {web: {image: a, environment: ['DB_PASSWORD: %s']}}",
        "services: {web: {image: a, environment: ['=%s', '%s=%s']}}",
    ):
        file = sweep.path / "bad.yaml"
        file.write_text(text.replace("%s", secret))
        sweep.run("validate", file)
        sweep.run("run", "-f", file)


def looks(sweep: Sweep) -> None:
    """Everything that shows something, by command and by route."""
    for words in (
        "status", "status web", "status web/web/1", "status -o json", "nodes", "nodes -o json",
        "events", "events -o json", "events --job web", "explain web/big/1", "explain web/web/1",
        "explain --now web/big/1", "explain web/web/1 -o json", "services", "recover", "doctor",
        "top nodes", "top tasks", "snapshot", "logs web/web/1", "logs web/broken/1",
    ):  # fmt: skip
        sweep.run(*words.split())
    names = {"job": "web", "name": "web", "service": "web"}
    for app in ("users", "worker"):
        door = sweep.here.doors[app]
        for way in sweep.here.ways(app):
            if way.method == "GET":
                answer = door.ask("GET", way.at(**names))
                sweep.hear(f"{app}: {way.path}", answer.body.decode())


def process_arguments() -> str:
    """Those of all processes, which everybody on a machine may read."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:  # it has ended
            continue
    return "\n".join(lines)


def kept_where_they_must_be(sweep: Sweep) -> None:
    """Files that hold one are for their owner only, and are the known ones."""
    holding = set()
    for path in sweep.path.rglob("*"):
        if path.is_file() and path.suffix != ".yaml":
            content = path.read_bytes()
            if any(secret.encode() in content for secret in sweep.secrets):
                holding.add(path.name)
                assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert holding <= {
        "record", "store.sqlite", "store.sqlite-wal", "token", "ca.pem", "manager.pem", "node.pem",
        "registries.json",
    }  # fmt: skip
    assert holding >= {
        "record", "store.sqlite", "token", "ca.pem", "manager.pem", "node.pem", "registries.json"
    }  # fmt: skip
    assert stat.S_IMODE((sweep.path / "backup.tar.gz").stat().st_mode) == 0o600
