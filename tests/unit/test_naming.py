"""Names of services for containers on other machines: what is answered, and from which word."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cube.naming import Names, Responder, upstream
from cube.naming import names as names_module
from cube.naming.responder import MOST, answer

TABLE = {
    "shop": {
        "api": ("10.0.0.1", "10.0.0.2", "fd00::1"),
        "idle": (),
        "a.b": ("10.0.0.3",),
        "many": tuple(f"10.0.1.{i}" for i in range(100)),
    },
    "bank": {"api": ("10.0.0.9",)},
}


def known(job: str, service: str) -> tuple[str, ...] | None:
    return TABLE.get(job.lower(), {}).get(service.lower())


def nobody(job: str, service: str) -> tuple[str, ...] | None:
    raise LookupError


def ask(
    name: str, kind: str = "A", addresses: Callable[..., tuple[str, ...] | None] = known
) -> tuple[str, list[str]]:
    """What a container of `shop` is answered: the code, and the addresses in order."""
    said = answer(dns.message.make_query(name, kind).to_wire(), "shop", addresses)
    assert said is not None
    assert len(said) <= 512
    message = dns.message.from_wire(said)
    found = sorted(str(record) for rrset in message.answer for record in rrset)
    return dns.rcode.to_text(message.rcode()), found


@pytest.mark.parametrize(
    ("name", "kind", "told"),
    [
        ("api", "A", ("NOERROR", ["10.0.0.1", "10.0.0.2"])),
        ("api", "AAAA", ("NOERROR", ["fd00::1"])),
        ("API", "A", ("NOERROR", ["10.0.0.1", "10.0.0.2"])),
        ("api.bank.cube", "A", ("NOERROR", ["10.0.0.9"])),
        ("Api.Bank.Cube", "A", ("NOERROR", ["10.0.0.9"])),
        ("a.b", "A", ("NOERROR", ["10.0.0.3"])),
        ("a.b.shop.cube", "A", ("NOERROR", ["10.0.0.3"])),
        ("api", "SRV", ("NOERROR", [])),
        ("idle", "A", ("NOERROR", [])),
        ("idle.shop.cube", "A", ("NOERROR", [])),
        ("unknown", "A", ("REFUSED", [])),  # the engine asks the next server
        ("example.org", "A", ("REFUSED", [])),
        ("unknown.shop.cube", "A", ("NXDOMAIN", [])),  # nobody else may say otherwise
        ("api.unknown.cube", "A", ("NXDOMAIN", [])),
        ("shop.cube", "A", ("NXDOMAIN", [])),
        ("cube", "A", ("REFUSED", [])),
        (".", "A", ("REFUSED", [])),
    ],
)
def test_a_name_is_of_the_own_job_or_names_its_job(
    name: str, kind: str, told: tuple[str, list[str]]
) -> None:
    assert ask(name, kind) == told


def test_of_many_some_are_answered_and_not_always_the_same() -> None:
    answers = {tuple(ask("many")[1]) for _ in range(5)}
    assert {len(found) for found in answers} == {MOST}
    assert len(answers) > 1


def test_where_nothing_was_told_yet_that_is_said() -> None:
    assert ask("api.shop.cube", addresses=nobody) == ("SERVFAIL", [])
    assert ask("api", addresses=nobody) == ("SERVFAIL", [])  # the engine asks the next server


def test_what_is_no_query_is_not_answered() -> None:
    query = dns.message.make_query("api", "A")
    assert answer(b"", "shop", known) is None
    assert answer(dns.message.make_response(query).to_wire(), "shop", known) is None
    query.set_opcode(dns.opcode.STATUS)
    said = answer(query.to_wire(), "shop", known)
    assert said is not None
    assert dns.message.from_wire(said).rcode() == dns.rcode.NOTIMP
    query = dns.message.make_query("api", "A", rdclass="CH")
    assert dns.message.from_wire(answer(query.to_wire(), "shop", known)).rcode() == (
        dns.rcode.REFUSED
    )


@given(st.binary(max_size=600))
def test_no_bytes_break_it(query: bytes) -> None:
    answer(query, "shop", known)


@given(st.binary(max_size=40), st.integers(0, 40))
def test_no_damage_to_a_query_breaks_it(damage: bytes, at: int) -> None:
    query = dns.message.make_query("api.shop.cube", "A").to_wire()
    answer(query[:at] + damage + query[at + len(damage) :], "shop", known)


# --- on sockets ---


@pytest.fixture
def port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture
def responder(port: int) -> Iterator[Responder]:
    made = Responder(known, port)
    yield made
    made.close()


def over_udp(gateway: str, port: int, name: str) -> list[str]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        opened.settimeout(10)
        opened.connect((gateway, port))
        opened.send(b"nonsense")
        opened.send(dns.message.make_query(name, "A").to_wire())
        message = dns.message.from_wire(opened.recv(4096))
        return [str(record) for rrset in message.answer for record in rrset]


def test_the_gateway_tells_of_which_job_a_container_is(responder: Responder, port: int) -> None:
    assert responder.serve("127.0.0.1", "bank")
    assert responder.serve("127.0.0.2", "shop")
    assert over_udp("127.0.0.1", port, "api") == ["10.0.0.9"]
    assert over_udp("127.0.0.2", port, "a.b") == ["10.0.0.3"]
    responder.settle({"127.0.0.2": "bank", "127.0.0.3": "bank"})
    assert over_udp("127.0.0.2", port, "api") == ["10.0.0.9"]
    assert over_udp("127.0.0.3", port, "api") == ["10.0.0.9"]
    with pytest.raises(ConnectionRefusedError):
        over_udp("127.0.0.1", port, "api")


def test_two_workers_on_one_engine_may_both_answer(responder: Responder, port: int) -> None:
    other = Responder(known, port)
    try:
        assert responder.serve("127.0.0.1", "bank")
        assert other.serve("127.0.0.1", "bank")
        assert over_udp("127.0.0.1", port, "api") == ["10.0.0.9"]
    finally:
        other.close()


def test_what_cannot_be_served_is_told_once(
    responder: Responder, caplog: pytest.LogCaptureFixture
) -> None:
    assert not responder.serve("203.0.113.1", "shop")
    assert not responder.serve("203.0.113.2", "bank")
    (line,) = [r.getMessage() for r in caplog.records]
    assert "containers will not find services on other machines" in line
    assert "203.0.113.1 cannot be used" in line


# --- what the manager tells ---


class Telling:
    """A manager that may be away."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.word = {"version": "1", "names": {"Shop": {"Api": ["10.0.0.1", "127.0.0.1"]}}}
        self.away = False
        self.called = threading.Event()

    def __call__(self, version: str) -> bytes:
        self.asked.append(version)
        self.called.set()
        if self.away:
            raise OSError("nobody there")
        return b"" if version == self.word["version"] else json.dumps(self.word).encode()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(names_module.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(names_module, "RETRY_SECONDS", 0.0)
    return now


@pytest.fixture
def telling() -> Telling:
    return Telling()


@pytest.fixture
def names(telling: Telling, tmp_path: Path) -> Iterator[Names]:
    made = Names(telling, tmp_path / "names.json")
    yield made
    made.close()


def test_the_manager_is_asked_when_somebody_asks_and_not_at_every_question(
    names: Names, telling: Telling, clock: list[float]
) -> None:
    assert telling.asked == []
    assert names.addresses("shop", "api") == ("10.0.0.1",)  # no address that leads to oneself
    assert names.addresses("SHOP", "API") == ("10.0.0.1",)
    assert names.addresses("shop", "web") is None
    assert telling.asked == [""]
    clock[0] += names_module.FRESH_SECONDS
    assert names.addresses("shop", "api") == ("10.0.0.1",)
    assert telling.asked == ["", "1"]
    telling.word = {"version": "2", "names": {"shop": {"api": ["10.0.0.2"]}}}
    clock[0] += names_module.FRESH_SECONDS
    assert names.addresses("shop", "api") == ("10.0.0.2",)


def test_while_the_manager_is_away_its_last_word_holds_even_for_a_new_process(
    names: Names, telling: Telling, clock: list[float], tmp_path: Path
) -> None:
    assert names.addresses("shop", "api") == ("10.0.0.1",)
    telling.away = True
    clock[0] += names_module.FRESH_SECONDS
    assert names.addresses("shop", "api") == ("10.0.0.1",)
    again = Names(telling, tmp_path / "names.json")
    try:
        assert again.addresses("shop", "api") == ("10.0.0.1",)
    finally:
        again.close()


def test_nothing_is_known_before_it_was_told(
    names: Names, telling: Telling, clock: list[float]
) -> None:
    telling.away = True
    with pytest.raises(LookupError):
        names.addresses("shop", "api")
    telling.away = False
    telling.called.clear()
    with pytest.raises(LookupError):  # asks again, and keeps nobody waiting meanwhile
        names.addresses("shop", "api")
    assert telling.called.wait(10)


def test_nonsense_changes_nothing(
    names: Names, telling: Telling, clock: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    assert names.addresses("shop", "api") == ("10.0.0.1",)
    telling.word = {"version": "2", "names": ["nonsense"]}
    clock[0] += names_module.FRESH_SECONDS
    assert names.addresses("shop", "api") == ("10.0.0.1",)
    assert "names of services stay as they were" in caplog.text


def test_machines_known_by_name_are_looked_up(
    names: Names, telling: Telling, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    def lookup(host: str, *_: object, **__: object) -> list[tuple[object, ...]]:
        if host != "box":
            raise socket.gaierror
        return [(2, 1, 6, "", ("10.0.0.7", 0)), (10, 1, 6, "", ("fe80::1%eth0", 0, 0, 2))]

    monkeypatch.setattr(names_module.socket, "getaddrinfo", lookup)
    telling.word["names"] = {"shop": {"api": ["box", "gone"]}}
    assert names.addresses("shop", "api") == ("10.0.0.7", "fe80::1")


# --- whom else containers ask ---


def files(root: Path, **texts: str) -> Path:
    for name, text in texts.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".json" if "daemon" in name else ".conf").write_text(text)
    return root


RESOLVED = "nameserver 127.0.0.53\noptions edns0\n"


@pytest.mark.parametrize(
    ("texts", "servers"),
    [
        ({}, ("8.8.8.8", "8.8.4.4")),
        ({"etc__resolv": "# none\n\nnameserver\n"}, ("8.8.8.8", "8.8.4.4")),
        ({"etc__resolv": "search x\nnameserver 10.0.0.53 \n"}, ("10.0.0.53",)),
        (
            {"etc__resolv": "nameserver 1.1.1.1\nnameserver 2.2.2.2\nnameserver 3.3.3.3\n"},
            ("1.1.1.1", "2.2.2.2"),
        ),
        ({"etc__resolv": RESOLVED}, ("8.8.8.8", "8.8.4.4")),
        (
            {"etc__resolv": RESOLVED, "run__systemd__resolve__resolv": "nameserver 10.1.1.1\n"},
            ("10.1.1.1",),
        ),
        (
            {"etc__docker__daemon": '{"dns": ["10.9.9.9"]}', "etc__resolv": "nameserver 1.1.1.1\n"},
            ("10.9.9.9",),
        ),
        ({"etc__docker__daemon": "{broken", "etc__resolv": "nameserver 1.1.1.1\n"}, ("1.1.1.1",)),
        ({"etc__docker__daemon": "[]", "etc__resolv": "nameserver 1.1.1.1\n"}, ("1.1.1.1",)),
    ],
)
def test_containers_go_on_asking_whom_they_would_ask_without_us(
    tmp_path: Path, texts: dict[str, str], servers: tuple[str, ...]
) -> None:
    assert upstream(files(tmp_path, **texts)) == servers
