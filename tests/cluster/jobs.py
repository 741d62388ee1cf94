"""What a cluster in a box is given to run: thirty instances, of which one is tied to its data."""

from __future__ import annotations

from cube.spec import JobSpec, Mount, RestartPolicy, TaskSpec

FOREVER = ("sh", "-c", "trap 'exit 0' TERM; sleep 1000000 & wait")
DATA = Mount("volume", "data", "/data")


def service(name: str, instances: int = 1, **more: object) -> TaskSpec:
    """One that runs until it is told to end, and then ends at once."""
    fields = {"command": FOREVER, "cpu_milli": 50, "memory_mib": 16, "instances": instances}
    quick = RestartPolicy(delay_seconds=1.0)
    return TaskSpec(name, "busybox:latest", restart=quick, pull_policy="never", **fields | more)


SHOP = JobSpec(
    "shop",
    (
        *(service(name, 6) for name in ("web", "api", "cart", "pay")),
        service("guard", 5, on_disconnect="stop"),
        service("db", mounts=(DATA,)),
    ),
)
SIDE_JOBS = {name: JobSpec(name, (service("one", 3),)) for name in ("side-1", "side-2")}
