"""Small experiments that tests share."""

from sim.cluster import Cluster, NodeGroup
from sim.durations import Durations
from sim.scenario import Control, Scenario
from sim.workload import Workload


def small(**changes: object) -> Scenario:
    """Ten nodes and 150 short tasks, few reports: a fraction of a second."""
    workload = {"tasks": 150, "load": 0.9, **changes.pop("workload", {})}
    durations = Durations(mean_seconds=20.0, limit_seconds=60.0)
    fields = {
        "name": "small",
        "cluster": Cluster(groups=(NodeGroup(count=10),)),
        "workload": Workload(**{"durations": durations, **workload}),
        "control": Control(reports_per_second=1.0),
        "warm_up": 0.1,
        **changes,
    }
    return Scenario(**fields)
