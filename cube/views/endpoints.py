"""Where the services of jobs are reached: the addresses of nodes with the ports published there.

Pure functions from a snapshot. Whether anything may travel between the machines is not known here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import ip_address

from cube.messages import Snapshot
from cube.task import NodeState, Task
from cube.views.jobs import find_job
from cube.views.shapes import AddressView, EndpointsView
from cube.views.show import is_ready, natural

HERE = "127.0.0.1"  # of a node whose worker is in the manager's own process


def show_endpoints(snapshot: Snapshot, job: str | None = None) -> list[EndpointsView]:
    """Every service of every job, or of one, in the order of their names."""
    jobs = sorted(snapshot.jobs, key=lambda j: j.name)
    hosts = _hosts(snapshot)
    return [
        _show(snapshot, found.name, spec.name, hosts)
        for found in (jobs if job is None else filter(None, [find_job(snapshot, job)]))
        for spec in found.spec.services
    ]


def reached(snapshot: Snapshot) -> dict[str, dict[str, list[str]]]:
    """By job and service, the hosts where a container elsewhere reaches it by its own port.

    That is where an instance is ready that publishes a port under its own number. Nodes that are
    silent are left out while there are others: what they run may have gone with them.
    """
    hosts = {name: host.strip("[]") for name, host in _hosts(snapshot).items()}
    alive = {node.name for node in snapshot.nodes if node.state is NodeState.ALIVE}
    found = {
        job.name: {spec.name: _Reached() for spec in job.spec.services} for job in snapshot.jobs
    }
    for task in snapshot.tasks:
        services = found.get(task.job, {})
        if task.node is not None and task.service in services and is_ready(task):
            at = services[task.service].alive if task.node in alive else services[task.service].rest
            at.update(dict.fromkeys(_reached_at(task, hosts.get(task.node, ""))))
    return {
        job: {name: list(each.alive or each.rest) for name, each in services.items()}
        for job, services in found.items()
    }


@dataclass(slots=True)
class _Reached:
    """Hosts of one service."""

    alive: dict[str, None] = field(default_factory=dict)
    rest: dict[str, None] = field(default_factory=dict)


def _reached_at(task: Task, host: str) -> Iterator[str]:
    """Where its ports are that are published under their own numbers."""
    same = {(p.container, p.protocol) for p in task.ports if p.container == p.host}
    for port in task.spec.ports:
        if (port.container, port.protocol) in same:
            bound = ip_address(port.host_ip)
            at = host if bound.is_unspecified else port.host_ip
            if at and not bound.is_loopback:
                yield at


def _show(snapshot: Snapshot, job: str, service: str, hosts: dict[str, str]) -> EndpointsView:
    tasks = [t for t in snapshot.tasks if (t.job, t.service) == (job, service)]
    tasks = sorted((t for t in tasks if not t.state.final), key=lambda t: natural(t.id))
    return {
        "job": job,
        "service": service,
        "instances": len(tasks),
        "ready": sum(map(is_ready, tasks)),
        "addresses": [address for task in tasks for address in _addresses(task, hosts)],
    }


def _hosts(snapshot: Snapshot) -> dict[str, str]:
    """Of each node; IPv6 in brackets."""
    return {row.info.name: row.info.address.rpartition(":")[0] for row in snapshot.rows}


def _addresses(task: Task, hosts: dict[str, str]) -> list[AddressView]:
    if task.node is None:
        return []
    return [
        {
            "task": task.id,
            "node": task.node,
            "host": hosts.get(task.node) or HERE,
            "port": port.host,
            "container": port.container,
            "protocol": port.protocol,
            "healthy": task.healthy,
            "ready": is_ready(task),
        }
        for port in task.ports
    ]
