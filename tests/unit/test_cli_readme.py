"""What the README and the package promise: links lead somewhere, the demo's file ships."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

import click
import pytest

from cube.cli.demo import EXAMPLE
from cube.cli.tree import cube

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([^)]+)\)", README))))
def test_links_lead_somewhere(target):
    assert (ROOT / target).exists()


@pytest.mark.parametrize("line", re.findall(r"^    \.venv/bin/(cube .*)$", README, re.MULTILINE))
def test_the_commands_parse(line):
    said, _, _ = line.partition(" > ")  # into a file
    _, name, *arguments = shlex.split(said, comments=True)
    context = cube.commands[name].make_context(name, arguments)
    assert isinstance(context, click.Context)


def test_installing_asks_for_a_python_that_will_do():
    """uv gives up, and fetches none, where the system's is too old and nobody said which."""
    operations = (ROOT / "docs/operations.md").read_text()
    [asked] = re.findall(r"uv tool install --python (3\.\d+) \./cube_orchestrator-", operations)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    least = project["requires-python"].removeprefix(">=")
    assert [int(n) for n in asked.split(".")] >= [int(n) for n in least.split(".")]


def test_the_demo_runs_the_example():
    assert EXAMPLE.resolve() == ROOT / "examples" / "shop.compose.yaml"
