"""The users of a simulated cluster: what they ask for, and what they were told.

A user repeats a request under the same id until it is answered, as the client does. What was
answered is remembered: the checkers hold the manager to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from random import Random
from typing import Any

from cube.messages import MANAGER, Drain, Remove, Reply, Restart, Rollback, Stop, Submit
from cube.spec import (
    JobSpec,
    Kind,
    Mount,
    Port,
    ReschedulePolicy,
    RestartPolicy,
    Spread,
    TaskSpec,
)
from cube.task import TaskName
from sim.faults.scenario import Sort, Work
from sim.faults.world import FaultyWorld

REPEAT_SECONDS = 2.0
TOGETHER = "cube.sim.together"  # a label: the job of such a service is kept together


@dataclass(slots=True)
class Told:
    """What a user was told of a job last."""

    spec: JobSpec | None  # None: removed
    stopped: bool = False


class User:
    """Everybody who talks to the manager."""

    def __init__(self, world: FaultyWorld, work: Work, seed: int) -> None:
        self.told: dict[str, Told] = {}
        self.asked: dict[str, JobSpec] = {}  # the latest submitted, answered or not
        self._world = world
        self._work = work
        self._open: dict[str, tuple[str, Callable[[Reply], None], Any]] = {}  # by request
        self._drains: dict[str, bool] = {}
        self._versions: dict[tuple[str, int], JobSpec] = {}  # what was accepted as which
        self.drains: dict[str, bool] = {}  # what was told of each node last
        self.busy: set[str] = set()  # jobs with a request that is not answered
        self._count = 0
        self._draw = Random(f"{seed} users")
        self._sorts: dict[Sort, Callable[[Random], TaskSpec]] = {
            "plain": self._plain,
            "batch": self._batch,
            "failing": self._failing,
            "fenced": self._fenced,
            "flapping": self._flapping,
            "pinned": self._pinned,
            "ported": self._ported,
            "pulling": self._pulling,
            "global": self._global,
            "slow": self._slow,
            "together": self._together,
        }
        world.on_reply("edge/user", self._answered)

    # --- what they do ---

    def begin(self, seconds: float) -> None:
        """Submit the first jobs, spread over so many seconds."""
        for number in range(self._work.jobs):
            draw = Random(self._draw.random())
            at = seconds * number / self._work.jobs
            self._world.call_at(at, partial(self._begin, draw))

    def _begin(self, draw: Random) -> None:
        self.submit(draw)

    def submit(self, draw: Random) -> None:
        """Submit a job: a new one, or a new version of an old one."""
        self._submit(draw)

    def _submit(self, draw: Random) -> str:
        """Submit a job, and tell which."""
        name = f"job-{draw.randrange(self._work.jobs)}"
        if self.asked.get(name) is None:
            name = f"job-{len(self.asked) % self._work.jobs}"
        spec = self._some_spec(draw)
        self.submit_job(JobSpec(name, (spec,), together=TOGETHER in dict(spec.labels)))
        return name

    def submit_and_stop(self, draw: Random) -> None:
        """Submit a job, and change one's mind while it is starting."""
        name = self._submit(draw)
        later = self._world.now() + draw.uniform(0.01, 4.0)
        self._world.call_at(later, lambda: self.stop_job(name))

    def scale(self, draw: Random) -> None:
        """Change how many instances a job has."""
        spec = self._some_job(draw)
        if spec is None:
            return
        (task,) = spec.services
        if not task.pinning_mounts and not task.kind.is_global:
            count = draw.randint(0, self._work.instances)
            self.submit_job(replace(spec, services=(replace(task, instances=count),)))

    def repeat(self, draw: Random) -> None:
        """Submit the same once more; sometimes, run finished batch tasks again."""
        spec = self._some_job(draw)
        if spec is not None:
            self.submit_job(spec, again=draw.random() < 0.5)

    def restart(self, draw: Random) -> None:
        """Restart a job."""
        spec = self._some_job(draw)
        if spec is not None:
            name = spec.name
            self.ask(name, lambda request: Restart(request, name, "edge/user"), lambda reply: None)

    def roll_back(self, draw: Random) -> None:
        """Make a job what it was before."""
        spec = self._some_job(draw)
        if spec is not None:
            name = spec.name
            self.ask(name, lambda r: Rollback(r, name, "edge/user"), self._rolled_back)

    def _rolled_back(self, reply: Reply) -> None:
        name = self._open[reply.request][0]
        if reply.status in ("created", "changed", "unchanged"):
            # A version that was accepted before the store was lost is nobody's to hold it to.
            spec = self._versions.get((name, reply.body["as"]))
            self.told.pop(name, None)
            if spec is not None:
                self._accepted(spec, reply)

    def _accepted(self, spec: JobSpec, reply: Reply) -> None:
        self.told[spec.name] = Told(spec)
        self._versions[spec.name, reply.body["version"]] = spec

    def stop(self, draw: Random) -> None:
        """Stop a job."""
        spec = self._some_job(draw)
        if spec is not None:
            self.stop_job(spec.name)

    def stop_job(self, name: str) -> None:
        """Stop this very job."""
        self.ask(name, lambda request: Stop(request, name, "edge/user"), self._stopped)

    def remove(self, draw: Random) -> None:
        """Stop a job and forget it."""
        spec = self._some_job(draw)
        if spec is not None:
            name = spec.name
            self.ask(name, lambda r: Remove(r, name, "edge/user", force=True), self._removed)

    def drain(self, node: str, *, on: bool, within: float | None = None) -> None:
        """Drain a node, or enable it again; the latest word on a node is the one that is sent."""
        self._drains[node] = on
        self.ask(f"node {node}", lambda r: Drain(r, node, "edge/user", on, within), self._drained)

    def _drained(self, reply: Reply) -> None:
        asked = self._open[reply.request][2]
        if reply.status in ("ok", "unchanged"):
            self.drains[asked.node] = asked.on
        on = self._drains[asked.node]
        if on is not asked.on:  # somebody changed their mind meanwhile
            self._world.call_at(self._world.now(), lambda: self.drain(asked.node, on=on))

    def forget(self) -> None:
        """The store is not what it was: what users were told before holds no longer."""
        self.told.clear()
        self._versions.clear()
        self.drains.clear()

    def allow(self, uids: Iterable[str]) -> None:
        """An operator adopts containers of jobs that may have been removed: they may come back."""
        for uid in uids:
            told = self.told.get(TaskName.parse(uid).job)
            if told is not None and told.spec is None:
                del self.told[TaskName.parse(uid).job]

    @property
    def waiting(self) -> int:
        """Requests that are not answered."""
        return len(self._open)

    # --- asking ---

    def submit_job(self, spec: JobSpec, *, again: bool = False) -> None:
        """Submit this very job."""

        def told(reply: Reply) -> None:
            if reply.status in ("created", "changed", "unchanged"):
                self._accepted(spec, reply)

        if self.ask(spec.name, lambda r: Submit(r, spec, "edge/user", again), told):
            self.asked[spec.name] = spec

    def _stopped(self, reply: Reply) -> None:
        name = self._open[reply.request][0]
        if reply.status in ("ok", "unchanged") and name in self.told:
            self.told[name].stopped = True

    def _removed(self, reply: Reply) -> None:
        name = self._open[reply.request][0]
        if reply.status in ("ok", "not-found"):
            self.told[name] = Told(None)

    def ask(self, job: str, make: Callable[[str], Any], told: Callable[[Reply], None]) -> bool:
        """Ask until there is an answer.

        One request per job at a time: nobody could say which of two came first.
        """
        if job in self.busy:
            return False
        self._count += 1
        request = f"request-{self._count}"
        self.busy.add(job)
        self._open[request] = (job, told, make(request))
        self._send(request)
        return True

    def _send(self, request: str) -> None:
        if request in self._open:
            self._world.send(MANAGER, self._open[request][2])
            self._world.call_at(self._world.now() + REPEAT_SECONDS, lambda: self._send(request))

    def _answered(self, reply: Reply) -> None:
        if reply.request not in self._open or reply.status == "unavailable":
            return  # answered before, or to be asked again
        job, told, _ = self._open[reply.request]
        told(reply)
        del self._open[reply.request]
        self.busy.discard(job)

    # --- what they run ---

    def _some_job(self, draw: Random) -> JobSpec | None:
        names = sorted(self.asked)
        return self.asked[draw.choice(names)] if names else None

    def _some_spec(self, draw: Random) -> TaskSpec:
        spec = self._sorts[draw.choice(self._work.sorts)](draw)
        cpu, memory = draw.choice(((100, 128), (300, 512), (700, 1024), (1500, 2048)))
        return replace(
            spec,
            cpu_milli=cpu,
            memory_mib=memory,
            environment=(("VERSION", str(draw.randrange(1000))),),
        )

    def _plain(self, draw: Random) -> TaskSpec:
        """A service that runs until it is stopped."""
        return self._service(draw)

    def _slow(self, draw: Random) -> TaskSpec:
        """A service that takes its time to start and to stop."""
        labels = (("cube.sim.start", "3"), ("cube.sim.stop", str(draw.choice((1, 4, 30)))))
        return self._service(draw, labels=labels, stop_grace_seconds=6.0)

    def _together(self, draw: Random) -> TaskSpec:
        """A service whose instances are kept on one node."""
        return self._service(draw, labels=((TOGETHER, ""), ("cube.sim.stop", "0.5")))

    def _pulling(self, draw: Random) -> TaskSpec:
        """A service whose image is long on the way."""
        return self._service(draw, labels=(("cube.sim.start", f"{draw.uniform(4, 10):.3f}"),))

    def _fenced(self, draw: Random) -> TaskSpec:
        """A service of which two instances must never run at once."""
        labels = (("cube.sim.stop", "0.5"),)
        return self._service(draw, on_disconnect="stop", labels=labels)

    def _flapping(self, draw: Random) -> TaskSpec:
        """One of these that fails now and then, and is long in starting again."""
        spec = self._fenced(draw)
        labels = (*spec.labels, ("cube.sim.seconds", f"{draw.uniform(5, 20):.3f}"))
        return replace(spec, labels=labels, restart=RestartPolicy("any", None, 60.0, 12.0))

    def _pinned(self, draw: Random) -> TaskSpec:
        """A service with data on one node."""
        return replace(self._service(draw), instances=1, mounts=(Mount("volume", "data", "/d"),))

    def _ported(self, draw: Random) -> TaskSpec:
        """A service that asks for a port of its node, of which there is one."""
        return self._service(draw, ports=(Port(80, draw.choice((8080, 8081))),))

    def _global(self, draw: Random) -> TaskSpec:
        """A service on every node."""
        return replace(self._service(draw), kind=Kind.GLOBAL)

    def _failing(self, draw: Random) -> TaskSpec:
        """A service that fails again and again."""
        labels = (("cube.sim.seconds", str(draw.choice((0, 3, 9)))), ("cube.sim.exit", "1"))
        attempts = None if draw.random() < 0.7 else 2
        return self._service(draw, attempts, labels=labels)

    def _batch(self, draw: Random) -> TaskSpec:
        """Tasks that end by themselves, most of them well."""
        labels = (
            ("cube.sim.seconds", f"{draw.uniform(0.5, 30):.3f}"),
            ("cube.sim.exit", str(int(draw.random() < 0.2))),
        )
        restart = RestartPolicy("on-failure", 2, 1800.0, 1.0)
        policy = ReschedulePolicy(2, 2.0, self._work.backoff_seconds)
        count = draw.randint(1, self._work.instances)
        spec = TaskSpec("main", "image", Kind.BATCH, count, labels=labels, spread=Spread("none"))
        return spec if self._work.defaults else replace(spec, restart=restart, reschedule=policy)

    def _service(self, draw: Random, attempts: int | None = None, **fields: Any) -> TaskSpec:
        count = draw.randint(1, self._work.instances)
        spec = TaskSpec("main", "image", Kind.SERVICE, count, **fields)
        if self._work.defaults:
            return spec
        restart = RestartPolicy("any", 2, 60.0, 1.0)
        policy = ReschedulePolicy(attempts, 1.0, self._work.backoff_seconds)
        return replace(spec, restart=restart, reschedule=policy)
