"""The manager's way to its workers: a courier for each, and the address that it told last.

Owns couriers and addresses. A worker is whoever shows the certificate of that node: an address that
somebody else has taken meanwhile leads to nobody.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Collection, Iterator, Mapping
from functools import partial
from typing import Any

from cube.codec import dumps
from cube.engine import TaskIO
from cube.messages import worker_name
from cube.remote.courier import Courier
from cube.remote.line import Line, Place, Unreachable
from cube.remote.tasks import RemoteTasks
from cube.trust.contexts import expect
from cube.world import World


class Workers(Mapping[str, TaskIO]):
    """All nodes that were heard. Used from several threads."""

    def __init__(self, world: World, cluster: str, context: ssl.SSLContext) -> None:
        """`context`: with the manager's certificate (`cube.trust.contexts.manager_to_node`)."""
        self._world = world
        self._cluster = cluster
        self._context = context
        self._lock = threading.Lock()
        self._places: dict[str, Place] = {}
        self._couriers: dict[str, Courier] = {}

    def heard(self, node: str, address: str) -> None:
        """A node tells where its worker listens."""
        place = Place.parse(address)
        if place is None or self._places.get(node) == place:
            return
        with self._lock:
            self._places[node] = place
            if node not in self._couriers:
                courier = Courier(node, _Assigning(self, node), lambda _: True)
                self._couriers[node] = courier
                self._world.connect(worker_name(node), courier.carry)

    def keep_only(self, nodes: Collection[str]) -> None:
        """Forget all others: they are no nodes any more."""
        with self._lock:
            for node in self._couriers.keys() - nodes:
                self._world.disconnect(worker_name(node))
                self._couriers.pop(node).close()
                del self._places[node]

    def close(self) -> None:
        """Bring nothing any more."""
        couriers = list(self._couriers.values())
        self.keep_only(())
        for courier in couriers:
            courier.join()

    def place(self, node: str) -> Place | None:
        """Where a node's worker listens, as far as it has told."""
        return self._places.get(node)

    def line(self, node: str) -> Line:
        """A new line to a worker, for its user alone.

        Raises:
            Unreachable: it has not told where it is.
        """
        place = self._places.get(node)
        if place is None:
            raise Unreachable(f"the worker of {node} was not heard since the manager started")
        return Line(place, self._context, partial(expect, cluster=self._cluster, node=node))

    # --- as a mapping of nodes to their tasks ---

    def __getitem__(self, node: str) -> TaskIO:
        """What one can have of the node's tasks."""
        if node not in self._places:
            raise KeyError(node)
        return RemoteTasks(partial(self.line, node))

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._places))

    def __len__(self) -> int:
        return len(self._places)


class _Assigning:
    """Brings assignments to one worker, wherever it is."""

    def __init__(self, workers: Workers, node: str) -> None:
        self._workers = workers
        self._node = node
        self._line: Line | None = None

    def bring(self, message: Any) -> None:
        """Take one assignment there."""
        if self._line is None or self._line.place != self._workers.place(self._node):
            self.close()
            self._line = self._workers.line(self._node)
        self._line.call("PUT", "/v1/assignment", dumps(message))

    def close(self) -> None:
        """Hang up."""
        if self._line is not None:
            self._line.close()
            self._line = None
