"""The Standard Workload Format of the Parallel Workloads Archive (version 2.2).

One line per job with 18 fields; lines that begin with `;` are comments. A job of p processors is
one task that asks for p cores, and for its memory where the log tells it: Cube places a task on
one node, so model the machine as one node, or as nodes no smaller than the largest job.
"""

from __future__ import annotations

from pathlib import Path

from sim.arrivals import MICROS, Arrivals
from sim.traces.lines import Gathered, lines, wrong

WHAT = "Standard Workload Format, version 2.2: jobs of parallel computers"
WHERE = "https://www.cs.huji.ac.il/labs/parallel/workload/ (please acknowledge the logs' donors)"
FIELDS = 18
KIB_PER_MIB = 1024

# Fields by their number in the definition, less one.
SUBMIT, RUN, ALLOCATED, USED_KIB, ASKED, ASKED_KIB, STATUS = 1, 3, 4, 6, 7, 9, 10
FAILED, CANCELLED = 0, 5


def read(path: Path) -> Arrivals:
    """The jobs that ran; one that never ran (no run time, no processors) is left out.

    Raises:
        InputError: a line has too few fields, no numbers, or numbers that make no sense.
    """
    gathered = Gathered(path)
    for number, line in lines(path):
        if not line.strip() or line.lstrip().startswith(";"):
            continue
        words = line.split()
        if len(words) != FIELDS:
            raise wrong(path, number, f"a job has {FIELDS} fields, this line {len(words)}")
        try:
            values = [float(word) for word in words]
        except ValueError as error:
            raise wrong(path, number, f"not a number: {error}") from None
        _gather(gathered, number, values)
    return gathered.arrivals()


def _gather(gathered: Gathered, line: int, values: list[float]) -> None:
    processors = int(values[ASKED] if values[ASKED] > 0 else values[ALLOCATED])
    if processors == -1 or values[RUN] == -1:
        return  # it never ran
    if processors <= 0:
        raise wrong(gathered.path, line, f"{processors} processors make no sense")
    kib = values[ASKED_KIB] if values[ASKED_KIB] > 0 else max(values[USED_KIB], 0)
    memory = -(-int(kib * processors) // KIB_PER_MIB)
    failed = int(values[STATUS] in (FAILED, CANCELLED))
    size = (processors * 1000, memory, 0)
    gathered.add(line, values[SUBMIT], values[RUN], size, failed)


def write(arrivals: Arrivals, path: Path) -> None:
    """Write tasks as SWF: whole seconds, whole processors (rounded up), one line per task."""
    half = MICROS // 2
    columns = (
        ((arrivals.at_micros + half) // MICROS).tolist(),
        ((arrivals.run_micros + half) // MICROS).tolist(),
        (-(-arrivals.demand[:, 0] // 1000)).tolist(),
    )
    unknown = "-1 " * 6 + "-1"
    with path.open("w") as file:
        file.write("; Version: 2.2\n")
        for job, (at, run, p) in enumerate(zip(*columns, strict=True), 1):
            file.write(f"{job} {at} -1 {run} {p} -1 -1 {p} {run} -1 1 {unknown}\n")
