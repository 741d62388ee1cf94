"""`deploy` of a service: how many, how large, where, and what happens when it fails."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Field

from cube import spec
from cube.compose.part import Part, Refused
from cube.compose.scalars import shown
from cube.compose.written import (
    INTEGER,
    STRING,
    STRINGS,
    Bytes,
    Count,
    MilliCores,
    Pairs,
    Positive,
    Seconds,
    Text,
    Written,
    only,
    read_text,
    read_whole,
    wrong,
)

_CONSTRAINT = re.compile(r"\s*([\w.-]+(?:/[\w.-]+)*)\s*(==|!=)\s*(\S(?:.*\S)?)\s*")
_ATTRIBUTE = re.compile(r"node\.(name|hostname|datacenter|labels\.[\w./-]+)")
_GPU = ("gpu", "nvidia", "compute", "utility")  # what the driver may be asked for, beside `gpu`
_ATTRIBUTES = "node.hostname, node.name, node.datacenter or node.labels.KEY"


def read_gpu_count(value: Any) -> int:
    """How many devices."""
    if value == "all":
        raise wrong("`all` GPUs of a node cannot be counted beforehand", "Say how many.")
    return read_whole(value)


def read_capabilities(value: Any) -> tuple[str, ...]:
    """A list that names `gpu`."""
    names = tuple(read_text(item) for item in value) if isinstance(value, list) else ()
    if "gpu" not in names or not set(names) <= set(_GPU):
        raise wrong(f"{shown(value)} is no reservation that Cube knows", "Write [gpu].")
    return names


class Reservation(Part):
    """An item of `deploy.resources.reservations.devices`: GPUs."""

    title = "`deploy.resources.reservations.devices`"

    driver: Annotated[Text, only("nvidia")] = Field("nvidia", description="`nvidia`.")
    count: Annotated[int, Field(ge=1, le=64), Written(read_gpu_count, (INTEGER,))] = Field(
        1, description="Whole devices; 1 by default. `all` is not supported: say how many."
    )
    capabilities: Annotated[tuple[str, ...], Written(read_capabilities, (STRINGS,))] = Field(
        description="`[gpu]`. Required."
    )
    device_ids: Annotated[Any, Refused("Placement chooses the devices; write `count`.")] = None
    options: Annotated[Any, Refused("Remove it.")] = None


class Size(Part):
    """What placement counts (reservations)."""

    title = "`deploy.resources.reservations`"

    cpus: MilliCores | None = Field(None, description="Cores that placement counts.")
    memory: Bytes | None = Field(None, description="Memory that placement counts.")
    devices: tuple[Reservation, ...] = Field(
        (), max_length=1, description="GPUs; at most one entry."
    )
    generic_resources: Annotated[Any, Refused("Use a node label and a constraint.")] = None


class Limit(Part):
    """What the engine enforces (limits)."""

    title = "`deploy.resources.limits`"

    cpus: MilliCores | None = Field(None, description="Cores that a task can use at most.")
    memory: Bytes | None = Field(None, description="Memory beyond which a task is killed.")
    pids: Annotated[Any, Refused("Write `ulimits: {nproc: N}`.")] = None


class Resources(Part):
    """`deploy.resources`."""

    title = "`deploy.resources`"

    reservations: Size = Field(Size(), description="What placement counts.")
    limits: Limit = Field(Limit(), description="What the engine enforces.")


def read_constraint(value: Any) -> spec.Constraint:
    """`node.labels.disk == ssd`, with or without blanks."""
    match = _CONSTRAINT.fullmatch(read_text(value))
    if match is None:
        raise wrong(f"{shown(value)} is not a constraint", "Write node.labels.KEY == VALUE.")
    attribute, operator, text = match.groups()
    if _ATTRIBUTE.fullmatch(attribute) is None:
        remedy = f"Compare {_ATTRIBUTES}."
        if attribute == "node.role":
            remedy = "Every Cube node runs tasks; remove it."
        raise wrong(f"constraints on `{attribute}` are not supported by Cube", remedy)
    return spec.Constraint(attribute, "==" if operator == "==" else "!=", text)


def read_spread_by(value: Any) -> str:
    """What instances are spread over."""
    text = read_text(value)
    if text in ("node", "datacenter") or re.fullmatch(r"node\.labels\.[\w./-]+", text):
        return text
    remedy = "Write node, datacenter or node.labels.KEY."
    raise wrong(f"{shown(value)} is nothing to spread over", remedy)


ConstraintForm = Annotated[
    spec.Constraint,
    Written(read_constraint, ({**STRING, "examples": ["node.labels.disk == ssd"]},)),
]
SpreadBy = Annotated[str, Written(read_spread_by, (STRING,))]


class Preference(Part):
    """An item of `deploy.placement.preferences`."""

    title = "`deploy.placement.preferences`"

    spread: SpreadBy = Field(description="`node.labels.KEY`; as `x-cube.spread.by`.")


class PlacementRules(Part):
    """`deploy.placement`."""

    title = "`deploy.placement`"

    constraints: tuple[ConstraintForm, ...] = Field(
        (), description=f"`==` and `!=` on {_ATTRIBUTES}; all must hold."
    )
    preferences: tuple[Preference, ...] = Field((), max_length=1, description="At most one.")
    max_replicas_per_node: Positive | None = Field(
        None, description="Most instances of the service on one node."
    )


class Restarting(Part):
    """`deploy.restart_policy`."""

    title = "`deploy.restart_policy`"

    condition: Literal["any", "on-failure", "none"] | None = Field(
        None, description="`any`, `on-failure` or `none`."
    )
    delay: Seconds | None = Field(None, description="Between the end of a run and the next.")
    max_attempts: Count | None = Field(None, description="Restarts on a node within `window`.")
    window: Seconds | None = Field(None, description="The time in which restarts are counted.")


class Updating(Part):
    """`deploy.update_config`."""

    title = "`deploy.update_config`"

    order: Annotated[Text, only("stop-first")] = Field("stop-first", description="`stop-first`.")
    parallelism: Annotated[Text, only("1")] = Field("1", description="`1`: one after the other.")
    failure_action: Annotated[Text, only("pause")] = Field(
        "pause", description="`pause`: an update halts at the first instance that fails."
    )
    delay: Annotated[Any, Refused("The next instance follows when one is up; remove it.")] = None
    monitor: Annotated[Any, Refused("Write a healthcheck instead.")] = None
    max_failure_ratio: Annotated[Any, Refused("An update halts at the first failure.")] = None


class Deploy(Part):
    """`deploy` of a service."""

    title = "`deploy`"

    mode: Literal["replicated", "global", "replicated-job", "global-job"] = Field(
        "replicated",
        description="`replicated` (a number of instances), `global` (one on every node that fits),"
        " `replicated-job` and `global-job` (the same, run to completion).",
    )
    replicas: Count | None = Field(None, description="Number of instances; 1 by default.")
    resources: Resources = Field(Resources(), description="See below.")
    placement: PlacementRules = Field(PlacementRules(), description="See below.")
    restart_policy: Restarting | None = Field(None, description="See below.")
    update_config: Updating | None = Field(None, description="See below.")
    labels: Pairs = Field({}, description="Added to the labels of each container.")
    endpoint_mode: Annotated[Any, Refused("Names resolve to every instance; remove it.")] = None
    rollback_config: Annotated[Any, Refused("Run the former file to go back.")] = None
