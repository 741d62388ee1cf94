"""Policies: their formulas, their names and their texts."""

from __future__ import annotations

import math
import subprocess
import sys
from importlib.metadata import EntryPoint

import numpy as np
import pytest
from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__

from cube.fleet import Fleet, Floats, Rows
from cube.messages import NodeInfo, NodeRow, Question
from cube.placement import Placer
from cube.policies import (
    EpvmPaper,
    FirstFit,
    Policy,
    PolicyError,
    make_policy,
    policy,
    policy_names,
    registry,
)
from cube.spec import Demand


@policy(row_local=True)
def tight(fleet: Fleet, task: Demand, rows: Rows, *, weight: float = 0.5) -> Floats:
    """Leaves little."""
    cpu = (fleet.cpu_free_milli[rows] - task.cpu_milli) / fleet.cpu_milli[rows]
    memory = (fleet.memory_free_mib[rows] - task.memory_mib) / fleet.memory_mib[rows]
    return weight * cpu + (1 - weight) * memory


@policy
def needy(fleet: Fleet, task: Demand, rows: Rows, *, must: float) -> Floats:
    return np.full(len(rows), must)


def undecorated(fleet: Fleet, task: Demand, rows: Rows, *, shift: int = 0) -> Floats:
    return rows + float(shift)


ready = FirstFit()
not_a_policy = 7


def fleet_of(*used: tuple[int, int, int], load: int = 0) -> Fleet:
    fleet = Fleet()
    for row, (cpu, memory, tasks) in enumerate(used):
        info = NodeInfo(f"n{row}", 1000, 2000, 0)
        fleet.set_row(NodeRow(row, info, True, cpu, memory, 0, tasks, load * row))
    return fleet


def score(made: Policy, fleet: Fleet, demand: Demand) -> list[float]:
    scores = made.score(fleet, demand, np.arange(len(fleet)))
    assert scores.dtype == np.float64
    return [float(s) for s in scores]


# --- formulas ----------------------------------------------------------------------------


def test_epvm_is_the_marginal_cost_by_powers_of_the_number_of_nodes() -> None:
    fleet = fleet_of((0, 0, 0), (500, 200, 1), (900, 1500, 2))
    expected = [
        3 ** ((c + 100) / 1000) - 3 ** (c / 1000) + 3 ** ((m + 300) / 2000) - 3 ** (m / 2000)
        for c, m in ((0, 0), (500, 200), (900, 1500))
    ]
    assert score(make_policy("epvm"), fleet, Demand(100, 300)) == pytest.approx(expected)


def test_epvm_takes_another_base_and_counts_a_lone_node_as_two() -> None:
    fleet = fleet_of((500, 0, 0))
    assert score(make_policy("epvm(base=10)"), fleet, Demand(100, 0)) == pytest.approx(
        [10**0.6 - 10**0.5]
    )
    assert score(make_policy("epvm"), fleet, Demand(100, 0)) == pytest.approx([2**0.6 - 2**0.5])


def test_epvm_leaves_out_what_a_node_lacks_and_the_task_does_not_need() -> None:
    fleet = fleet_of((0, 0, 0))
    assert fleet.disk_mib.tolist() == [0]
    scores = score(make_policy("epvm"), fleet, Demand(100, 100, 0))
    assert all(map(math.isfinite, scores))


def test_epvm_survives_nodes_that_hold_far_more_than_they_have() -> None:
    fleet = fleet_of((10**9, 10**9, 10**6), (0, 0, 0))
    for name in ("epvm", "epvm-paper", "epvm-book"):
        made = make_policy(name)
        assert Placer(fleet, made).decide(Demand(100, 100)).row == 1
        fleet.touch(0)
        with np.errstate(invalid="ignore"):  # infinite power of a resource that is not asked for
            again = made.score(fleet, Demand(100, 100), np.array([0, 1]))
        assert math.isfinite(again[1])
        assert not again[0] <= again[1]


def test_the_papers_version_counts_jobs_against_a_maximum_that_doubles() -> None:
    fleet = fleet_of((0, 0, 0), (0, 500, 1), (0, 0, 0))
    made = make_policy("epvm-paper")
    assert isinstance(made, EpvmPaper)
    expected = [
        3 ** ((m + 100) / 2000) - 3 ** (m / 2000) + 3 ** (jobs + 1) - 3**jobs
        for m, jobs in ((0, 0), (500, 1), (0, 0))
    ]
    assert score(made, fleet, Demand(0, 100)) == pytest.approx(expected)
    assert made.max_jobs == 1
    for _ in range(3):
        fleet.take(1, Demand(0, 0))
    assert score(made, fleet, Demand(0, 0)) == pytest.approx(
        [3**0.25 - 1, 3**1.25 - 3, 3**0.25 - 1]
    )
    assert made.max_jobs == 4
    fleet.give(1, Demand(0, 0))
    made.score(fleet, Demand(0, 0), np.arange(3))
    assert made.max_jobs == 4  # what was discovered stays
    assert str(make_policy("epvm-paper(max_jobs=8)")) == "epvm-paper(max_jobs=8)"


