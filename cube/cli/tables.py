"""From views to rows of tables: which columns people see, and how values are worded.

Pure; prints nothing. `-o json` prints the views themselves, so nothing is only here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Final, Literal

from cube.cli.printing import local_time

if TYPE_CHECKING:
    from cube.views import (
        AddressView,
        ClusterView,
        DecisionView,
        EndpointsView,
        EventView,
        FieldChange,
        JobView,
        MachineView,
        NodeView,
        NowView,
        PolicyPlan,
        PortView,
        RecoveryView,
        RegistryView,
        ServiceChange,
        ServiceView,
        SizeView,
        TaskView,
        TokenView,
        UsageView,
    )

Rows = list[tuple[object, ...]]
_Resource = Literal["cpu_milli", "memory_mib", "disk_mib"]

JOB_COLUMNS: Final = ("job", "state", "version", "ready", "reason")
SERVICE_COLUMNS: Final = ("service", "kind", "image", "ready", "cpu", "memory", "ports")
TOKEN_COLUMNS: Final = ("name", "may", "created", "expires")
REGISTRY_COLUMNS: Final = ("registry", "user")
ENDPOINT_COLUMNS: Final = ("service", "ready", "address", "port", "task", "node", "health")
TASK_COLUMNS: Final = ("task", "state", "node", "ports", "since", "reason")
NODE_COLUMNS: Final = ("node", "state", "engine", "tasks", "cpu", "memory", "disk", "gpu", "note")
LOAD_COLUMNS: Final = (
    "node", "tasks", "cpu used", "cpu reserved", "memory used", "memory reserved", "disk used"
)  # fmt: skip
USAGE_COLUMNS: Final = ("task", "node", "cpu", "of", "memory", "of")
UNKNOWN_COLUMNS: Final = ("node", "task", "container", "state")
SCORE_COLUMNS: Final = ("node", "score", "")
SIGNS: Final = {
    "created": "+",
    "changed": "~",
    "restarted": "*",
    "unchanged": "=",
    "removed": "-",
}


def job_rows(jobs: Iterable[JobView]) -> Rows:
    """One row for each job."""
    return [(j["name"], j["state"], j["version"], job_ready(j), j["reason"]) for j in jobs]


def job_ready(job: JobView) -> str:
    """How many of its tasks are as they should be: `4/5`."""
    ready = sum(service["ready"] for service in job["services"])
    return f"{ready}/{sum(service['instances'] for service in job['services'])}"


def service_rows(services: Iterable[ServiceView]) -> Rows:
    """One row for each service of a job."""
    return [
        (
            s["name"],
            s["kind"],
            s["image"],
            f"{s['ready']}/{s['instances']}",
            cores(s["needs"]["cpu_milli"]),
            mib(s["needs"]["memory_mib"]),
            ports(s["ports"]),
        )
        for s in services
    ]


def task_rows(tasks: Iterable[TaskView]) -> Rows:
    """One row for each task."""
    return [
        (t["id"], task_state(t), t["node"], ports(t["ports"]), local_time(t["since"]), task_note(t))
        for t in tasks
    ]


def endpoint_rows(services: Iterable[EndpointsView]) -> Rows:
    """One row for each address, or for a service that has none."""
    rows: Rows = []
    for s in services:
        head = (f"{s['job']}/{s['service']}", f"{s['ready']}/{s['instances']}")
        rows += [
            (
                *head,
                f"{a['host']}:{a['port']}",
                f"{a['container']}/{a['protocol']}",
                a["task"],
                a["node"],
                endpoint_health(a),
            )
            for a in s["addresses"]
        ] or [(*head, "", "", "", "", "")]
    return rows


def endpoint_health(address: AddressView) -> str:
    """Whether it serves: by its health check, or because it runs."""
    if address["healthy"] is None:
        return "running" if address["ready"] else "not ready"
    return "healthy" if address["healthy"] else "unhealthy"


def task_state(task: TaskView) -> str:
    """Its state in a word, as it is felt: a running task may be unhealthy or restarting."""
    if task["restarting"]:
        return "restarting"
    if task["state"] == "running" and task["healthy"] is False:
        return "unhealthy"
    if task["state"] == "running" and not task["ready"]:
        return "running (not ready)"
    return task["state"]


def task_note(task: TaskView) -> str:
    """Why it is where it is, and how often it had to be started again."""
    reason = why_waiting(task) or task["reason"]
    parts = [reason] if reason else []
    if task["restart"]:
        parts.append(f"restarted {times(task['restart'])}")
    if task["state"] == "pending" and task["not_before"]:
        parts.append(f"placed again from {local_time(task['not_before'])}")
    return "; ".join(parts)


def why_waiting(task: TaskView) -> str:
    """The resource, the shortfall and the best node of a task that fits nowhere now."""
    decision = task["decision"]
    if task["state"] != "pending" or decision is None or decision["node"] is not None:
        return ""
    return decision["text"]


def task_details(task: TaskView) -> Rows:
    """A task as names with values."""
    return [
        ("task", task["id"]),
        ("state", task_state(task)),
        ("since", local_time(task["since"])),
        ("reason", why_waiting(task) or task["reason"]),
        ("node", task["node"]),
        ("container", task["container"]),
        ("image", task["image"]),
        ("kind", task["kind"]),
        ("version", task["version"]),
        ("needs", needs(task["needs"])),
        ("gpus", ", ".join(map(str, task["gpus"]))),
        ("ports", ports(task["ports"])),
        ("attempt", task["attempt"]),
        ("restarts", task["restart"]),
        ("failures", task["failures"]),
        ("exit code", task["exit_code"]),
        ("decision", task["decision"]["text"] if task["decision"] and task["node"] else ""),
    ]


def needs(size: SizeView) -> str:
    """What a task counts for."""
    text = f"{cores(size['cpu_milli'])} cores, {mib(size['memory_mib'])}"
    return text + (f", {gpus(size['gpu_milli'])} GPU" if size["gpu_milli"] else "")


def node_rows(nodes: Iterable[NodeView]) -> Rows:
    """One row for each node; sizes are used of all."""
    return [
        (
            n["name"],
            "draining" if n["draining"] and n["state"] == "alive" else n["state"],
            n["engine"],
            n["tasks"],
            f"{cores(n['used']['cpu_milli'])}/{cores(n['capacity']['cpu_milli'])}",
            f"{mib(n['used']['memory_mib'])}/{mib(n['capacity']['memory_mib'])}",
            f"{mib(n['used']['disk_mib'])}/{mib(n['capacity']['disk_mib'])}",
            f"{gpus(n['used']['gpu_milli'])}/{gpus(n['capacity']['gpu_milli'])}",
            n["note"],
        )
        for n in nodes
    ]


def registry_rows(registries: Iterable[RegistryView]) -> Rows:
    """One row for each registry."""
    return [(r["registry"], r["user"]) for r in registries]


def token_rows(tokens: Iterable[TokenView]) -> Rows:
    """One row for each token."""
    return [
        (
            t["name"],
            t["scope"],
            local_time(t["created"]),
            "never" if t["expires"] is None else local_time(t["expires"]),
        )
        for t in tokens
    ]


def load_rows(nodes: Iterable[NodeView]) -> Rows:
    """One row for each node: what its machine uses, beside what its tasks asked for."""
    return [
        (
            n["name"],
            n["tasks"],
            *_of_machine(n["machine"], "cpu_milli", cores),
            f"{cores(n['used']['cpu_milli'])}/{cores(n['capacity']['cpu_milli'])}",
            *_of_machine(n["machine"], "memory_mib", mib),
            f"{mib(n['used']['memory_mib'])}/{mib(n['capacity']['memory_mib'])}",
            *_of_machine(n["machine"], "disk_mib", mib),
        )
        for n in nodes
    ]


def _of_machine(
    machine: MachineView | None, what: _Resource, show: Callable[[int], str]
) -> tuple[str]:
    if machine is None:
        return ("-",)
    used, capacity = machine["used"][what], machine["capacity"][what]
    share = f" {used / capacity:.0%}" if capacity else ""
    return (f"{show(used)}/{show(capacity)}{share}",)


def usage_rows(usage: Iterable[UsageView]) -> Rows:
    """One row for each task, the hungriest first."""
    return [
        (
            u["task"],
            u["node"],
            cores(u["cpu_milli"]),
            cores(u["needs"]["cpu_milli"]),
            mib(u["memory_mib"]),
            mib(u["needs"]["memory_mib"]),
        )
        for u in sorted(usage, key=lambda u: (-u["cpu_milli"], -u["memory_mib"]))
    ]


def unknown_rows(recovery: RecoveryView) -> Rows:
    """One row for each container that the store never knew."""
    return [(u["node"], u["task"], u["container"], u["state"]) for u in recovery["unknown"]]


def event_line(event: EventView) -> str:
    """One line of history."""
    at = local_time(event["at"])
    return f"{event['revision']:>6}  {at}  {event['kind']:<16}  {event['text']}"


def cluster_line(cluster: ClusterView) -> str:
    """The cluster in a line: `policy epvm; 3 nodes alive; tasks: 4 running, 1 completed`."""
    nodes = ", ".join(f"{count} {state}" for state, count in cluster["nodes"].items()) or "none"
    tasks = ", ".join(f"{count} {state}" for state, count in cluster["tasks"].items()) or "none"
    return f"policy {cluster['policy']}; nodes: {nodes}; tasks: {tasks}"


# --- changes and decisions -----------------------------------------------------------------


def change_lines(fields: Iterable[FieldChange], changes: Iterable[ServiceChange]) -> list[str]:
    """What a submit does, a line for each service and for each field that differs."""
    lines = [f"  {field_text(field)}" for field in fields]
    for change in changes:
        sign = SIGNS[change["change"]]
        lines.append(f"  {sign} {change['service']}: {change_text(change)}")
        lines += [f"      {field_text(field)}" for field in change["fields"]]
    return lines


def change_text(change: ServiceChange) -> str:
    """What happens to a service, with its instances where their number changes."""
    before, after = change["instances_before"], change["instances_after"]
    if change["change"] == "created":
        return f"created, {plural(after, 'instance')}"
    if before != after and change["change"] == "changed":
        return f"changed, {before} -> {plural(after, 'instance')}"
    return change["change"]


def field_text(field: FieldChange) -> str:
    """`image: busybox:1 -> busybox:2`."""
    before = "(none)" if field["before"] is None else field["before"]
    after = "(none)" if field["after"] is None else field["after"]
    return f"{field['field']}: {before} -> {after}"


def score_rows(decision: DecisionView) -> Rows:
    """The nodes that were compared, best first, as far as they were kept."""
    rows: Rows = []
    if decision["node"] is not None:
        rows.append((decision["node"], decision["score"], "picked"))
    return rows + [(r["node"], r["score"], "") for r in decision["runners_up"]]


def verdict_rows(now: NowView) -> Rows:
    """Every node with its score, or with why it was turned away."""
    return [
        (
            v["node"],
            v["score"],
            "picked" if v["picked"] else "; ".join(r["text"] for r in v["rejections"]),
        )
        for v in now["verdicts"]
    ]


def placement_table(plans: Sequence[PolicyPlan]) -> tuple[list[str], Rows]:
    """Columns and rows of a comparison: where each policy would put each task."""
    nodes = [{p["task"]: p["node"] or "(waits)" for p in plan["placements"]} for plan in plans]
    names = list(dict.fromkeys(task for plan in nodes for task in plan))
    rows: Rows = [(name, *(plan.get(name, "") for plan in nodes)) for name in names]
    return ["task", *(plan["policy"] for plan in plans)], rows


# --- words ---------------------------------------------------------------------------------


def ports(published: Sequence[PortView]) -> str:
    """`32768->8000/tcp`; a host's port that is not chosen yet is left out."""
    return ", ".join(
        f"{p['host']}->{p['container']}/{p['protocol']}"
        if p["host"] is not None
        else f"{p['container']}/{p['protocol']}"
        for p in published
    )


def cores(milli: int) -> str:
    """Milli-cores as cores: `0.25`."""
    return f"{milli / 1000:g}"


def gpus(milli: int) -> str:
    """GPUs of which shares may be taken: `1.5`."""
    return f"{milli / 1000:g}"


def mib(size: int) -> str:
    """MiB with the unit that reads best: `64M`, `1.5G`."""
    return f"{size}M" if size < 1024 else f"{size / 1024:.4g}G"


def plural(count: int, word: str) -> str:
    """`1 node`, `2 nodes`."""
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def times(count: int) -> str:
    """`once`, `3 times`."""
    return "once" if count == 1 else f"{count} times"
