"""What Prometheus reads."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from cube.api.metrics import expose
from cube.task import MachineUse, TaskUse
from tests.managers import Driver, placed_and_running, running


def test_metrics_are_what_the_manager_knows() -> None:
    d = Driver(nodes=2)
    task = placed_and_running(d)
    machine = MachineUse(1500, 2000, 512, 2048, 50, 100)
    d.report(
        "node-1",
        running(task),
        machine=machine,
        usage=(TaskUse(task.uid, 1, 250, 3), TaskUse("gone/web/1@1", 1, 9, 9)),
    )
    found = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(expose(d.look()))
        for sample in family.samples
    }
    assert found["cube_tasks", "running", "shop", "web"] == 1
    assert found["cube_node_used_cpu_cores", "node-1"] == 1.5
    assert found["cube_node_used_memory_bytes", "node-1"] == 512 << 20
    assert found["cube_node_reserved_cpu_cores", "node-1"] == 1
    assert found["cube_node_capacity_memory_bytes", "node-2"] == 2000 << 20
    assert ("cube_node_used_cpu_cores", "node-2") not in found  # it is not measured
    assert found["cube_task_cpu_cores", "node-1", "shop/web/1"] == 0.25
    assert [key for key in found if "gone" in str(key)] == []
    assert found["cube_revision_total",] == d.look().revision
