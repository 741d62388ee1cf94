"""Removes everything that a cluster left in a Docker engine: containers, networks, volumes.

The only place that deletes volumes; called when a user asks that nothing be left.
"""

from __future__ import annotations

import time

from docker.api.client import APIClient
from docker.errors import APIError, NotFound

from cube.engine import EngineUnavailable
from cube.engine.docker.connect import DEFAULT_URL, connect
from cube.engine.docker.errors import UNREACHABLE, text_of, unreachable_reason
from cube.engine.docker.names import label_filter
from cube.engine.docker.networks import remove_unused_networks

REMOVALS = 5  # how often one removal is tried
AGAIN_SECONDS = 0.2  # between two of these


def purge_url(url: str | None, cluster: str) -> None:
    """Remove all of a cluster from the engine at `url`.

    Raises:
        EngineUnavailable: it does not answer.
    """
    where = url or DEFAULT_URL
    clients = connect(where)
    try:
        purge(clients[0], cluster)
    except UNREACHABLE as error:
        reason = unreachable_reason(error)
        raise EngineUnavailable(f"the Docker engine at {where} went away: {reason}") from error
    finally:
        for client in clients:
            client.close()


def purge(api: APIClient, cluster: str, node: str | None = None) -> None:
    """Remove the containers of a cluster (and node), then networks and volumes not in use."""
    filters = {"label": label_filter(cluster, node)}
    for summary in api.containers(all=True, quiet=True, filters=filters):
        remove_container(api, summary["Id"])
    remove_unused_networks(api, cluster)
    found = api.volumes(filters={"label": label_filter(cluster)})
    for volume in found["Volumes"] or ():
        try:
            api.remove_volume(volume["Name"])
        except NotFound:
            pass
        except APIError as error:
            if error.status_code != 409:  # in use by another node's container
                raise


def remove_container(api: APIClient, container: str) -> None:
    """Kill and remove a container with its anonymous volumes; fine if it is gone."""
    for _ in range(REMOVALS - 1):
        try:
            _remove(api, container)
            return
        except APIError as error:
            if "unable to remove filesystem" not in text_of(error):
                raise
        # The engine wrote into the directory of a container that has just ended, and keeps it as
        # dead. It removes it when asked again; nothing tells when it has written all.
        time.sleep(AGAIN_SECONDS)
    _remove(api, container)


def _remove(api: APIClient, container: str) -> None:
    try:
        api.remove_container(container, force=True, v=True)
    except NotFound:
        pass
    except APIError as error:
        if error.status_code != 409:  # its removal is under way
            raise
