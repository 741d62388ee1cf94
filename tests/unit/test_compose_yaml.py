"""YAML as Compose means it: scalars, merges, duplicate keys, places."""

from typing import Any

import pytest

from cube.compose import loader, scalars
from cube.compose.document import Document, read_document
from cube.compose.problem import SpecError


def document(text: str, **variables: str) -> Document:
    return read_document(text, "f.yaml", variables)


def data(text: str, **variables: str) -> Any:
    result = document(text, **variables)
    assert not result.problems
    return result.data


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("22:22", "22:22"),
        ("no", "no"),
        ("on", "on"),
        ("2004-01-02", "2004-01-02"),
        ("1_000", "1_000"),
        ("true", True),
        ("FALSE", False),
        ("~", None),
        ("", None),
        ("0o17", 15),
        ("017", 17),
        ("0x1F", 31),
        ("-3", -3),
        ("1.10", 1.1),
        ("1e3", 1000.0),
        ("'5'", "5"),
        ("!!str 5", "5"),
    ],
)
def test_scalars_follow_yaml_1_2(text: str, value: object) -> None:
    read = data(f"a: {text}")["a"]
    assert read == value
    assert isinstance(read, type(value))


def test_numbers_remember_how_they_were_written() -> None:
    read = data("a: 1.10\nb: 0755\nc: true\nd: .inf")
    assert [scalars.as_text(read[key]) for key in "abcd"] == ["1.10", "0755", "true", ".inf"]


def test_a_variable_in_a_value_makes_text_that_hides_its_value_in_messages() -> None:
    read = data("a: ${SECRET}", SECRET="12")["a"]
    assert read == "12"
    assert scalars.shown(read) == "'${SECRET}'"


def test_long_values_are_shortened_in_messages() -> None:
    assert len(scalars.shown("x" * 1000)) < 70


def test_merges_add_what_is_missing_and_the_first_merge_wins() -> None:
    text = "a: &a {x: 1, y: 1}\nb: &b {y: 2, z: 2}\nc: {<<: [*a, *b], x: 3}\nd: {<<: *b}"
    read = data(text)
    assert read["c"] == {"x": 3, "y": 1, "z": 2}
    assert read["d"] == {"y": 2, "z": 2}


def test_places_are_lines_and_columns_and_merged_values_keep_theirs() -> None:
    text = "a: &a\n  x: 1\nb:\n  <<: *a\n  list: [10,\n    20]\n"
    read = document(text)
    assert read.place(("a", "x")) == (2, 6)
    assert read.place(("b", "x")) == (2, 6)
    assert read.place(("b", "list", 1)) == (6, 5)
    assert read.place(("b", "list"), at_key=True) == (5, 3)
    assert read.place(("b", "list", 7, "deeper")) == (5, 3)


def test_every_duplicate_key_is_reported() -> None:
    read = document("a: 1\nb: {c: 1, c: 2}\na: 2\n")
    assert [(p.line, p.column, p.text) for p in read.problems] == [
        (2, 11, "`c` is written twice; first in line 2"),
        (3, 1, "`a` is written twice; first in line 1"),
    ]
    assert read.data["a"] == 1


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("a:\n\tb: 1\n", (2, 1), "a tab stands where only spaces may"),
        ("a: b: c\n", (1, 5), "a colon is not allowed here"),
        ("a: @x\n", (1, 4), "a value cannot begin with '@'"),
        ("a: 'x\n", (2, 1), "ends inside a quoted text"),
        ("a: [1, 2\nb: 3\n", (2, 2), "flow sequence"),
        ("a: *b\n", (1, 4), "alias `*b` has no anchor"),
        ("a: &a [*a]\n", (1, 8), "within its own anchor"),
        ("a: !!python/object x\n", (1, 4), "tag `!!python/object` is not supported"),
        ("a: b\n---\nc: d\n", (2, 1), "a second document"),
        ("- a\n", (1, 1), "this is a list"),
        ("hello\n", (1, 1), "this is a single value"),
        ("", (1, 1), "the file is empty"),
        ("# nothing\n", (1, 1), "the file is empty"),
        ("a: b\n\x07c: d", (2, 1), "U+0007"),
        ("a: " + "[" * 60, (1, 53), "more than 50 levels"),
    ],
)
def test_what_is_no_job_file_is_one_clear_error(
    text: str, place: tuple[int, int], words: str
) -> None:
    with pytest.raises(SpecError) as caught:
        document(text)
    (problem,) = caught.value.problems
    assert words in problem.text
    assert (problem.line, problem.column) == place
    assert problem.remedy.endswith((".", "?"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("? [a]\n: b\n", "cannot be a key"),
        ("a: {<<: 3}", "`<<` takes a mapping"),
        ("a: {<<: {b: 1}, <<: {c: 1}}", "`<<` is written twice"),
    ],
)
def test_odd_keys_are_reported(text: str, words: str) -> None:
    (problem,) = document(text).problems
    assert words in problem.text


def test_aliases_are_counted_expanded() -> None:
    layers = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    layers += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    with pytest.raises(SpecError, match="100,000 values"):
        document("\n".join(layers))


def test_the_slow_parser_finds_the_same_places(monkeypatch: pytest.MonkeyPatch) -> None:
    import yaml

    text = "a: &a\n  x: [1, '2']\nb: *a\nc: |\n  text\n"
    fast = loader.parse(text, "f")
    monkeypatch.setattr(loader, "_PARSER", yaml.SafeLoader)
    assert loader.parse(text, "f") == fast
