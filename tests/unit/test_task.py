"""Every pair of state and event; and the page that is drawn from the table.

`python tests/unit/test_task.py` writes that page anew.
"""

from itertools import product
from pathlib import Path

import pytest

from cube.spec import TaskSpec
from cube.task import (
    FINAL,
    PLACED_STATES,
    TABLE,
    Decision,
    Impossible,
    State,
    Task,
    TaskEvent,
    TaskName,
    transition,
)

PAGE = Path(__file__).parents[2] / "docs" / "task-states.md"

# One row per state, one column per event; "-" cannot happen, "then" is what STOPPING was told.
EXPECTED = """
state      placed     started   completed  gave-up  rescheduled  lost     stop      replace   gone
pending    scheduled  -         -          -        -            -        stopped   pending   -
scheduled  -          running   completed  failed   pending      pending  stopping  stopping  -
running    -          running   completed  failed   pending      pending  stopping  stopping  -
stopping   -          stopping  -          -        -            then     stopping  stopping  then
completed  -          -         -          -        -            -        -         -         -
failed     -          -         -          -        -            -        -         -         -
stopped    -          -         -          -        -            -        -         -         -
"""


def expected() -> dict[tuple[State, TaskEvent], str]:
    header, *rows = [line.split() for line in EXPECTED.strip().splitlines()]
    events = [TaskEvent(name.replace("-", " ")) for name in header[1:]]
    assert events == list(TaskEvent)
    assert [row[0] for row in rows] == list(State)
    return {
        (State(row[0]), event): after
        for row in rows
        for event, after in zip(events, row[1:], strict=True)
    }


@pytest.mark.parametrize(("state", "event"), list(product(State, TaskEvent)))
def test_every_pair(state: State, event: TaskEvent) -> None:
    after = expected()[state, event]
    if after == "-":
        with pytest.raises(Impossible, match=f"a {state} task cannot be {event}"):
            transition(state, event)
    elif after == "then":
        assert transition(state, event, "stopped") is State.STOPPED
        assert transition(state, event, "pending") is State.PENDING
    else:
        assert transition(state, event, "stopped") is State(after)
        assert transition(state, event, "pending") is State(after)


def test_final_states_never_revive() -> None:
    assert {state for state, _ in TABLE} == set(State) - FINAL
    assert all(state.final == (state in FINAL) for state in State)


def test_only_placement_takes_resources_and_every_end_gives_them_back() -> None:
    for (state, event), after in TABLE.items():
        held, holds = state.placed, after != "then" and State(after).placed
        assert (event is TaskEvent.PLACED) == (holds and not held)
    assert {state for state in State if state.placed} == PLACED_STATES


def test_every_state_can_be_reached_and_left_for_good() -> None:
    after = {state: set[State]() for state in State}
    for (state, _), state_after in TABLE.items():
        targets = (State.STOPPED, State.PENDING) if state_after == "then" else (State(state_after),)
        after[state].update(targets)

    def reach(state: State) -> set[State]:
        found, new = {state}, [state]
        while new:
            new = [s for s in after[new.pop()] if s not in found] + new
            found.update(new)
        return found

    assert reach(State.PENDING) == set(State)
    assert all(reach(state) & FINAL for state in State)


def test_a_name_is_taken_apart_as_it_was_put_together() -> None:
    task = Task("shop/agent/node-7", 42, "shop", "agent", "node-7", 1, TaskSpec("agent", "busybox"))
    assert TaskName.parse(task.uid) == TaskName("shop", "agent", "node-7", 42)


# --- the page ----------------------------------------------------------------------------


def rendered() -> str:
    """The page, from the table alone."""
    arrows: dict[tuple[str, str], list[str]] = {}
    for (state, event), after in TABLE.items():
        for target in ("stopped", "pending") if after == "then" else (after,):
            label = f"{event}, then {target}" if after == "then" else str(event)
            if target != state:
                arrows.setdefault((state, target), []).append(label)
    diagram = [
        "stateDiagram-v2",
        "    [*] --> pending",
        *(f"    {a} --> {b}: {' / '.join(labels)}" for (a, b), labels in arrows.items()),
        *(f"    {state} --> [*]" for state in State if state.final),
    ]
    events = list(TaskEvent)
    table = [
        f"| state | {' | '.join(events)} |",
        f"|---|{'---|' * len(events)}",
        *(
            f"| **{s}** | {' | '.join(TABLE.get((s, e), '') or '·' for e in events)} |"
            for s in State
        ),
    ]
    return "\n".join(
        [
            "# The states of a task",
            "",
            "Drawn from the table in `cube/task.py` by `python tests/unit/test_task.py`;"
            " a test compares.",
            "",
            "```mermaid",
            *diagram,
            "```",
            "",
            "The whole table. `·` cannot happen; `then` is what the stopping task was told:"
            " `stopped` or `pending`.",
            "Final states never revive: a job submitted anew makes new tasks.",
            "",
            *table,
            "",
        ]
    )


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text() == rendered(), "run: python tests/unit/test_task.py"


if __name__ == "__main__":
    PAGE.write_text(rendered())


@pytest.mark.parametrize(
    "uid", ["", "x", "a/b@1", "a/b/c", "a/b/c@z", "a/b/c@-1", "a b/c/d@1", "a/b/c\n@1", "a/b/c@1\n",
            "a/b/c/d@1", "a/b/c@" + "9" * 19],
)  # fmt: skip
def test_what_only_looks_like_a_task_is_none(uid: str) -> None:
    with pytest.raises(ValueError, match="is no task"):
        TaskName.parse(uid)


def test_a_new_task_waits_for_nothing_and_has_reported_nothing() -> None:
    task = Task("shop/web/1", 1, "shop", "web", "1", 1, TaskSpec("web", "image"))
    assert (task.restart, task.phase, task.not_before, task.submitted) == (0, -1, 0.0, 0)
    decision = Decision(task.uid, None)
    assert (decision.score, decision.feasible, decision.whole) == (0.0, 0, False)
