"""The quickstart of three hosts, carried out as docs/operations.md has it.

Its commands are read from there and pasted into a shell on the machines of a new box. Taken as
given, as no registry is in reach: that Cube is installed, and that machines have the image. Two
programs stand in for others: `sudo`, as we are root, and `systemctl`, as systemd is not run there.
"""

from __future__ import annotations

import re
import textwrap
import time
from urllib.request import urlopen

import pytest

from tests.cluster.box import Box
from tests.cluster.machine import ROOT, Machine

SECONDS = 120.0  # for all of it
SECRET = r"https://\S+ --token \S+"  # what is another each time
UNITS = "/etc/systemd/system"
SUDO = """\
#!/bin/sh
exec "$@"
"""
# What systemd does with a unit, as far as it is asked here; its processes have no environment.
SYSTEMCTL = f"""\
#!/bin/sh
case "$1" in
  daemon-reload | enable) ;;
  restart)
    command=$(sed -n 's/^ExecStart=//p' {UNITS}/"$2")
    exec setsid --fork env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \\
      JOURNAL_STREAM=8:1 PYTHONPATH={ROOT} sh -c "exec $command" </dev/null >"/run/$2.log" 2>&1 ;;
  *) echo "systemctl $1 is not known here" >&2; exit 1 ;;
esac
"""


def section(title: str) -> str:
    """What operations.md says under a heading."""
    text = (ROOT / "docs/operations.md").read_text()
    return re.split(r"^#+ ", text.split(f"\n### {title}\n")[1], maxsplit=1, flags=re.MULTILINE)[0]


def blocks(text: str) -> list[str]:
    """What is there to be copied, block by block."""
    found = re.findall(r"(?:^ {4}.*\n|^\n(?= {4}))+", text, re.MULTILINE)
    return [textwrap.dedent(block).strip() for block in found]


@pytest.fixture(scope="module")
def hosts(new_box: Box) -> list[Machine]:
    """Three machines as systemd runs them, with sudo."""
    for machine in new_box.nodes.values():
        machine.run("mkdir", "-p", "/run/systemd/system", "/run/bin", UNITS)
        machine.run("mount", "-t", "tmpfs", "units", UNITS)
        for name, text in (("sudo", SUDO), ("systemctl", SYSTEMCTL)):
            program = machine.run_path / "bin" / name
            program.write_text(text)
            program.chmod(0o755)
    return list(new_box.nodes.values())


def paste(machine: Machine, block: str) -> str:
    """Into a shell; the first command that fails ends it. What it prints."""
    path = f"/run/bin:{machine.environment()['PATH']}"
    return machine.run("sh", "-ec", block, env={"PATH": path}, cwd=machine.home).stdout


def test_three_hosts_are_a_cluster_in_two_minutes_by_copy_and_paste(new_box, hosts):
    begun = time.monotonic()
    first, each, then = blocks(section("Three hosts"))
    [line] = re.findall(r"^ *(cube worker .*)$", paste(hosts[0], first), re.MULTILINE)
    assert re.sub(SECRET, "", f"sudo {line}") == re.sub(SECRET, "", each)
    for host in hosts:
        paste(host, f"sudo {line}")
    paste(hosts[0], then)
    assert time.monotonic() - begun < SECONDS

    tasks = [[c.task for c in found] for found in new_box.containers().values()]
    assert sorted(tasks) == [[f"hello/web/{i + 1}"] for i in range(3)]
    for name in new_box.nodes:
        with urlopen(f"http://{new_box.address(name)}:8080/", timeout=10) as answer:
            assert answer.read() == b"hello\n"


def test_the_readme_has_the_same_two_commands():
    readme = (ROOT / "README.md").read_text()
    for command in blocks(section("Three hosts"))[:2]:
        shown = re.escape(command.removeprefix("sudo "))
        assert re.search(rf"^    {shown}(  .*)?$", readme, re.MULTILINE)
