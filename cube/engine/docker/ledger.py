"""What runs in a Docker engine, what has ended, and what of it has been told.

Owns the kills under way and the knowledge that makes every end told once: by event, by listing,
or by the slow comparison that backs them up. Starts and removes nothing that was asked for.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from docker.api.client import APIClient

from cube.engine import Emit, exit_reason
from cube.engine.docker import look
from cube.engine.docker.checks import NetworkChecks
from cube.engine.docker.connect import knock
from cube.engine.docker.errors import Failure
from cube.engine.docker.events import Event
from cube.engine.docker.kills import Kills, Submit
from cube.engine.docker.names import key_of
from cube.engine.docker.networks import remove_unused_networks
from cube.engine.docker.pins import image_of
from cube.engine.docker.purge import remove_container
from cube.messages import Exited, Found, Health, Kill, Listed, NodeInfo, RunKey, Started

OOM_SECONDS = 0.5  # by so much may the engine's word of why come after that of the end


class Ledger:
    """The runs of one node. Its methods are called within the lane of their run."""

    def __init__(
        self,
        api: APIClient,
        url: str,
        cluster: str,
        info: NodeInfo,
        *,
        boot: str,
        checks: NetworkChecks,
        emit: Emit,
        submit: Submit,
    ) -> None:
        """Knows nothing yet.

        Args:
            api: a client of the engine at `url`.
            url: where it listens.
            cluster: whose runs these are.
            info: the node, as it is told.
            boot: the machine's boot id; "" for an engine on another machine.
            checks: told which containers run.
            emit: tells the worker.
            submit: `submit(lane, job, after)` does a job later.
        """
        self._api, self._url, self._emit, self._submit = api, url, emit, submit
        self._cluster, self._info, self._boot = cluster, info, boot
        self._checks = checks
        self._running: dict[RunKey, str] = {}  # container ids
        self._told: dict[RunKey, Exited] = {}  # ends that the worker knows
        self._starved: set[RunKey] = set()  # of whose memory there was not enough
        self._kills = Kills(api, submit, self.gone)

    # --- what orders come to -------------------------------------------------------------

    def started(self, key: RunKey, container: look.Inspected) -> None:
        """It runs: tell."""
        self._told.pop(key, None)
        self._running[key] = container["Id"]
        self._checks.watch(key, container)
        image = image_of(self._api, container)
        self._emit(Started(key, look.handle(container), look.ports(container), image))

    def ended(self, exited: Exited) -> None:
        """It does not run: tell."""
        self._running.pop(exited.key, None)
        self._kills.over(exited.key)
        self._checks.forget(exited.key)
        self._told[exited.key] = exited
        self._emit(exited)

    def ended_as(self, key: RunKey, container: look.Inspected) -> None:
        """It has ended as its container says: tell."""
        self.ended(self._told.get(key) or self._exited(key, container))

    def gone(self, key: RunKey) -> None:
        """It is not there: tell."""
        self.ended(Exited(key, None, "gone"))

    def unstarted(self, key: RunKey, failure: Failure) -> None:
        """It could not be started: tell."""
        code, retry = failure.exit_code, failure.retry
        self.ended(Exited(key, code, failure.reason, started=False, retry=retry))

    def kill(self, kill: Kill, container: look.Inspected) -> None:
        """Begin to end a running container; its end is told when it comes."""
        self._running[kill.key] = container["Id"]
        self._kills.begin(kill, container)

    def forget(self, key: RunKey) -> None:
        """Nothing is left of it."""
        self._told.pop(key, None)
        self._running.pop(key, None)
        self._starved.discard(key)

    def running(self) -> dict[RunKey, str]:
        """Ids of the containers that run, by run, as far as is known; on any thread."""
        return self._running.copy()

    # --- what happens by itself ----------------------------------------------------------

    def on_event(self, event: Event) -> None:
        """Take in an event; called on any thread."""
        attributes, action = event["Actor"]["Attributes"], event["Action"]
        key = key_of(attributes)
        if key is None:
            return
        if action == "die":
            code, container = int(attributes.get("exitCode", 0)), event["Actor"]["ID"]
            self._submit(key, partial(self._died, key, container, code), 0.0)
        elif action == "oom":
            self._submit(key, partial(self._starve, key, event["Actor"]["ID"]), 0.0)
        elif action.startswith("health_status: "):
            verdict = Health(key, healthy=action.endswith(": healthy"))
            self._submit(key, partial(self._emit, verdict), 0.0)

    def _starve(self, key: RunKey, container_id: str) -> None:
        """The engine says so beside the end, at times after it: then that has waited for us."""
        self._starved.add(key)
        container = look.inspect(self._api, container_id)
        if container is not None and look.status(container) in look.ENDED:
            self._died(key, container_id, look.SIGKILLED)

    def _died(self, key: RunKey, container_id: str, code: int, *, waited: bool = False) -> None:
        known = self._running.get(key)
        if key in self._told or known not in (None, container_id):
            return
        if key not in self._kills and self._is_stopping():
            self.ended(Exited(key, code, "the Docker engine was stopped", interrupted=True))
            return
        container = look.inspect(self._api, container_id)
        if container is not None and look.status(container) in look.ENDED:
            if not waited and self._may_have_starved(key, container):
                again = partial(self._died, key, container_id, code, waited=True)
                self._submit(key, again, OOM_SECONDS)
                return
            self.ended_as(key, container)
        elif known is not None:  # it has been removed from outside
            self.ended(Exited(key, code, exit_reason(code)))

    def _may_have_starved(self, key: RunKey, container: look.Inspected) -> bool:
        """Was it killed, by somebody else, where memory is limited, and nobody has said why?"""
        if key in self._kills or key in self._starved or look.starved(container):
            return False
        return look.was_killed(container)

    def _exited(
        self, key: RunKey, container: look.Inspected, *, engine_restarted: bool = False
    ) -> Exited:
        return look.exited(
            container,
            key,
            self._boot,
            engine_restarted=engine_restarted,
            out_of_memory=key in self._starved or look.starved(container),
            unexplained=key not in self._kills,
        )

    def tell_all(self, *, restarted: bool = False) -> None:
        """Tell all that there is. Call it alone. `restarted`: the engine was, meanwhile."""
        containers = look.inspect_all(self._api, self._cluster, self._info.name)
        self._remove_unstarted(containers)
        found: list[Found] = []
        running: dict[RunKey, str] = {}
        for container in containers:
            key = key_of(look.labels_of(container))
            if key is None or look.status(container) not in (*look.RUNNING, *look.ENDED):
                continue
            if look.status(container) in look.RUNNING:
                running[key] = container["Id"]
                self._checks.watch(key, container)
                verdict = self._checks.verdict(key, container)
                listed = look.found(container, key, verdict=verdict)
                found.append(replace(listed, image=image_of(self._api, container)))
            else:
                self._checks.forget(key)
                cut = restarted and key in self._running
                end = self._told.get(key) or self._exited(key, container, engine_restarted=cut)
                found.append(look.found(container, key, end))
                self._told[key] = end
        self._running = running
        self._kills.keep(running.keys())
        self._emit(Listed(tuple(found), self._info))

    def reconcile(self) -> None:
        """The backstop: tell what an event should have told, and did not. Call it alone."""
        containers = look.inspect_all(self._api, self._cluster, self._info.name)
        self._remove_unstarted(containers)
        remove_unused_networks(self._api, self._cluster)
        present = {key: c for c in containers if (key := key_of(look.labels_of(c))) is not None}
        for key, container in present.items():
            if look.status(container) in look.ENDED and key not in self._told:
                self.ended_as(key, container)
        for key in self._running.keys() - present.keys():
            self.ended(Exited(key, None, "its container was removed from outside"))

    def _remove_unstarted(self, containers: list[look.Inspected]) -> None:
        """Remains of starts that were cut off; no start is under way now."""
        for container in containers:
            if look.status(container) == "created":
                remove_container(self._api, container["Id"])

    def _is_stopping(self) -> bool:
        """An engine that stops ends its containers, tells so, and takes no new connections."""
        try:
            knock(self._url)
        except OSError:
            return True
        return False