def test_the_teaching_version_ignores_cpu_and_counts_jobs_twice() -> None:
    lieb = 8 * math.sqrt(3) / 9
    fleet = fleet_of((0, 400, 2), (900, 400, 2), (0, 0, 3))

    def marginal(memory: int, tasks: int) -> float:
        jobs = lieb ** ((tasks + 1) / 4) - lieb ** (tasks / 4)
        return lieb ** ((memory + 100) / 2000) - lieb ** (memory / 2000) + 2 * jobs

    expected = [marginal(400, 2), marginal(400, 2), marginal(0, 3)]
    scores = score(make_policy("epvm-book"), fleet, Demand(100, 100))
    assert scores == pytest.approx(expected)
    assert scores[0] == scores[1]


def test_a_policy_follows_another_fleet() -> None:
    made = make_policy("epvm")
    one, two = fleet_of((0, 0, 0)), Fleet()
    two.set_row(NodeRow(0, NodeInfo("n0", 10, 10, 0), True, 5))
    fresh = score(make_policy("epvm"), two, Demand(5, 5))
    score(made, one, Demand(5, 5))
    assert score(made, two, Demand(5, 5)) == fresh


@pytest.mark.parametrize("name", ["epvm", "epvm(base=2)", "epvm-paper", "epvm-book"])
def test_powers_follow_a_fleet_that_grows(name: str) -> None:
    fleet, made = fleet_of((100, 100, 1)), make_policy(name)
    for row in range(1, 40):
        info = NodeInfo(f"n{row}", 1000, 2000, 0)
        fleet.set_row(NodeRow(row, info, True, 10 * row, 5 * row, 0, row % 2))
        grown = score(made, fleet, Demand(5, 5))
        assert grown == score(make_policy(name), fleet, Demand(5, 5))


def test_best_and_worst_fit_look_at_what_stays_free() -> None:
    fleet = fleet_of((100, 100, 0), (600, 0, 0))
    expected = [800 / 1000 + 1700 / 2000, 300 / 1000 + 1800 / 2000]
    assert score(make_policy("best-fit"), fleet, Demand(100, 200)) == pytest.approx(expected)
    assert score(make_policy("worst-fit"), fleet, Demand(100, 200)) == pytest.approx(
        [-e for e in expected]
    )
    assert score(make_policy("best-fit"), fleet, Demand(100, 0)) == pytest.approx([0.8, 0.3])


def test_first_fit_and_greedy() -> None:
    fleet = fleet_of((0, 0, 0), (0, 0, 0), load=250)
    assert score(make_policy("first-fit"), fleet, Demand(1, 1)) == [0.0, 1.0]
    assert score(make_policy("greedy"), fleet, Demand(1, 1)) == [0.0, 0.25]


def test_random_draws_evenly_and_by_its_seed() -> None:
    fleet = fleet_of(*[(0, 0, 0)] * 4)
    demand = Demand(0, 0)

    def rows(seed: int) -> list[int | None]:
        placer = Placer(fleet, make_policy(f"random(seed={seed})"))
        question = Question(demand, tuple(map(str, range(2000))))
        return [d.row for d in placer.place((question,), (0,) * 2000)]

    drawn = rows(1)
    assert drawn == rows(1)
    assert drawn != rows(2)
    counts = [drawn.count(row) for row in range(4)]
    assert all(abs(count - 500) < 80 for count in counts)  # four standard deviations
    pairs = [drawn[i : i + 2].count(0) == 2 for i in range(1999)]
    assert abs(sum(pairs) - 125) < 50


# --- names and texts ---------------------------------------------------------------------

OWN = ("epvm", "epvm-paper", "epvm-book", "round-robin", "greedy", "best-fit", "worst-fit",
       "first-fit", "dot-product", "hybrid", "fgd", "nomad-binpack", "least-allocated",
       "most-allocated", "two-choices", "random")  # fmt: skip


def test_every_own_policy_is_named_documented_and_round_trips() -> None:
    assert policy_names()[: len(OWN)] == OWN
    for name in OWN:
        made = make_policy(name)
        assert str(made) == name
        assert str(make_policy(str(made))) == name
        assert any(sign in (made.__doc__ or "") for sign in "=*"), f"{name} gives no formula"


