"""What may be written in a job file: the job, its services and `x-cube`.

These models are the one source of the reader's errors, the JSON Schema and the support matrix.
They hold what is written, in whole units; what it means for placement is `translate`'s business.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Field

from cube import units
from cube.compose.deploy import Deploy, SpreadBy
from cube.compose.part import Ignored, Part, Refused
from cube.compose.ports import PortForm
from cube.compose.process import (
    Check,
    Depends,
    EnvFiles,
    Health,
    Logging,
    UlimitForm,
    read_device,
    read_hosts,
    read_labels,
    read_pull_policy,
    read_restart,
    read_signal,
)
from cube.compose.refusals import UnsupportedKeys
from cube.compose.scalars import shown
from cube.compose.storage import MountForm, Target, TmpfsList, VolumeForm, VolumeName
from cube.compose.written import (
    INTEGER,
    PAIRS,
    SCALAR,
    STRING,
    STRINGS,
    Bytes,
    Flag,
    Pairs,
    Seconds,
    Text,
    Value,
    Words,
    Written,
    read_text,
    read_value,
    read_whole,
    wrong,
)
from cube.spec import WHOLE_GPU_MILLI

NAME_PATTERN = r"[a-z0-9][a-z0-9-]{0,39}"
_ONE_NETWORK = "Cube makes one network for each job; names resolve to instances."


def suggested_name(text: str) -> str:
    """The nearest allowed name; empty if nothing of `text` is left."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:40].strip("-")


def read_name(value: Any) -> str:
    """The name of a job or service."""
    text = read_text(value)
    if re.fullmatch(NAME_PATTERN, text):
        return text
    near = suggested_name(text)
    rule = "Use 1 to 40 of a-z, 0-9 and '-', not beginning with '-'"
    raise wrong(f"{shown(value)} cannot be a name", f"{rule}{f', as in {near}' if near else ''}.")


def read_datacenters(value: Any) -> Any:
    """A list of names of datacenters."""
    if not isinstance(value, list):
        raise wrong(f"must be a list, not {shown(value)}", "Write [dc1, dc2].")
    return [read_text(item) for item in value]


def read_attempts(value: Any) -> int | None:
    """A number, or `unlimited` (None)."""
    return None if value == "unlimited" else read_whole(value)


def read_share(value: Any) -> int:
    """A part of a GPU, in thousandths."""
    try:
        milli = units.parse_cpus(read_value(value))
    except ValueError:
        milli = 0
    if not 0 < milli < WHOLE_GPU_MILLI:
        raise wrong(f"{shown(value)} is not a share of a GPU", "Write a part of one, as in 0.25.")
    return milli


def read_models(value: Any) -> Any:
    """A list of models, or one."""
    return [read_text(item) for item in (value if isinstance(value, list) else [value])]


Name = Annotated[str, Written(read_name, ({**STRING, "pattern": f"^{NAME_PATTERN}$"},))]
Attempts = Annotated[
    Annotated[int, Field(ge=0, le=1_000_000)] | None,
    Written(read_attempts, ({"type": "integer"}, {"const": "unlimited"})),
]


class SpreadExtras(Part):
    """`x-cube.spread` of a service."""

    title = "`x-cube.spread`"

    by: SpreadBy = Field("node", description="`node`, `datacenter` or `node.labels.KEY`.")
    mode: Literal["prefer", "require", "none"] = Field(
        "prefer",
        description="`prefer` places with the fewest of the service, `require` never puts two"
        " together, `none` leaves it to the policy.",
    )


class RestartExtras(Part):
    """`x-cube.restart` of a service."""

    title = "`x-cube.restart`"

    attempts: Attempts = Field(
        None, description="Restarts on a node within `interval`, or `unlimited`."
    )
    interval: Seconds | None = Field(None, description="The time in which restarts are counted.")
    delay: Seconds | None = Field(None, description="Between the end of a run and the next.")


class RescheduleExtras(Part):
    """`x-cube.reschedule` of a service."""

    title = "`x-cube.reschedule`"

    attempts: Attempts = Field(
        None, description="Placements elsewhere after the node gave up, or `unlimited`; 0: never."
    )
    delay: Seconds | None = Field(None, description="Before the first; doubles each time.")
    max_delay: Seconds | None = Field(None, description="It doubles up to this.")


class GpuExtras(Part):
    """`x-cube.gpu` of a service."""

    title = "`x-cube.gpu`"

    count: Annotated[int, Field(ge=1, le=64), Written(read_whole, (INTEGER,))] | None = Field(
        None, description="Whole devices; 1 by default."
    )
    share: Annotated[int, Written(read_share, ({"type": "number"}, STRING))] | None = Field(
        None,
        description="A part of one device, above 0 and below 1, in thousandths at the finest."
        " Counted in placement, not enforced.",
    )
    models: Annotated[tuple[str, ...], Written(read_models, (STRINGS,))] = Field(
        (), description="Any of these will do, as `nvidia-smi -L` names them; by default any."
    )


class ServiceExtras(Part):
    """`x-cube` of a service."""

    title = "`x-cube` of a service"

    disk: Bytes | None = Field(None, description="Disk that placement counts; not enforced.")
    gpu: GpuExtras | None = Field(None, description="GPUs: whole ones, or a share of one.")
    spread: SpreadExtras | None = Field(None, description="How instances share out over nodes.")
    on_disconnect: Literal["keep", "stop"] = Field(
        "keep",
        description="On a node that is cut off: `keep` running, or `stop` when the lease ends.",
    )
    restart: RestartExtras | None = Field(None, description="Overrides any other restart policy.")
    reschedule: RescheduleExtras | None = Field(None, description="What follows when it gave up.")
    check: Check | None = Field(
        None, description="A health check over the network, instead of `healthcheck`."
    )


