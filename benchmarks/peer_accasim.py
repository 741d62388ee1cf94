"""Run AccaSim 1.1.3 on an SWF log and write what each job waited; called by `peers.py`.

Imports nothing of Cube, so that it can run under an interpreter of its own. AccaSim was written
for Python 3.5 to 3.9; the three names that have moved since are put back before it is imported.
"""

import collections
import collections.abc
import json
import sys
import time
from pathlib import Path

collections.Mapping = collections.abc.Mapping
time.clock = time.perf_counter

from accasim.base.allocator_class import FirstFit  # noqa: E402
from accasim.base.scheduler_class import FirstInFirstOut  # noqa: E402
from accasim.base.simulator_class import Simulator  # noqa: E402
from accasim.utils.reader_class import DefaultTweaker  # noqa: E402


class OneNode(DefaultTweaker):
    """All processors of a job on one node, as Cube places a task."""

    def tweak_function(self, job: dict) -> dict:
        processors = job["total_processors"]
        job = super().tweak_function(job)
        job["requested_nodes"] = 1
        job["requested_resources"] = {"core": processors}
        return job


def main(log: str, nodes: int, cores: int, folder: str) -> None:
    config = Path(folder) / "system.json"
    system = {
        "system_name": "peers",
        "start_time": 0,
        "equivalence": {"processor": {"core": 1}},
        "groups": {"g0": {"core": cores}},
        "resources": {"g0": nodes},
    }
    config.write_text(json.dumps(system))
    simulator = Simulator(
        log, str(config), FirstInFirstOut(FirstFit()),
        RESULTS_FOLDER_PATH=folder, LOG_LEVEL="ERROR", scheduling_output=False,
        statistics_output=False, show_statistics=False, tweak_function=OneNode(0),
    )  # fmt: skip
    waits: dict[str, int] = {}
    finish = simulator.mapper.finish_event

    def note(job: object) -> None:
        finish(job)
        waits[job.id] = job.waiting_time

    simulator.mapper.finish_event = note
    began = time.process_time()
    simulator.start_simulation()
    seconds = time.process_time() - began
    ordered = [waits[job] for job in sorted(waits, key=int)]
    (Path(folder) / "accasim.json").write_text(json.dumps({"seconds": seconds, "waits": ordered}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