@pytest.mark.parametrize(
    "text",
    [
        "epvm(base=1.54)",
        "random(seed=7)",
        "epvm-book(base=2, max_jobs=3)",
        f"{__name__}:tight",
        f"{__name__}:tight(weight=0.7)",
        f"{__name__}:undecorated(shift=2)",
        f"{__name__}:ready",
        "cube.policies:BestFit",
    ],
)
def test_texts_round_trip(text: str) -> None:
    assert str(make_policy(text)) == text


def test_defaults_are_left_out_of_the_text() -> None:
    assert str(make_policy(" epvm ( base = None ) ")) == "epvm"
    assert str(tight(weight=0.5)) == f"{__name__}:tight"


def test_a_decorated_function_is_configured_by_calling_it() -> None:
    made = tight(weight=0.7)
    assert made.row_local
    assert str(made) == f"{__name__}:tight(weight=0.7)"
    assert make_policy(made) is made
    assert str(make_policy(tight)) == f"{__name__}:tight"
    assert tight.__doc__ == "Leaves little."
    fleet = fleet_of((100, 0, 0))
    assert score(made, fleet, Demand(100, 200)) == pytest.approx([0.7 * 0.8 + 0.3 * 0.9])


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("epvn", "there is no policy 'epvn'; did you mean epvm?"),
        ("zzz", "there is no policy 'zzz'; there are epvm, epvm-paper, .* as package.module:name"),
        ("", "'' is not a policy; write NAME"),
        ("epvm(", "is not a policy; write NAME"),
        ("epvm(bas=2)", "policy epvm has no parameter 'bas'; it has: base"),
        ("best-fit(x=2)", "policy best-fit has no parameter 'x'; it has none"),
        ("epvm(base=1)", "policy epvm: base must be a number above 1, not 1"),
        ("epvm(base=True)", "policy epvm: base must be a number above 1, not True"),
        ("epvm-paper(max_jobs=0)", "max_jobs must be a number above 0, not 0"),
        ("random(seed='x')", "policy random: seed must be a whole number, not 'x'"),
        ("epvm(2)", "cannot read the parameters of policy epvm"),
        ("epvm(base=2, base=3)", "cannot read the parameters of policy epvm"),
        ("epvm(base=print(1))", "cannot read the parameters of policy epvm"),
        ("epvm(**{'base': 2})", "cannot read the parameters of policy epvm"),
        ("no.such:thing", "policy no.such:thing: cannot import no.such: ModuleNotFoundError"),
        (f"{__name__}:tigt", "has no 'tigt'; did you mean tight?"),
        (f"{__name__}:not_a_policy", "is a int, not a policy; decorate a function"),
        (f"{__name__}:ready(x=1)", "is a FirstFit, not a policy"),
        (f"{__name__}:needy", "needs its parameter 'must'; it has: must"),
    ],
)
def test_bad_texts_say_what_would_be_right(text: str, error: str) -> None:
    with pytest.raises(PolicyError, match=error):
        make_policy(text)


def test_policies_of_installed_packages_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [
        EntryPoint("snug", f"{__name__}:tight", registry.ENTRY_POINTS),
        EntryPoint("broken", "no.such:thing", registry.ENTRY_POINTS),
    ]
    monkeypatch.setattr(registry, "entry_points", lambda group: points)
    assert policy_names() == (*OWN, "broken", "snug")
    assert str(make_policy("snug(weight=0.2)")) == "snug(weight=0.2)"
    with pytest.raises(PolicyError, match="policy broken cannot be loaded"):
        make_policy("broken")


def test_scores_are_the_same_without_vector_instructions() -> None:
    program = (
        "import numpy as np\n"
        "from cube.fleet import Fleet\n"
        "from cube.messages import NodeInfo, NodeRow\n"
        "from cube.policies import make_policy, policy_names\n"
        "from cube.spec import Demand\n"
        "fleet = Fleet()\n"
        "for row in range(997):\n"
        "    info = NodeInfo(f'n{row}', 1000 + row % 7, 4096 + row % 5, row % 3)\n"
        "    fleet.set_row(NodeRow(row, info, True, row, 3 * row, 0, row % 9, row))\n"
        "rows = np.arange(997)\n"
        "for name in policy_names():\n"
        "    made = make_policy(name)\n"
        "    print(made.score(fleet, Demand(37, 41), rows).tobytes().hex())\n"
    )
    dispatched = [name for name in __cpu_dispatch__ if __cpu_features__.get(name)]
    runs = [
        subprocess.run(
            [sys.executable, "-W", "error", "-c", program],
            env={"NPY_DISABLE_CPU_FEATURES": disabled} if disabled else {},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for disabled in ("", " ".join(dispatched))
    ]
    assert len(runs[0]) > 9 * 997 * 16
    assert runs[0] == runs[1]
