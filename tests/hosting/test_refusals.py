"""Who is not let in between machines, at which door, and what they are told."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography import x509

from cube import __version__
from cube.cli.tree import cube
from cube.client import ApiProblem, Client
from cube.codec import dumps
from cube.hosting.failures import ClusterError
from cube.hosting.manager import ManagerHost
from cube.hosting.worker import WorkerHost
from cube.messages import Assign, Generation, Phase, Report
from cube.remote.line import Line, Place, Refused, Unreachable
from cube.trust import Authority, Identity, JoinToken
from cube.trust.certificates import DAY, key_print
from cube.trust.contexts import first_contact, manager_to_node, node_to_manager, to_manager
from tests.hosting.hosts import alive, client_of, manager_at, worker_at
from tests.waiting import wait


class Site:
    """A manager and two workers."""

    def __init__(self, path: Path, manager: ManagerHost, client: Client) -> None:
        self.path, self.manager, self.client = path, manager, client
        self.workers = {name: worker_at(path / name, manager, name) for name in ("one", "two")}

    @property
    def machines(self) -> Place:
        return Place("127.0.0.1", self.manager.ports[1])

    def identity(self, node: str) -> Identity:
        found = Identity.read(self.workers[node].directory.identity_path)
        assert found is not None
        return found

    def line(self, node: str, secret: str = "") -> Line:
        """To the manager, with that node's certificate."""
        identity = self.identity(node)
        path = self.workers[node].directory.identity_path
        context = node_to_manager(path, identity.authority)
        return Line(self.machines, context, None, secret or identity.secret)

    def to_worker(self, node: str, certificate: Path) -> Line:
        context = manager_to_node(certificate, self.identity(node).authority)
        place = Place.parse(self.workers[node].address)
        assert place is not None
        return Line(place, context)


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Iterator[Site]:
    path = tmp_path_factory.mktemp("site")
    with manager_at(path / "manager") as manager, client_of(manager) as client:
        made = Site(path, manager, client)
        for worker in made.workers.values():
            worker.start()
        wait(client, lambda: alive(client) == {"one", "two"})
        yield made
        for worker in made.workers.values():
            worker.stop()


def report(node: str, cluster: str) -> str:
    return dumps(Report(node, cluster, 1, 1, 0.0, False, None, ()))


def refused(status: int, line: Line, method: str, path: str, body: str | None = None) -> str:
    with pytest.raises(Refused) as caught:
        line.call(method, path, body)
    line.close()
    assert caught.value.status == status
    return str(caught.value)


# --- at the manager ------------------------------------------------------------------------


def test_stranger_is_stopped_by_tls(site) -> None:
    """Without a certificate, or with one of another authority of the same name."""
    authority = site.identity("one").authority
    other = Authority(site.path / "other.pem", site.manager.cluster, 0.0)
    other.manager(site.path / "stranger.pem", ["127.0.0.1"], DAY)
    strangers = [to_manager(authority), node_to_manager(site.path / "stranger.pem", authority)]
    for context in strangers:
        line = Line(site.machines, context, None, site.identity("one").secret)
        with pytest.raises(Unreachable):
            line.call("POST", "/v1/nodes/one/reports", report("one", site.manager.cluster))


def test_node_speaks_for_itself_only(site) -> None:
    body = report("one", site.manager.cluster)
    path = "/v1/nodes/one/reports"
    for line in (site.line("two"), site.line("two", site.identity("one").secret)):
        assert "not the node one" in refused(403, line, "POST", path, body)
    assert "not the node one" in refused(403, site.line("one", "guess"), "POST", path, body)
    assert "not joined" in refused(401, site.line("one"), "POST", "/v1/nodes/three/reports", body)
    with_manager = node_to_manager(site.manager.state.manager_path, site.identity("one").authority)
    line = Line(site.machines, with_manager, None, site.identity("one").secret)
    assert "not the node one" in refused(403, line, "POST", path, body)


def test_node_reports_of_itself_only(site) -> None:
    path = "/v1/nodes/one/reports"
    for body in (
        report("two", site.manager.cluster),
        dumps(Generation("c", 1, 1)),
        dumps(Phase.RUNNING),
        "{}",
        '{"$": "Report"}',
        "[" * 100_000,
        "no JSON",
        report("one", site.manager.cluster).replace('"seq":', '"seq":-'),
    ):
        assert "no report" in refused(422, site.line("one"), "POST", path, body)


def test_node_gets_a_certificate_for_its_own_name_only(site) -> None:
    path = "/v1/nodes/two/certificate"
    assert "not the node two" in refused(403, site.line("one"), "POST", path, "request")
    refused(422, site.line("two"), "POST", path, "request")