class Service(UnsupportedKeys):
    """One service of the job."""

    title = "Services"

    image: Text = Field(min_length=1, description="Required.")
    command: Words | None = Field(None, description="A list, or text that is split as by a shell.")
    entrypoint: Words | None = Field(None, description="As `command`.")
    environment: Pairs = Field(
        {}, description="Mapping or list; a name without a value takes the value at submit."
    )
    env_file: EnvFiles = Field((), description="Path, list, or `{path, required}`; read at submit.")
    working_dir: Target | None = Field(None, description="Absolute path in the container.")
    user: Value | None = Field(None, description="`user`, `uid` or `uid:gid`.")
    ports: tuple[PortForm, ...] = Field(
        (),
        max_length=1000,
        description="`80` (the engine picks the host port), `8080:80`, `127.0.0.1:8080:80/udp`,"
        " equal ranges, or the long form.",
    )
    volumes: tuple[MountForm, ...] = Field(
        (), description="Short or long form. Unshared data ties the task to its node."
    )
    tmpfs: TmpfsList = Field((), description="`/path` or `/path:size=64m`.")
    labels: Annotated[Pairs, Written(read_labels, PAIRS)] = Field(
        {}, description="Labels of each container; `cube.` is reserved."
    )
    stop_signal: Annotated[str, Written(read_signal, (SCALAR,))] | None = Field(
        None, description="Name or number."
    )
    stop_grace_period: Seconds = Field(10.0, description="Before a kill; 10s by default.")
    pull_policy: Annotated[
        Literal["missing", "always", "never"],
        Written(read_pull_policy, ({"enum": ["missing", "if_not_present", "always", "never"]},)),
    ] = Field("missing", description="`missing`, `always` or `never`.")
    init: Flag = Field(False, description="An init process reaps children.")
    ulimits: dict[str, UlimitForm] = Field({}, description="A number, or `{soft, hard}`.")
    cap_add: tuple[Text, ...] = Field((), description="Linux capabilities to add.")
    cap_drop: tuple[Text, ...] = Field((), description="Linux capabilities to drop.")
    devices: tuple[Annotated[str, Written(read_device, (STRING,))], ...] = Field(
        (), description="`/dev/host:/dev/container:rwm`."
    )
    privileged: Flag = Field(False, description="All capabilities and devices.")
    shm_size: Bytes | None = Field(None, description="Size of /dev/shm.")
    extra_hosts: Annotated[
        dict[str, str],
        Written(read_hosts, ({"type": "object", "additionalProperties": STRING}, STRINGS)),
    ] = Field({}, description="`host:address`, `host=address` or a mapping.")
    logging: Logging = Field(Logging(), description="See below.")
    healthcheck: Health | None = Field(None, description="See below.")
    depends_on: Depends = Field({}, description="List, or mapping to a condition.")
    restart: Annotated[str, Written(read_restart, (STRING,))] | None = Field(
        None, description="`no`, `always`, `unless-stopped`, `on-failure[:n]`; see Restarts."
    )
    deploy: Deploy = Field(Deploy(), description="See below.")
    cube: ServiceExtras = Field(ServiceExtras(), alias="x-cube", description="See below.")
    networks: Annotated[Any, Ignored(_ONE_NETWORK)] = Field(None, description=_ONE_NETWORK)
    expose: Annotated[Any, Ignored("Services reach one another on every port.")] = Field(
        None, description="Services of a job reach one another on every port."
    )
    container_name: Annotated[Any, Ignored("Cube names containers itself.")] = Field(
        None, description="Cube names containers itself."
    )


class JobExtras(Part):
    """`x-cube` of the job."""

    title = "`x-cube` of the job"

    priority: Annotated[int, Field(ge=0, le=100), Written(read_whole, ({"type": "integer"},))] = (
        Field(50, description="0 to 100; higher is placed first.")
    )
    datacenters: Annotated[tuple[str, ...], Written(read_datacenters, (STRINGS,))] = Field(
        (), description="Where its tasks may be placed; anywhere by default."
    )
    together: Flag = Field(
        False, description="All of the job on one node; see Jobs that are kept together."
    )


class JobFile(Part):
    """A Compose file, as far as Cube supports it."""

    title = "The job"

    name: Name | None = Field(
        None,
        description="By default the file's name up to its first dot, or its folder's.",
    )
    services: dict[Name, Service] = Field(min_length=1, description="At least one.")
    volumes: dict[VolumeName, VolumeForm] = Field({}, description="Named volumes of the job.")
    cube: JobExtras = Field(JobExtras(), alias="x-cube", description="See below.")
    version: Annotated[Any, Ignored("Remove it; Compose has long ignored it.")] = Field(
        None, description="Obsolete in Compose."
    )
    networks: Annotated[Any, Ignored(_ONE_NETWORK)] = Field(None, description=_ONE_NETWORK)
    configs: Annotated[Any, Refused("Bind a file, or put it into the image.")] = None
    secrets: Annotated[Any, Refused("Use `env_file`, or bind a file.")] = None
    include: Annotated[Any, Refused("Put all services into one file.")] = None
    models: Annotated[Any, Refused("Run the model as a service.")] = None
