"""What the command line itself asks an engine: can it be used, and is anything left?

Read-only but for pulling an image and for what a worker leaves when it is uninstalled.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cube.cli.exits import Failure, note
from cube.cli.tables import plural

if TYPE_CHECKING:
    from docker.api.client import APIClient


@contextmanager
def _docker(url: str | None) -> Iterator[tuple[APIClient, APIClient]]:
    """Clients of the engine, for calls and for long ones."""
    from cube.engine.docker.connect import DEFAULT_URL, connect

    clients = connect(url or DEFAULT_URL)
    try:
        yield clients
    finally:
        for client in clients:
            client.close()


def why_not_docker(url: str | None, images: Sequence[str]) -> str:
    """Why tasks of these images cannot run on Docker here; empty: they can."""
    from cube.engine import EngineUnavailable

    try:
        with _docker(url) as (calls, streams):
            for image in images:
                if why := _why_no_image(calls, streams, image):
                    return why
    except EngineUnavailable as error:
        return str(error).partition(": ")[0]
    return ""


def _why_no_image(calls: APIClient, streams: APIClient, image: str) -> str:
    """Why an image cannot be had: it is neither here nor can it be pulled."""
    from docker.errors import APIError, DockerException

    from cube.engine.docker.errors import UNREACHABLE
    from cube.engine.docker.images import has_image

    if has_image(calls, image):
        return ""
    note(f"pulling {image}")
    repository, _, tag = image.rpartition(":")
    try:
        streams.pull(repository, tag=tag)
    except (APIError, DockerException, *UNREACHABLE):
        return f"The image {image} is not here and cannot be pulled."
    return "" if has_image(calls, image) else f"The image {image} cannot be pulled."


def left_behind(url: str | None, cluster: str) -> str:
    """What an engine still holds of a cluster, counted."""
    from cube.engine.docker.names import label_filter

    filters = {"label": label_filter(cluster)}
    with _docker(url) as (api, _):
        containers = api.containers(all=True, quiet=True, filters=filters)
        networks = api.networks(filters=filters)
        volumes = api.volumes(filters=filters)["Volumes"] or []
    return ", ".join(
        plural(len(found), word)
        for found, word in ((containers, "container"), (networks, "network"), (volumes, "volume"))
    )


@dataclass(frozen=True, slots=True)
class WorkerRemains:
    """What a worker leaves on its machine when it is uninstalled."""

    directory: Path
    engine: str
    docker_url: str | None
    node: str
    cluster: str

    @classmethod
    def of(cls, directory: Path, engine: str, docker_url: str | None) -> WorkerRemains:
        """As its directory says.

        Raises:
            Failure: that tells nothing.
        """
        from cube.trust import Identity, TrustError, party_of

        try:
            kept = Identity.read(directory / "node.pem")
        except TrustError as error:
            raise Failure(str(error)) from None
        party = None if kept is None else party_of(kept.certificate)
        if party is None:
            what = "it is removed; what remains of it cannot be told, for it has no identity"
            raise Failure(what, where=str(directory))
        return cls(directory, engine, docker_url, party.name, party.cluster)

    @property
    def forget(self) -> str:
        """What to say where the manager is known."""
        return f"cube node rm {self.node}"

    def shown(self) -> str:
        """All of it, in one line.

        Raises:
            Failure: its engine does not answer.
        """
        from cube.engine import EngineUnavailable

        if self.engine != "docker":
            return f"the node's directory {self.directory}, with what runs"
        try:
            held = left_behind(self.docker_url, self.cluster)
        except EngineUnavailable as error:
            raise Failure(f"what remains cannot be told: {error}") from None
        return f"{held}, and the node's directory {self.directory}"

    def remove(self) -> None:
        """Kill and remove what carries the cluster's label, then the directory.

        Raises:
            Failure: its engine does not answer; nothing is removed then.
        """
        from cube.engine import EngineUnavailable, remove_cluster_remains

        try:
            if self.engine in ("docker", "process"):
                remove_cluster_remains(
                    "docker" if self.engine == "docker" else "process",
                    cluster=self.cluster,
                    state_dir=self.directory / "engine",
                    docker_url=self.docker_url,
                )
        except EngineUnavailable as error:
            raise Failure(f"it is not removed: {error}") from None
        shutil.rmtree(self.directory)
