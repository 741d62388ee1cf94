"""Creates and starts the container of one run, and says why that failed.

Owns the rule of who may have a run's name: the same run is adopted, an older make of it is
replaced, anything else is left alone. A start that fails leaves nothing behind.
"""

from __future__ import annotations

import logging

from docker.api.client import APIClient
from docker.errors import APIError

from cube.engine.docker import look
from cube.engine.docker.errors import Failure, start_failure, text_of
from cube.engine.docker.names import container_name, labels_of
from cube.engine.docker.networks import (
    Foreign,
    ensure_network,
    ensure_volumes,
    gateways,
    job_lock,
)
from cube.engine.docker.purge import remove_container
from cube.engine.docker.spec import create_arguments
from cube.messages import Run
from cube.naming import NameService, upstream
from cube.task import TaskName

log = logging.getLogger(__name__)


class Starter:
    """Starts runs of one node in one Docker engine."""

    def __init__(self, api: APIClient, cluster: str, node: str, boot: str) -> None:
        self._api, self._cluster, self._node, self._boot = api, cluster, node, boot
        self.names: NameService | None = None  # whom containers ask for services elsewhere

    def settle_names(self) -> None:
        """Let them be answered in the networks that there are. No start may be under way."""
        if self.names is not None:
            self.names.settle(gateways(self._api, self._cluster))

    def existing(self, run: Run) -> look.Inspected | Failure | None:
        """The container that is this run; None if there is none (any more)."""
        name = container_name(self._cluster, run.key)
        container = look.inspect(self._api, name)
        if container is None:
            return None
        if not look.is_ours(container, self._cluster, self._node):
            return Failure(
                f"the container name {name} is taken by a container that is not of this cluster "
                f"and node: rename or remove it (docker rename {name} NEW)"
            )
        if look.is_same(container, labels_of(self._cluster, self._node, run, self._boot)):
            return container
        log.info("%s was made from another version of its job: it is made anew", name)
        remove_container(self._api, container["Id"])
        return None

    def create(self, run: Run) -> Failure | None:
        """Make the container, unless its name is taken already: `existing` tells by whom."""
        job = TaskName.parse(run.key.uid).job
        try:
            with job_lock(self._cluster, job):
                gateway = ensure_network(self._api, self._cluster, job)
                ensure_volumes(self._api, self._cluster, job, run.spec)
                wanted = create_arguments(
                    self._api, self._cluster, self._node, run, self._boot, self._dns(gateway, job)
                )
                self._api.create_container(**wanted)
        except Foreign as error:
            return Failure(str(error))
        except APIError as error:
            if error.status_code != 409:
                return start_failure(error, run.spec)
        return None

    def _dns(self, gateway: str, job: str) -> list[str] | None:
        """The servers that a container asks; None leaves that to the engine."""
        if self.names is None or not gateway or not self.names.serve(gateway, job):
            return None
        return [gateway, *upstream()]

    def start(self, run: Run, container: look.Inspected) -> look.Inspected | Failure:
        """Start a created container; the container as it then is, or why it is not."""
        error = self._try_start(container["Id"])
        if error is not None and "network" in text_of(error) and error.status_code == 404:
            # Another process found the job without containers, and removed its network.
            failure = self.create(run)
            again = self.existing(run) if failure is None else failure
            if again is None or isinstance(again, Failure):
                return again or start_failure(error, run.spec)
            container = again
            error = self._try_start(container["Id"])
        if error is not None:
            return start_failure(error, run.spec)
        started = look.inspect(self._api, container["Id"])
        return started or Failure("its container was removed from outside")

    def _try_start(self, container: str) -> APIError | None:
        try:
            self._api.start(container)
        except APIError as error:
            remove_container(self._api, container)
            return error
        return None
