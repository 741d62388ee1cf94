"""Whatever a file holds, the reader answers with a job or with problems that have places."""

import json
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from cube.compose import Problem, SpecError, read_job
from cube.compose.interpolate import interpolate

ROOT = Path(__file__).parents[2]
FILES = [path.read_text("utf-8") for path in sorted((ROOT / "tests" / "compose").glob("*.y*ml"))]
PIECES = [
    "\n",
    " ",
    "  ",
    ":",
    "- ",
    "{",
    "}",
    "[",
    "]",
    "'",
    '"',
    "&a ",
    "*a",
    "<<: ",
    "$",
    "${A}",
]
PIECES += [
    "\t",
    "!!x ",
    "#",
    "|",
    ">",
    "?",
    "0",
    "-1",
    "null",
    "true",
    "image",
    "services:",
    "é",
    "\0",
]


def outcome(text: str) -> None:
    """Read `text`; what is raised must be problems with places in it."""
    problems: tuple[Problem, ...] = ()
    try:
        problems = read_job("-", {"DB_PASSWORD": "x"}, stdin=text).warnings
    except SpecError as error:
        problems = error.problems or (Problem("", -1, 0, "refused without a problem"),)
    lines = len(text.splitlines()) + 1
    assert all(problem.text and 0 <= problem.line <= lines for problem in problems)


@settings(max_examples=300)
@given(st.sampled_from(FILES), st.data())
def test_a_damaged_file_is_read_or_refused(text: str, data: st.DataObject) -> None:
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(text)))
        gone = data.draw(st.integers(0, 12))
        text = text[:at] + data.draw(st.sampled_from(PIECES)) + text[at + gone :]
    outcome(text)


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    outcome(text)


WILD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
KEYS = st.sampled_from(
    [
        "image",
        "command",
        "entrypoint",
        "environment",
        "env_file",
        "user",
        "ports",
        "volumes",
        "labels",
        "tmpfs",
        "ulimits",
        "devices",
        "extra_hosts",
        "logging",
        "healthcheck",
        "depends_on",
        "restart",
        "deploy",
        "x-cube",
        "stop_signal",
        "shm_size",
    ]
)


@settings(max_examples=300)
@given(st.dictionaries(KEYS, WILD, max_size=4))
def test_any_value_of_any_key_is_read_or_refused(service: dict[str, object]) -> None:
    outcome(json.dumps({"name": "j", "services": {"a": service}}))


@given(st.text(alphabet=st.characters(exclude_characters="$")))
def test_text_without_a_dollar_sign_is_left_alone(text: str) -> None:
    assert interpolate(text, {}).text == text
    assert interpolate(text.replace("", "$$"), {}).text == text.replace("", "$")


@given(st.text(max_size=40), st.dictionaries(st.sampled_from("ABC"), st.text(max_size=5)))
def test_filling_in_variables_always_ends(text: str, variables: dict[str, str]) -> None:
    interpolate("${A:-" + text, variables)
    interpolate(text, variables)
