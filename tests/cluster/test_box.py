"""The box is what the other tests believe in: machines that are apart, and that leave nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.cluster.box import Box
from tests.cluster.machine import ROOT, kill

OWNER = """
from tests.cluster.box import own_box
with own_box(nodes=1) as box:
    print(box.number, flush=True)
    input()
"""


def reaches(box: Box, one: str, other: str, tries: int = 1) -> bool:
    ping = ("busybox", "ping", "-c", str(tries), "-W", "1", other)
    return box.machines[one].run(*ping, check=False).returncode == 0


def test_machines_are_apart_and_meet_only_on_the_network(box):
    seen = {
        (m.run("hostname").stdout, m.run("cat", "/proc/sys/kernel/random/boot_id").stdout)
        for m in box.machines.values()
    }
    assert len(seen) == len(box.machines)
    one, two = box.nodes["node-1"], box.nodes["node-2"]
    sleeper = ("docker", "run", "--detach", "--rm", "--name", "sleeper", "busybox", "sleep", "1000")
    one.run(*sleeper)
    two.run(*sleeper)  # the same name on another engine
    one.run("docker", "rm", "--force", "sleeper")
    assert two.run("docker", "ps", "--quiet").stdout != ""
    assert one.run("docker", "ps", "--quiet").stdout == ""
    two.run("docker", "rm", "--force", "sleeper")


def test_a_cut_cable_cuts_one_machine_off(box):
    box.cut("node-2")
    assert not reaches(box, "node-1", "node-2")
    assert reaches(box, "node-1", "manager")
    box.mend("node-2")
    assert reaches(box, "node-1", "node-2", tries=5)  # who is where has to be asked anew first


def test_without_power_nothing_runs_and_the_disk_stays(box):
    machine = box.nodes["node-3"]
    machine.run("docker", "run", "--detach", "--name", "sleeper", "busybox", "sleep", "1000")
    machine.start("daemon", "sleep", "1000")
    assert machine.daemon("daemon") is not None
    box.power_off("node-3")
    box.power_on("node-3")
    assert machine.daemon("daemon") is None
    named = ("--filter", "name=sleeper")
    states = machine.run("docker", "ps", "--all", *named, "--format", "{{.State}}").stdout
    assert states == "exited\n"
    machine.run("docker", "rm", "sleeper")


def test_what_a_killed_owner_left_goes_with_the_next_start(box, tmp_path):
    checkout = tmp_path / "another-checkout"
    checkout.symlink_to(ROOT)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    elsewhere = {**environment, "PYTHONPATH": str(checkout)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": tmp_path}
    with subprocess.Popen([sys.executable, "-c", OWNER], env=elsewhere, **pipes) as owner:
        left = Box(int(owner.stdout.readline()), nodes=1)
        owner.kill()
    assert left.number != box.number
    assert left.is_up
    with subprocess.Popen([sys.executable, "-c", OWNER], env=environment, **pipes) as owner:
        assert int(owner.stdout.readline()) == left.number
        owner.stdin.close()
    assert not left.is_up
    assert not left.directory.exists()
    assert not Path(f"/sys/class/net/cube-box{left.number}").exists()
    assert box.is_up


def test_a_daemon_is_known_by_its_name_and_ends_by_a_signal(box):
    machine = box.manager
    machine.start("daemon", "sh", "-c", "echo here; exec sleep 1000")
    pid = machine.daemon("daemon")
    assert pid is not None
    machine.signal("daemon", signal.SIGKILL)
    assert machine.daemon("daemon") is None
    assert machine.log_path("daemon").read_text() == "here\n"
    kill(pid, signal.SIGKILL)  # is gone: no harm
