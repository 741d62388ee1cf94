"""A Docker engine of the test's own, to be stopped and started at will."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import threading
from pathlib import Path

START_SECONDS = 20.0


class PrivateEngine:
    """`dockerd` with its own directories; needs root.

    It lives in a network namespace of its own: engines that share one take away one another's
    bridges and rules.
    """

    def __init__(self) -> None:
        # Not below pytest's directory: paths of sockets must be short.
        self._root = Path(tempfile.mkdtemp(prefix="cubed-"))
        self.url = f"unix://{self._root}/docker.sock"
        self.start()

    def start(self) -> None:
        """Start and wait until it answers.

        Raises:
            RuntimeError: it does not come up.
        """
        # An orphan that nobody reaps would look to the engine like a living containerd.
        (self._root / "exec-root/containerd/containerd.pid").unlink(missing_ok=True)
        options = [
            f"--{name}={self._root}/{name}" for name in ("data-root", "exec-root", "pidfile")
        ]
        self._process = subprocess.Popen(
            ["unshare", "--net", "dockerd", "-H", self.url, "--bridge=none", *options],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        watchdog = threading.Timer(START_SECONDS, self._process.kill)
        watchdog.start()
        assert self._process.stderr is not None
        said = []
        for line in self._process.stderr:
            said.append(line)
            if "API listen on" in line:
                break
        watchdog.cancel()
        watchdog.join()
        if self._process.poll() is not None:
            self._process.stderr.close()
            raise RuntimeError("".join(said[-3:]))
        self._reader = threading.Thread(target=self._process.stderr.read)  # lest it blocks
        self._reader.start()

    def end(self, how: signal.Signals) -> None:
        """Send a signal and wait until it is gone."""
        self._process.send_signal(how)
        self._process.wait()
        self._reader.join()
        assert self._process.stderr is not None
        self._process.stderr.close()

    def close(self) -> None:
        """Stop it and remove its directories."""
        if self._process.poll() is None:
            self.end(signal.SIGTERM)
        with contextlib.suppress(OSError):
            subprocess.run(["umount", str(self._root / "data-root")], capture_output=True)
        shutil.rmtree(self._root, ignore_errors=True)


def why_not() -> str:
    """Why there can be no such engine here; "" if there can."""
    if os.getuid() != 0:
        return "only root can start a Docker engine"
    for program in ("dockerd", "unshare"):
        if shutil.which(program) is None:
            return f"{program} is not installed here"
    return ""
