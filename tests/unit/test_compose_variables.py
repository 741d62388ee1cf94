"""Variables in values, `.env`, `env_file` and `environment`."""

from pathlib import Path

import pytest

from cube.compose import SpecError, read_job
from cube.compose.dotenv import read_variables
from cube.compose.interpolate import interpolate

VARIABLES = {"A": "1", "EMPTY": "", "B": "${A}"}


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("plain", "plain"),
        ("$A-${A}", "1-1"),
        ("$$A $${A}", "$A ${A}"),
        ("${B}", "${A}"),  # values are not looked into again
        ("${A:-x}", "1"),
        ("${EMPTY:-x}", "x"),
        ("${EMPTY-x}", ""),
        ("${NONE-x}", "x"),
        ("${NONE:-${A}y}", "1y"),
        ("${NONE:-a $$b c}", "a $b c"),
        ("${A:+x}", "x"),
        ("${EMPTY:+x}", ""),
        ("${EMPTY+x}", "x"),
        ("${NONE+x}", ""),
        ("${A:?no}", "1"),
        ("${EMPTY?no}", ""),
        ("${NONE}", ""),
        ("${NONE:-}", ""),
        ("${A:-${NONE:?unused}}", "1"),
    ],
)
def test_interpolation(text: str, result: str) -> None:
    substituted = interpolate(text, VARIABLES)
    assert substituted.text == result
    assert not substituted.faults


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("${NONE:?set it}", "variable NONE is not set: set it"),
        ("${EMPTY:?}", "variable EMPTY is empty"),
        ("${NONE?for $A}", "variable NONE is not set: for 1"),
        ("100$", "'$' is not a variable"),
        ("$5", "'$5' is not a variable"),
        ("${A", "'${A' lacks its closing brace"),
        ("${A!x}", "'${A!x}' is not understood"),
        ("${}", "'${}' is not a variable"),
    ],
)
def test_faults_of_variables(text: str, fault: str) -> None:
    substituted = interpolate(text, VARIABLES)
    assert [found.text for found in substituted.faults] == [fault]


def test_deep_nesting_of_defaults_is_refused() -> None:
    assert "not understood" in interpolate("${N:-" * 30 + "}" * 30, {}).faults[0].text


def test_all_faults_and_unset_names_of_a_text_are_found() -> None:
    substituted = interpolate("${X:?a} $Y ${Z:?b}", {})
    assert len(substituted.faults) == 2
    assert substituted.unset == ("Y",)


def test_env_files() -> None:
    text = """
# a comment
PLAIN=a b  # comment
export EXPORTED = x
SINGLE='$A # kept'
DOUBLE="$A\\n\\$A \\"q\\""
LINES="one
two"
FROM_ABOVE=${PLAIN}!
HASH=a#b
EMPTY=
A
ABSENT
dotted.name=1
"""
    found, problems = read_variables(text, ".env", {"A": "1"})
    assert not problems
    assert found == {
        "PLAIN": "a b",
        "EXPORTED": "x",
        "SINGLE": "$A # kept",
        "DOUBLE": '1\n$A "q"',
        "LINES": "one\ntwo",
        "FROM_ABOVE": "a b!",
        "HASH": "a#b",
        "EMPTY": "",
        "A": "1",
        "dotted.name": "1",
    }


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("A=1\n=2\n", 2, "not NAME=value"),
        ("A=1\n2B=2\n", 2, "not NAME=value"),
        ("A='x\n", 1, "quote of A is not closed"),
        ('A=1\n\nB="x" y\n', 3, "quote of B is not closed"),
        ("A=1\nB=${C:?must}\n", 2, "variable C is not set: must"),
    ],
)
def test_bad_env_files_name_their_line(text: str, line: int, words: str) -> None:
    (problem,) = read_variables(text, "x.env", {})[1]
    assert (problem.file, problem.line) == ("x.env", line)
    assert words in problem.text


def test_the_environment_goes_before_dotenv(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("TAG=1\nOTHER=2\n")
    path = tmp_path / "a.yaml"
    path.write_text("services: {web: {image: 'web:${TAG}-${OTHER}'}}")
    assert read_job(path, {"TAG": "9"}).job.services[0].image == "web:9-2"
    assert read_job(path, {}).job.services[0].image == "web:1-2"


def test_problems_of_dotenv_come_with_those_of_the_file(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("?\n")
    path = tmp_path / "a.yaml"
    path.write_text("services: {web: {imag: x}}")
    with pytest.raises(SpecError) as caught:
        read_job(path, {})
    assert [Path(p.file).name for p in caught.value.problems] == [".env", "a.yaml"]
    path.write_text("services: {web: {imag: 'x}}")
    with pytest.raises(SpecError) as caught:
        read_job(path, {})
    assert [Path(p.file).name for p in caught.value.problems] == [".env", "a.yaml"]


def test_environment_goes_before_env_files_and_takes_values_from_outside(tmp_path: Path) -> None:
    (tmp_path / "one.env").write_text("A=one\nB=one\nC=one\n")
    (tmp_path / "two.env").write_text("B=two\n")
    path = tmp_path / "a.yaml"
    path.write_text(
        "services: {web: {image: x, env_file: [one.env, {path: two.env}, {path: no, required: "
        "false}], environment: {C: 3, D: , E: , F: 1.10, G: true}}}"
    )
    (web,) = read_job(path, {"D": "outside"}).job.services
    assert dict(web.environment) == {
        "A": "one",
        "B": "two",
        "C": "3",
        "D": "outside",
        "F": "1.10",
        "G": "true",
    }


def test_env_files_that_are_missing_or_bad_are_told_with_the_rest(tmp_path: Path) -> None:
    (tmp_path / "bad.env").write_text("ok=1\n!\n")
    path = tmp_path / "a.yaml"
    path.write_text(
        "services:\n  web:\n    image: x\n    env_file: [no.env, bad.env]\n    tty: true"
    )
    with pytest.raises(SpecError) as caught:
        read_job(path, {})
    found = [(Path(p.file).name, p.line, p.column) for p in caught.value.problems]
    assert sorted(found) == [("a.yaml", 4, 16), ("a.yaml", 5, 5), ("bad.env", 2, 1)]


def test_an_unset_variable_is_warned_about_once(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("services: {web: {image: 'a$X', labels: {l: $X}}}")
    (warning,) = read_job(path, {}).warnings
    assert warning.text == "variable X is not set"
