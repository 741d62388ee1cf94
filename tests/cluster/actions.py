"""What each step of chaos is, done to a cluster in a box.

Every action returns a note if there is something to tell. None of them waits until the cluster has
coped, apart from an operator's procedures after the store was harmed.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

from tests.cluster.control import WORKER, Control
from tests.cluster.jobs import SHOP, SIDE_JOBS
from tests.cluster.plan import Step
from tests.cluster.users import Users

BACKUP = "backup.tar.gz"


class Actions:
    """Does steps, and knows which nodes cannot have kept their containers running."""

    def __init__(self, control: Control, users: Users) -> None:
        self._control = control
        self._users = users
        self._box = control.box
        self.dark: dict[str, list[tuple[float, float]]] = {}  # of nodes: without worker or engine
        self._dark_since: dict[str, float] = {}
        self.restarted: set[str] = set()  # nodes whose engine ended; for others to forget
        self._of: dict[str, Callable[[str], str | None]] = {
            "cut": self._box.cut,
            "mend": self._box.mend,
            "power-off": self._power_off,
            "power-on": self._power_on,
            "kill-worker": self._kill_worker,
            "start-worker": self._start_worker,
            "stop-engine": lambda node: self._end_engine(node, signal.SIGTERM),
            "kill-engine": lambda node: self._end_engine(node, signal.SIGKILL),
            "start-engine": self._start_engine,
            "drain": lambda node: users.drain(node, on=True),
            "enable": lambda node: users.drain(node, on=False),
            "kill-manager": lambda _: control.kill_manager(),
            "start-manager": lambda _: control.start_manager(),
            "fill-disk": self._fill_disk,
            "free-disk": self._free_disk,
            "backup": self._back_up,
            "delete-store": self._delete_store,
            "restore-store": self._restore_store,
            "submit": lambda job: users.want(SIDE_JOBS[job]),
            "stop": users.stop,
            "restart": lambda service: users.restart(f"{SHOP.name}/{service}"),
        }

    def do(self, step: Step) -> str:
        """Do it."""
        if step.what == "scale":
            return self._users.scale(SHOP.name, step.on, step.instances)
        return self._of[step.what](step.on) or ""

    # --- nodes ---

    def _power_off(self, node: str) -> None:
        self._darken(node)
        self._box.power_off(node)
        self._control.watch.lost_power(node)
        self.restarted.add(node)

    def _power_on(self, node: str) -> None:
        self._box.power_on(node)
        self._start_worker(node)

    def _kill_worker(self, node: str) -> None:
        self._darken(node)
        self._control.kill_worker(node)

    def _start_worker(self, node: str) -> None:
        self._box.nodes[node].start(WORKER, "cube", "worker")  # its manager may be away
        self._lighten(node)

    def _end_engine(self, node: str, number: signal.Signals) -> None:
        self._darken(node)
        self.restarted.add(node)
        self._box.engines[node].end(number)

    def _start_engine(self, node: str) -> None:
        self._box.engines[node].start()
        self._lighten(node)

    def _darken(self, node: str) -> None:
        self._dark_since[node] = time.time()

    def _lighten(self, node: str) -> None:
        times = self._dark_since.pop(node), time.time()
        self.dark.setdefault(node, []).append(times)

    # --- the manager and its state ---

    def _fill_disk(self, _: str) -> None:
        fill = f"dd if=/dev/zero of={self._control.state_dir}/fill bs=4k; true"
        self._box.manager.run("sh", "-c", fill)

    def _free_disk(self, _: str) -> None:
        self._box.manager.run("rm", f"{self._control.state_dir}/fill")

    @property
    def _backup(self) -> str:
        return str(self._box.manager.home / BACKUP)

    def _back_up(self, _: str) -> None:
        self._box.manager.run("rm", "--force", self._backup)
        self._box.manager.run("cube", "store", "backup", self._backup)

    def _delete_store(self, _: str) -> str:
        control = self._control
        self._be_calm()
        control.kill_manager()
        self._box.manager.run("sh", "-c", f"rm {control.state_dir}/store.sqlite*")
        control.start_manager()
        join = control.join_options()
        for node in self._box.nodes:  # the store knew their credentials
            self._darken(node)
            control.kill_worker(node)
        control.start_workers(*self._box.nodes, join=join)
        for node in self._box.nodes:
            self._lighten(node)
        return self._users.recover()

    def _restore_store(self, _: str) -> str:
        control, state = self._control, self._control.state_dir
        self._be_calm()
        control.kill_manager()
        self._box.manager.run("cube", "store", "restore", self._backup)
        self._box.manager.run("sh", "-c", f"rm -r {state}/before-restore-*")
        for node in self._box.nodes:  # what moved since may run twice until it is decided on
            self._darken(node)
        control.start_manager()
        note = self._users.recover()
        for node in self._box.nodes:
            self._lighten(node)
        return note

    def _be_calm(self) -> None:
        """As an operator waits for all machines before such a procedure."""
        control = self._control
        control.watch.until(lambda: control.alive() == set(self._box.nodes))
        control.watch.until(self._users.insist)
