"""Where the services of jobs are reached: the addresses of nodes with the ports published there.

Pure functions from a snapshot. Whether anything may travel between the machines is not known here.
"""

from __future__ import annotations

from cube.messages import Snapshot
from cube.task import Task
from cube.views.jobs import find_job
from cube.views.shapes import AddressView, EndpointsView
from cube.views.show import is_ready, natural

HERE = "127.0.0.1"  # of a node whose worker is in the manager's own process


def show_endpoints(snapshot: Snapshot, job: str | None = None) -> list[EndpointsView]:
    """Every service of every job, or of one, in the order of their names."""
    jobs = sorted(snapshot.jobs, key=lambda j: j.name)
    hosts = {row.info.name: row.info.address.rpartition(":")[0] for row in snapshot.rows}
    return [
        _show(snapshot, found.name, spec.name, hosts)
        for found in (jobs if job is None else filter(None, [find_job(snapshot, job)]))
        for spec in found.spec.services
    ]


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
