"""Which dependencies are reached from another machine, and what is said of the others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from cube.cli.files import is_spread, validate
from cube.compose import read_job

ROOT = Path(__file__).parents[2]
ENVIRON = {"DB_PASSWORD": "x", "TZ": "UTC"}
SHOP = """\
name: shop
services:
  web:
    image: x
    depends_on: [db]
  db: {image: y}
"""


def unreachable(text: str) -> list[str]:
    reading = read_job("-", {}, stdin=text)
    return [str(problem).removeprefix("<stdin>:") for problem in reading.unreachable]


def test_it_is_told_where_and_what_to_do() -> None:
    assert unreachable(SHOP) == [
        "5:18: `web` depends on `db`, and cannot reach it from another machine. Write `x-cube:"
        " {together: true}` at the top level, or publish a port of `db` under its own number; for"
        " the order alone, `x-cube: {order_only: true}` in the long form of the dependency."
    ]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("name: shop\n", "name: shop\nx-cube: {together: true}\n"),
        ("{image: y}", "{image: y, ports: ['5432:5432']}"),
        ("{image: y}", "{image: y, ports: ['80', '8000-8003:8000-8003']}"),
        ("[db]", "{db: {x-cube: {order_only: true}}}"),
        ("{image: y}", "{image: y, deploy: {mode: global}}"),
        (
            "[db]\n  db: {image: y}",
            "{db: {condition: service_completed_successfully}}\n"
            "  db: {image: y, deploy: {mode: replicated-job}}",
        ),
        (
            "[db]\n  db: {image: y}",
            "[db]\n    deploy: &host-1 {placement: {constraints: [node.hostname == host-1]}}\n"
            "  db: {image: y, deploy: *host-1}",
        ),
    ],
)
def test_what_is_reached(old: str, new: str) -> None:
    assert old in SHOP
    assert unreachable(SHOP.replace(old, new)) == []


@pytest.mark.parametrize(
    "db",
    [
        "{image: y, ports: ['5432']}",
        "{image: y, ports: ['5433:5432']}",
        "{image: y, ports: ['127.0.0.1:5432:5432']}",
        "{image: y, ports: ['[::1]:5432:5432']}",
        "{image: y, deploy: {mode: global, placement: {constraints: [node.labels.disk == ssd]}}}",
        "{image: y, deploy: {placement: {constraints: [node.hostname == host-1]}}}",
        "{image: y, healthcheck: {test: ls}, expose: [5432]}",
    ],
)
def test_what_is_not_reached(db: str) -> None:
    (problem,) = unreachable(SHOP.replace("{image: y}", db))
    assert problem.startswith("5:18: `web` depends on `db`, and cannot reach it")
    assert ("as in '5432:5432'" in problem) is ("ports" in db)


def test_the_same_label_is_not_the_same_machine() -> None:
    rule = "deploy: {placement: {constraints: [node.labels.disk == ssd]}}"
    text = SHOP.replace("[db]", f"[db]\n    {rule}").replace("image: y", f"image: y, {rule}")
    assert len(unreachable(text)) == 1


def test_real_files() -> None:
    """Files that were written for one machine, or for a network over several."""
    found = {
        path.name: [problem.line for problem in read_job(path, ENVIRON).unreachable]
        for path in sorted((ROOT / "tests" / "compose").glob("*.y*ml"))
    }
    assert {name: lines for name, lines in found.items() if lines} == {
        "blog.compose.yaml": [23],
        "cloud.compose.yaml": [13, 13],
        "monitoring.compose.yaml": [57],
        "search.compose.yaml": [37],
        "voting.stack.yaml": [34, 48, 59, 59],
    }
    for path in (ROOT / "examples").glob("*.yaml"):
        assert read_job(path, ENVIRON).unreachable == ()


def test_validate_refuses_it_unless_there_is_one_machine(tmp_path: Path) -> None:
    file = tmp_path / "shop.compose.yaml"
    file.write_text(SHOP)
    done = CliRunner().invoke(validate, [str(file), "-o", "json"])
    assert done.exit_code == 1
    told = json.loads(done.stdout)
    assert (told["valid"], [p["line"] for p in told["problems"]]) == (False, [5])
    assert CliRunner().invoke(validate, [str(file), "--one-machine"]).exit_code == 0


def test_nodes_of_one_machine_reach_one_another() -> None:
    def nodes(*of: tuple[str, str]) -> list:
        return [{"host": host, "address": address} for host, address in of]

    assert not is_spread(nodes())
    assert not is_spread(nodes(("", ""), ("", "")))  # simulated ones in the manager's process
    assert not is_spread(nodes(("host-1", ""), ("host-1", "10.0.0.1:7462")))
    assert is_spread(nodes(("host-1", ""), ("host-2", "")))
    assert is_spread(nodes(("", "10.0.0.1:7462"), ("", "10.0.0.2:7462")))
