"""The command itself: what it loads, how it ends, and that its documentation is current."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import IO

import click
import pytest

from cube import __version__
from cube.cli import main
from cube.cli.exits import MEANING, ExitCode, Failure
from cube.cli.reference import EXITS, leaves, reference
from cube.cli.tree import cube

ROOT = Path(__file__).parents[2]
HEAVY = {"docker", "numpy", "pykka", "fastapi", "pydantic", "rich", "httpx2", "yaml", "simpy"}


def python(code: str, *args: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *args],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        check=False,
    )


@pytest.mark.parametrize("args", [["--help"], ["run", "--help"], ["dev", "--help"], ["version"]])
def test_start_up_loads_nothing_heavy(args):
    code = (
        "import sys, json; from cube.cli import main\n"
        "code = main(sys.argv[1:])\n"
        "print(json.dumps([code, sorted({name.partition('.')[0] for name in sys.modules})]))"
    )
    done = python(code, *args)
    assert done.returncode == 0, done.stderr
    exit_code, loaded = json.loads(done.stdout.splitlines()[-1])
    assert exit_code == 0
    assert not HEAVY & set(loaded)


def test_every_command_is_in_a_section_and_says_what_it_does():
    listed = [name for names in cube.sections.values() for name in names]
    assert sorted(listed) == sorted(cube.commands)
    assert len(set(listed)) == len(listed)
    for name, command in [*leaves(cube, "cube"), *cube.commands.items()]:
        summary = command.get_short_help_str(200)
        assert len(summary) > 10, name
        assert "..." not in command.get_short_help_str(70), f"{name}: first sentence is too long"


def test_the_reference_is_current():
    written = (ROOT / "docs" / "cli.md").read_text()
    assert written == reference(), "run: python -m cube.cli.reference > docs/cli.md"


def test_every_command_says_how_it_exits():
    assert sorted(f"cube {name}" for name in EXITS) == sorted(n for n, _ in leaves(cube, "cube"))


def test_every_exit_code_has_a_meaning():
    assert list(MEANING) == list(ExitCode)
    assert all(f"| {int(code)} |" in reference() for code in ExitCode)


def test_every_command_that_prints_data_offers_json():
    hosting = {"dev", "demo"}
    for kind in ("manager", "worker"):
        hosting |= {kind, f"{kind} install", f"{kind} uninstall"}
    without = {*hosting, "exec", "schema", "completion", "snapshot"}  # or print nothing else
    for name, command in leaves(cube, "cube"):
        has = any("--output" in parameter.opts for parameter in command.params)
        assert has == (name.removeprefix("cube ") not in without), name


@pytest.mark.parametrize("args", [["version"], ["--version"]])
def test_version(args, capsys):
    assert main(args) == 0
    assert capsys.readouterr().out.startswith(f"cube {__version__}")


def test_version_as_json(capsys):
    assert main(["version", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["cube"] == __version__


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_a_script_of_that_shell(shell, capsys):
    assert main(["completion", shell]) == 0
    assert f"_CUBE_COMPLETE={shell}_complete" in capsys.readouterr().out


def test_completion_of_commands():
    words = {"COMP_WORDS": "cube st", "COMP_CWORD": "1", "_CUBE_COMPLETE": "bash_complete"}
    done = python("from cube.cli import main; main([])", **words)
    assert sorted(done.stdout.split()) == ["plain,status", "plain,stop", "plain,store"]


def test_completion_of_targets_is_silent_without_a_manager(tmp_path):
    words = {"COMP_WORDS": "cube stop ", "COMP_CWORD": "2", "_CUBE_COMPLETE": "bash_complete"}
    code = "from cube.cli import main; main([])"
    done = python(code, **words, CUBE_STATE_DIR=str(tmp_path))
    assert (done.stdout.strip(), done.stderr) == ("", "")


def test_schema_is_json(capsys):
    assert main(["schema"]) == 0
    assert "services" in json.loads(capsys.readouterr().out)["properties"]


# --- how it ends --------------------------------------------------------------------------


@pytest.fixture
def failing(monkeypatch):
    """A command that raises what it is given."""

    def install(error: BaseException) -> None:
        @click.command()
        def broken() -> None:
            raise error

        monkeypatch.setitem(cube.commands, "broken", broken)

    return install


def test_a_failure_says_what_where_and_what_to_do(failing, capsys):
    failing(Failure("it broke", where="here", remedy="mend it", code=ExitCode.CONFLICT))
    assert main(["broken"]) == 6
    seen = capsys.readouterr()
    assert seen.out == ""
    assert seen.err == "error: it broke\n  where: here\n  to do: mend it\n"


def test_an_unexpected_error_is_one_line_and_a_remedy(failing, capsys, monkeypatch):
    monkeypatch.delenv("CUBE_DEBUG", raising=False)
    failing(KeyError("some\nthing"))
    assert main(["broken"]) == 1
    error = capsys.readouterr().err
    assert error.splitlines()[0].startswith("error: unexpected KeyError")
    assert "CUBE_DEBUG=1" in error
    assert "Traceback" not in error


def test_debug_shows_the_trace(failing, monkeypatch):
    monkeypatch.setenv("CUBE_DEBUG", "1")
    failing(KeyError("thing"))
    with pytest.raises(KeyError):
        main(["broken"])


def test_ctrl_c_is_130(failing):
    failing(KeyboardInterrupt())
    assert main(["broken"]) == 130


@pytest.mark.parametrize("args", [["stat"], ["run", "--replica", "2"], ["nodes", "extra"]])
def test_usage_errors_are_2(args, capsys):
    assert main(args) == 2
    assert "Usage: cube" in capsys.readouterr().err


def test_a_typo_gets_a_suggestion(capsys):
    assert main(["stats"]) == 2
    assert "status" in capsys.readouterr().err


def test_no_arguments_show_the_help(capsys):
    assert main([]) in (0, 2)
    shown = capsys.readouterr()
    assert "Run jobs:" in shown.out + shown.err


@pytest.mark.parametrize("command", ["schema", "validate"])
def test_a_closed_pipe_is_silent(command):
    file = ROOT / "examples" / "shop.compose.yaml"
    args = ["-o", "json", str(file)] if command == "validate" else []
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as nobody:
        done = cube_into(nobody, command, *args)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_full_disk_behind_stdout_is_told():
    with Path("/dev/full").open("wb") as full:
        done = cube_into(full, "schema")
    assert done.returncode == 1
    assert done.stderr.startswith("error: the disk is full: the output is not whole\n  to do: free")
    assert "Exception" not in done.stderr


def cube_into(output: IO[bytes], *args: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own, with stdout going there."""
    command = [sys.executable, "-m", "cube", *args]
    return subprocess.run(command, stdout=output, stderr=subprocess.PIPE, text=True, check=False)
