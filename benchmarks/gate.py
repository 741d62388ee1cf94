"""Has a hot path become dearer? Counts instructions, which no other program disturbs.

    python benchmarks/gate.py             compare with benchmarks/instructions.json; exits with 1
    python benchmarks/gate.py --accept    make what is measured now the baseline

Valgrind's cachegrind counts two runs of each operation, one three times as long; their difference
is free of start-up and set-up. What is compared is the ratio to a calibration loop counted in the
same way, which newer versions of Python and NumPy move as they move everything else.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from operations import OPERATIONS

HERE = Path(__file__).parent
BASELINE = HERE / "instructions.json"
SLACK = 1.10  # dearer by more than this fails
TIMES = 3  # the longer run repeats so many times as often as the shorter


def instructions(name: str, repeats: int) -> int:
    """Instructions of a whole process that repeats an operation.

    Raises:
        SystemExit: it failed.
    """
    environment = {
        **os.environ,
        "PYTHONHASHSEED": "0",
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(HERE.parent), str(HERE)]),
    }
    command = ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]
    command += [sys.executable, str(HERE / "operations.py"), name, str(repeats)]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    found = re.search(r"I +refs: +([\d,]+)", run.stderr)
    if run.returncode or found is None:
        sys.exit(f"{name} could not be counted:\n{run.stderr}")
    return int(found[1].replace(",", ""))


def each(name: str) -> float:
    """Instructions of one repetition."""
    repeats = OPERATIONS[name][1]
    short, long = instructions(name, repeats), instructions(name, TIMES * repeats)
    return (long - short) / ((TIMES - 1) * repeats)


def counted(processes: int) -> dict[str, float]:
    """Instructions of each operation."""
    with ThreadPoolExecutor(processes) as pool:
        return dict(zip(OPERATIONS, pool.map(each, OPERATIONS), strict=True))


def main() -> None:
    """Count, compare or accept."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--accept", action="store_true", help="this is the baseline from now on")
    parser.add_argument("--processes", type=int, default=1)
    asked = parser.parse_args()
    now = counted(asked.processes)
    unit = now["calibration"]
    if asked.accept:
        about = {"python": platform.python_version(), "numpy": np.__version__}
        rows = {
            name: {"instructions": round(count), "in_calibrations": round(count / unit, 3)}
            for name, count in now.items()
        }
        BASELINE.write_text(json.dumps({"about": about, "operations": rows}, indent=1) + "\n")
    baseline = json.loads(BASELINE.read_text())["operations"]
    dearer = []
    for name, count in now.items():
        change = count / unit / baseline[name]["in_calibrations"]
        print(f"{name:24} {count:12,.0f} instructions, {change:6.1%} of the baseline")
        if change > SLACK:
            dearer.append(name)
    if dearer:
        sys.exit(
            f"dearer than {SLACK:.0%} of the baseline: {', '.join(dearer)}.\n"
            "Make it cheap again; or, if it is worth that: python benchmarks/gate.py --accept"
        )


if __name__ == "__main__":
    main()
