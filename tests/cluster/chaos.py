"""Chaos: one thing after the other befalls a cluster in a box; in the end all must be as wanted.

Owns the loop, the log and the judgement. Every claim is checked against the engines: `docker ps`,
and their own record of starts and ends. The log is one JSON object a line: what the run is, each
step with what was seen after it, the result.
"""

from __future__ import annotations

import json
import re
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests
from docker.errors import DockerException

from cube.client import ClientError
from tests.cluster.actions import Actions
from tests.cluster.box import MANAGER, Box
from tests.cluster.control import WORKER, Control, controlled
from tests.cluster.foreign import Foreign
from tests.cluster.jobs import SHOP, SIDE_JOBS
from tests.cluster.machine import MachineError
from tests.cluster.overlaps import Overlap, overlaps
from tests.cluster.plan import UNDOES, Plan, Step
from tests.cluster.users import Users

SETTLE_SECONDS = 120.0
CALM_SECONDS = 5.0  # for so long nothing must change in the end
NO_ENGINE = "no Docker engine answers"
TRACEBACK = re.compile(r"(?:.*\n)?Traceback .*\n(?:[ \t].*\n)*.*")
Tell = Callable[[dict[str, Any]], None]


class Log:
    """Keeps lines in a file, as they come, and tells them to whoever looks on."""

    def __init__(self, path: Path, tell: Tell) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._file = path.open("w")
        self._tell = tell
        self._begun = time.monotonic()

    @property
    def elapsed(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self._begun

    def add(self, **line: Any) -> None:
        """Add a line."""
        line = {"at": round(self.elapsed, 1), **line}
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
        self._tell(line)

    def keep(self, control: Control) -> None:
        """Keep beside it, in a directory of its name, what daemons wrote and the manager tells."""
        directory = self._path.with_suffix("")
        for name, machine in control.box.machines.items():
            (directory / name).mkdir(parents=True, exist_ok=True)
            for path in machine.directory.glob("*.log"):
                shutil.copy(path, directory / name)
        with control.client() as client:
            events = [json.dumps(event) for event in client.events()]
        (directory / "events.jsonl").write_text("\n".join(events))

    def close(self) -> None:
        """Add no more."""
        self._file.close()


class Chaos:
    """One run on a cluster that was just started."""

    def __init__(self, control: Control, foreign: Foreign, seed: int, log: Log) -> None:
        self._control = control
        self._foreign = foreign
        self._log = log
        self._users = Users(control)
        self._actions = Actions(control, self._users)
        self._plan = Plan(seed, list(control.box.nodes))
        self._hurt: dict[str, str] = {}  # machine: by what, as far as we went
        self._done: Counter[str] = Counter()
        self.found: list[str] = []  # what must not be

    def run(self, seconds: float) -> dict[str, Any]:
        """Do steps for so long, heal everything, and judge; the result, as in the log."""
        begun = self._log.elapsed
        for step in self._plan:
            threading.Event().wait(step.pause_seconds)
            if self._log.elapsed - begun >= seconds:
                break
            self._do(step)
        self._heal()
        steps = self._done.total() - self._done["unit-starts-worker"]
        result = {"seconds": round(self._log.elapsed - begun, 1), "steps": steps}
        result |= {"done": dict(self._done)}
        result |= self._judge()
        self._log.add(result=result)
        if self.found:
            self._log.keep(self._control)
        return result

    def _do(self, step: Step) -> None:
        begun = self._log.elapsed
        try:
            note = self._actions.do(step)
        except (MachineError, AssertionError, ClientError) as error:
            note = f"failed: {error}"
            self._find(f"{step.what} {step.on}: {error}")
        self._done[step.what] += 1
        if step.what in UNDOES:
            self._hurt[step.on] = step.what
        elif step.what in UNDOES.values():
            del self._hurt[step.on]
        if MANAGER not in self._hurt:
            self._users.insist()
        took = round(self._log.elapsed - begun, 1)
        line = {"did": step.what, "on": step.on, "took": took, "note": note}
        self._log.add(**{k: v for k, v in line.items() if v != ""}, **self._look())

    def _find(self, *troubles: str) -> None:
        """Take note of each once: what is wrong often stays so."""
        self.found += [trouble for trouble in troubles if trouble not in self.found]

    def _heal(self) -> None:
        for machine, what in list(self._hurt.items()):
            self._do(Step(UNDOES[what], machine))
        try:
            self._control.watch.until(self._users.insist)
        except AssertionError:
            self._find(f"never taken in: {', '.join(self._users.owed)}")

    # --- looking ---

    def _look(self) -> dict[str, Any]:
        """What runs on each node (None: its engine does not answer), and what is not as it was."""
        running: dict[str, int | None] = {}
        tasks: Counter[str] = Counter()
        for node, engine in self._control.box.engines.items():
            try:
                there = engine.containers() if engine.answers() else None
                if there is not None:
                    self._look_at_foreign(node)
            except (DockerException, requests.RequestException) as error:
                self._find(f"the engine of {node} is disturbed: {error}")
                there = None
            running[node] = None if there is None else len(there)
            tasks.update(c.task for c in there or ())
        self._look_at_daemons()
        wanted = Counter(self._control.expected())
        missing, more = wanted - tasks, tasks - wanted
        return {"running": running, "missing": missing.total(), "more": sorted(more)}

    def _look_at_foreign(self, node: str) -> None:
        restarted = node in self._actions.restarted
        if trouble := self._foreign.touched(node, restarted=restarted):
            self._find(trouble)
        self._actions.restarted.discard(node)

    def _look_at_daemons(self) -> None:
        """Nothing ends by itself, but a worker that came up while its engine was away.

        That one is started again, as its unit would do.
        """
        for name, machine in self._control.box.machines.items():
            daemon = MANAGER if name == MANAGER else WORKER
            if name in self._hurt or machine.daemon(daemon) is not None:
                continue
            if daemon == WORKER:
                machine.start(WORKER, "cube", "worker")
                self._done["unit-starts-worker"] += 1
            if NO_ENGINE not in machine.log_path(daemon).read_text()[-1000:]:
                self._find(f"the {daemon} on {name} has ended by itself")

    # --- judging ---

    def _judge(self) -> dict[str, Any]:
        control, begun = self._control, self._log.elapsed
        try:
            control.settle(SETTLE_SECONDS)
            settled = round(self._log.elapsed - begun, 1)
            control.watch.until(self._is_calm(), SETTLE_SECONDS)
        except AssertionError as error:
            settled = None
            self._find(str(error))
        seen = self._look()
        self._find(*self._errors())
        with control.client() as client:
            said = sorted(t["id"] for t in client.tasks() if t["state"] == "running")
            unknown = client.recovery()["unknown"]
        self._find(*(f"unknown to the manager: {u['task']} on {u['node']}" for u in unknown))
        if said != control.expected():
            self._find("the manager says otherwise than the engines")
        twice = self._guards()
        return {
            "settled_after": settled,
            "wanted": len(control.expected()),
            **seen,
            "containers_started": len(control.watch.lives),
            "guards_twice_seconds": [round(x.seconds, 1) for x in twice],
            "found": self.found,
        }

    def _is_calm(self) -> Callable[[], bool]:
        """Has just what is wanted run, unchanged, for a while?"""
        last: dict[str, str] = {}
        since = time.monotonic()

        def calm() -> bool:
            nonlocal last, since
            now = self._control.ids()
            if now != last or not self._control.is_settled():
                last, since = now, time.monotonic()
            return time.monotonic() - since >= CALM_SECONDS

        return calm

    def _errors(self) -> list[str]:
        """What managers and workers wrote that nobody expected."""
        found = []
        for name, machine in self._control.box.machines.items():
            log = machine.log_path(MANAGER if name == MANAGER else WORKER).read_text()
            tracebacks = Counter(TRACEBACK.findall(log))
            found += [f"{name}, {n} times: {text.strip()}" for text, n in tracebacks.items()]
        return found

    def _guards(self) -> list[Overlap]:
        """Times at which a guard ran twice; but for a dead worker or engine it never may."""
        guards = [task for task in self._control.expected() if "/guard/" in task]
        twice = [
            found
            for guard in guards
            for found in overlaps(self._control.watch.of(guard), self._actions.dark)
        ]
        self._find(*(f"twice at one time: {x}" for x in twice if not x.excused))
        return twice


@contextmanager
def prepared(box: Box, seed: int, log: Log) -> Iterator[Chaos]:
    """All that chaos needs on a box without a cluster: it runs, settled; nothing of it stays."""
    foreign = Foreign(box)
    try:
        foreign.place()
        with controlled(box) as control:
            for job in (SHOP, *SIDE_JOBS.values()):
                control.submit(job)
            control.settle()
            log.add(seed=seed, nodes=list(box.nodes), wanted=len(control.expected()))
            yield Chaos(control, foreign, seed, log)
    finally:
        foreign.remove()


def told(line: dict[str, Any]) -> str:
    """A line of the log for people."""
    at = f"{line['at']:7.1f} s  "
    if "did" not in line:
        return at + ("all is healed and judged" if "result" in line else "all runs")
    runs = " ".join(f"{node} {'-' if n is None else n}" for node, n in line["running"].items())
    text = f"{at}{line['did']:<13} {line['on']:<8}  {runs}  missing {line['missing']}"
    text += f", too many {len(line['more'])}" if line["more"] else ""
    return text + (f"  ({line['note']})" if "note" in line else "")


def summary(result: dict[str, Any]) -> str:
    """A result for people."""
    done = ", ".join(f"{what} {n}" for what, n in sorted(result["done"].items()))
    lines = [
        f"{result['steps']} steps in {result['seconds']:.0f} s: {done}",
        f"{result['containers_started']} containers of Cube's were started",
    ]
    if result["settled_after"] is not None:
        lines.append(f"settled {result['settled_after']:.1f} s after everything was healed")
    lines += [f"FOUND: {found}" for found in result["found"]] or [
        f"exactly the {result['wanted']} instances that are wanted run, each once"
    ]
    return "\n".join(lines)