def test_join_token_is_no_users_token(site) -> None:
    for token in (site.manager.first_join, JoinToken.parse(site.manager.first_join).secret):
        with Client(site.manager.url, token, site.client.authority) as client:
            with pytest.raises(ApiProblem) as caught:
                client.cluster()
            assert caught.value.status == 401


def test_another_version_is_refused(site) -> None:
    major, minor = (int(part) for part in __version__.split(".")[:2])
    context = node_to_manager(
        site.workers["one"].directory.identity_path, site.identity("one").authority
    )

    def status(version: str | None) -> int:
        connection = http.client.HTTPSConnection(
            "127.0.0.1", site.manager.ports[1], context=context
        )
        secret = site.identity("one").secret
        headers = {"Authorization": f"Bearer {secret}"}
        if version is not None:
            headers["Cube-Version"] = version
        body = report("one", site.manager.cluster)
        connection.request("POST", "/v1/nodes/one/reports", body, headers)
        response = connection.getresponse()
        assert response.headers["Cube-Version"] == __version__
        text = response.read()
        connection.close()
        assert response.status == 204 or "minor version" in str(text) or "tell" in str(text)
        return response.status

    assert status(f"{major}.{minor}.99") == status(f"{major}.{minor + 1}.0") == 204
    assert status(f"{major}.{minor + 2}.0") == status(f"{major + 1}.{minor}.0") == 426
    assert status(None) == status("new") == 426


# --- at the worker -------------------------------------------------------------------------


def test_worker_obeys_its_manager_only(site) -> None:
    path = site.workers["two"].directory.identity_path
    assign = dumps(Assign(Generation("c", 1, 1), "one", 0.0, (0, 0), 1.0, 10.0, 20.0, ()))
    for method, route in (
        ("PUT", "/v1/assignment"),
        ("GET", "/v1/tasks"),
        ("GET", "/v1/statistics"),
        ("GET", "/metrics"),
        ("GET", "/v1/tasks/shop/web/1@1/logs"),
        ("POST", "/v1/tasks/shop/web/1@1/exec"),
        ("POST", "/v1/exec/1/input"),
    ):
        line = site.to_worker("one", path)
        assert "Only the manager" in refused(403, line, method, route, assign)
    for body in (assign.replace('"one"', '"two"'), "{}", "no JSON"):
        line = site.to_worker("one", site.manager.state.manager_path)
        assert "no assignment" in refused(422, line, "PUT", "/v1/assignment", body)


def test_worker_shows_itself_to_machines_of_the_cluster_only(site) -> None:
    place = Place.parse(site.workers["one"].address)
    assert place is not None
    with pytest.raises(Unreachable):
        Line(place, first_contact()).call("GET", "/v1/health")


def test_manager_believes_no_other_worker(site) -> None:
    """At the address of one answers two: its certificate tells."""
    workers = site.manager.backend.engines
    workers.heard("one", site.workers["two"].address)
    with pytest.raises(Refused, match="node/two, not"):
        workers.line("one").call("GET", "/v1/health")
    workers.heard("one", site.workers["one"].address)


# --- joining -------------------------------------------------------------------------------


def fails(worker: WorkerHost, exit_code: int, *words: str) -> None:
    with pytest.raises(ClusterError) as caught:
        worker.start()
    assert caught.value.exit_code == exit_code
    for word in words:
        assert word in str(caught.value)
    assert "\n" in str(caught.value)  # there is a remedy


def test_what_does_not_join(site, tmp_path) -> None:
    manager = site.manager
    token = JoinToken.parse(manager.first_join)
    unknown = JoinToken.make(token.fingerprint).text()
    other = JoinToken.make(bytes(32)).text()
    over = site.client.create_token("over", "join", 0.000001)["token"]

    def worker(name: str = "three", **place) -> WorkerHost:
        return worker_at(tmp_path / "three", manager, name, **place)

    fails(worker(token=unknown), 7, "not one of this manager's", "--join")
    fails(worker(token=over), 7, "expired", "--join")
    fails(worker(token=other), 7, "not the manager that made this token")
    fails(worker(token=manager.first_join[:-3]), 7, "not a whole join token")
    fails(worker("one"), 6, "Another machine is the node one", "cube node rm")
    fails(worker("No Name"), 2, "No Name", "--name")
    fails(worker(token=""), 2, "--token")
    fails(worker(join="https://127.0.0.1:9"), 8, "127.0.0.1:9")
    fails(worker(join="http://127.0.0.1:9"), 2, "https://")
    assert {node["name"] for node in site.client.nodes()} == {"one", "two"}


