"""The first process of a machine: sets up what only it sees, then reaps; dies with all others.

Run by `machine` in new namespaces, without site packages: DIRECTORY NAME BOOT_ID. Says `ready`.
"""

import os
import signal
import socket
import subprocess
import sys


def mount(source: str, target: str) -> None:
    """Show `source` at `target`, on this machine only."""
    subprocess.run(["mount", "--bind", source, target], check=True)


def prepare(directory: str, name: str, boot_id: str) -> None:
    """A host name, an empty /run, the box's names of machines, and a boot of its own."""
    socket.sethostname(name)
    mount(f"{directory}/run", "/run")
    mount(f"{directory}/../hosts", "/etc/hosts")
    with open("/run/boot_id", "w") as file:
        file.write(f"{boot_id}\n")
    mount("/run/boot_id", "/proc/sys/kernel/random/boot_id")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def reap() -> None:
    """Take note of every process that ended and that nobody else waits for, for ever."""
    while True:
        signal.sigwait({signal.SIGCHLD})
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            pass


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    prepare(*sys.argv[1:4])
    print("ready", flush=True)
    reap()
