"""What the README and the package promise: links lead somewhere, the demo's file ships."""

from __future__ import annotations

import re
import shlex
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


def test_the_demo_runs_the_example():
    assert EXAMPLE.resolve() == ROOT / "examples" / "shop.compose.yaml"