def test_doctor_finds_beforehand_what_keeps_a_machine_out(site, tmp_path) -> None:
    manager = site.manager
    token = JoinToken.parse(manager.first_join)
    unknown = JoinToken.make(token.fingerprint).text()
    other = JoinToken.make(bytes(32)).text()

    def found(*words: str, path: Path = tmp_path / "none") -> tuple[str, str]:
        every = ["doctor", "-o", "json", "--state-dir", tmp_path, "--worker-dir", path, *words]
        done = CliRunner().invoke(cube, [str(word) for word in every], standalone_mode=False)
        (check,) = [c for c in json.loads(done.stdout) if c["check"] == "node"]
        assert (check["outcome"] == "ok") == (not check["remedy"])
        assert done.return_value == 1 or check["outcome"] != "fail"
        return check["outcome"], check["text"]

    here = ("--join", manager.url)
    assert found() == ("ok", "this machine is no node; --join and --token ask whether it may")
    good = found(*here, "--token", manager.first_join, "--name", "three")
    assert good == ("ok", "would be let in")
    for words, text in (
        ((*here, "--token", unknown, "--name", "three"), "not one of this manager's"),
        ((*here, "--token", other, "--name", "three"), "not the manager that made this token"),
        ((*here, "--token", manager.first_join, "--name", "one"), "Another machine is the node"),
        (("--join", "https://127.0.0.1:9", "--token", unknown), "127.0.0.1:9"),
        (here, "no node"),
    ):
        outcome, said = found(*words)
        assert outcome == "fail"
        assert text in said
    own = site.workers["one"].directory.path
    assert found(path=own) == ("ok", "is one, and the manager knows it")
    assert found(*here, "--token", manager.first_join, "--name", "one", path=own)[0] == "ok"
    assert not (tmp_path / "none").exists()
    assert {node["name"] for node in site.client.nodes()} == {"one", "two"}


def test_node_that_was_removed_is_refused_and_may_join_anew(tmp_path) -> None:
    with manager_at(tmp_path / "manager") as manager, client_of(manager) as client:
        with worker_at(tmp_path / "one", manager, "one"):
            wait(client, lambda: alive(client) == {"one"})
        made = Identity.read(tmp_path / "one" / "node.pem")
        wait(client, lambda: alive(client) == set())
        client.remove_node("one")
        context = node_to_manager(tmp_path / "one" / "node.pem", made.authority)
        line = Line(Place("127.0.0.1", manager.ports[1]), context, None, made.secret)
        body = report("one", manager.cluster)
        assert "was removed" in refused(401, line, "POST", "/v1/nodes/one/reports", body)
        with worker_at(tmp_path / "one", manager, "one"):
            wait(client, lambda: alive(client) == {"one"})
        again = Identity.read(tmp_path / "one" / "node.pem")
        assert key_print(again.certificate) == key_print(made.certificate)
        assert again.secret != made.secret


def test_secrets_are_nowhere_but_with_their_owners(tmp_path, caplog) -> None:
    """Neither in the manager's store and recording, nor in what either says."""
    record = tmp_path / "record"
    manager = manager_at(tmp_path / "manager", record=record)
    with caplog.at_level("DEBUG"), manager, client_of(manager) as client:
        worker = worker_at(tmp_path / "one", manager, "one")
        with worker:
            wait(client, lambda: alive(client) == {"one"})
            events = str(client.events())
        token = JoinToken.parse(manager.first_join)
        secrets = [
            token.secret,
            manager.first_join,
            Identity.read(worker.directory.identity_path).secret,
        ]
        shown = [repr(worker.place), repr(token), events, caplog.text]
    files = [path for path in (tmp_path / "manager").rglob("*") if path.is_file()]
    kept = [path.read_bytes() for path in (record, *files)]
    assert any(b"was let into the cluster" in content for content in kept)
    for secret in secrets:
        assert len(secret) >= 32
        assert not any(secret in text for text in shown)
        assert not any(secret.encode() in content for content in kept)


def test_certificate_is_renewed_and_shown(site) -> None:
    worker = site.workers["two"]
    before = site.identity("two").certificate
    worker.renew(0.0)
    assert site.identity("two").certificate == before
    worker.renew(before.not_valid_after_utc.timestamp() - 20 * DAY)
    after = site.identity("two").certificate
    assert after.serial_number != before.serial_number
    place = Place.parse(worker.address)
    line = Line(
        place, manager_to_node(site.manager.state.manager_path, site.identity("two").authority)
    )
    line.call("GET", "/v1/health")
    shown = x509.load_der_x509_certificate(line.socket.getpeercert(binary_form=True))
    line.close()
    assert shown == after


def test_manager_renews_its_own_certificate(site) -> None:
    kept = Identity.read(site.manager.state.manager_path)
    site.manager.renew(0.0)
    assert Identity.read(site.manager.state.manager_path).certificate == kept.certificate
    site.manager.renew(kept.certificate.not_valid_after_utc.timestamp() - 20 * DAY)
    fresh = Identity.read(site.manager.state.manager_path)
    assert fresh.certificate.not_valid_after_utc > kept.certificate.not_valid_after_utc
    assert fresh.authority == kept.authority
