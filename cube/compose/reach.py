"""Which services can be reached by those that depend on them, on whichever machines both run.

A name resolves to the instances on the same machine, and beyond it to machines that run a service
which publishes the same port on both sides. On one machine everything is reached: whoever knows
that there is but one need not ask.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from cube.compose.document import Path
from cube.compose.models import JobFile, Service
from cube.spec import Constraint

Finding = tuple[Path, str, str]
_ONE_MACHINE = ("node.name", "node.hostname")


def unreachable(file: JobFile) -> Iterator[Finding]:
    """Each dependency on a service that can be on a machine from which it is not reached."""
    if file.cube.together:
        return
    for name, service in file.services.items():
        for needed, entry in service.depends_on.items():
            other = file.services[needed]
            ends = entry.condition == "service_completed_successfully"  # then nobody is there
            if ends or entry.cube.order_only or _is_reached(service, other):
                continue
            text = f"`{name}` depends on `{needed}`, and cannot reach it from another machine"
            yield ("services", name, "depends_on", needed), text, _remedy(needed, other)


def _is_reached(service: Service, other: Service) -> bool:
    outside = (port for port in other.ports if not ipaddress.ip_address(port.host_ip).is_loopback)
    if any(_same(port.target, port.published) for port in outside):
        return True
    here, there = _constraints(service), _constraints(other)
    if other.deploy.mode == "global" and there <= here:
        return True  # there is one wherever the service is
    return any(c.attribute in _ONE_MACHINE and c.operator == "==" for c in here & there)


def _constraints(service: Service) -> frozenset[Constraint]:
    return frozenset(service.deploy.placement.constraints)


def _same(inside: tuple[int, ...], outside: tuple[int, ...] | None) -> bool:
    return outside is not None and any(map(int.__eq__, inside, outside))


def _remedy(name: str, other: Service) -> str:
    port = other.ports[0].target[0] if other.ports else None
    example = f", as in '{port}:{port}'" if port is not None else ""
    return (
        f"Write `x-cube: {{together: true}}` at the top level, or publish a port of `{name}` under"
        f" its own number{example}; for the order alone, `x-cube: {{order_only: true}}` in the"
        " long form of the dependency."
    )
