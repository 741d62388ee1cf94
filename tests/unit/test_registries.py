"""Credentials of registries in their file: named, kept, dropped, and what may be wrong with it."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from cube.registries import (
    MOST,
    Credential,
    Registries,
    RegistriesError,
    Unavailable,
    registry_named,
)

ANN = Credential("ann", "s3cret")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("docker.io", "docker.io"),
        ("https://index.docker.io/v1/", "docker.io"),
        (" Registry.Example:5000/team/app ", "registry.example:5000"),
        ("http://10.0.0.7:5000", "10.0.0.7:5000"),
        ("localhost", "localhost"),
        ("[::1]:5000", "[::1]:5000"),
        ("my-registry", "my-registry"),
    ],
)
def test_a_registry_by_any_of_its_names(text: str, name: str) -> None:
    assert registry_named(text) == name


@pytest.mark.parametrize(
    "text",
    ["", "~", "..", "a b", "-x.example", "x..y", "reg:port", "reg:1:2", "x" * 300, "é", ":5"],
)
def test_what_names_no_registry(text: str) -> None:
    with pytest.raises(ValueError, match="name its host"):
        registry_named(text)


def test_credentials_are_kept_for_their_owner_only(tmp_path: Path) -> None:
    kept = Registries(tmp_path / "registries.json")
    assert kept.all() == {}
    kept.put("b.example", ANN)
    kept.put("a.example", Credential("bob", "pässwörd\n"))
    kept.put("b.example", Credential("ann", "new"))
    assert stat.S_IMODE((tmp_path / "registries.json").stat().st_mode) == 0o600
    again = Registries(tmp_path / "registries.json")
    assert again.all() == {
        "a.example": Credential("bob", "pässwörd\n"),
        "b.example": Credential("ann", "new"),
    }
    assert (again.find("b.example"), again.find("c.example")) == (Credential("ann", "new"), None)
    assert (again.drop("b.example"), again.drop("b.example")) == (True, False)
    assert set(kept.all()) == {"a.example"}
    assert "s3cret" not in repr(ANN)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"a.example": {}}', '{"a.example": 3}', "\xff"])
def test_a_damaged_file_is_said_to_be_so_and_is_left_alone(tmp_path: Path, text: str) -> None:
    file = tmp_path / "registries.json"
    file.write_text(text, encoding="latin-1")
    kept = Registries(file)
    for use in (kept.all, lambda: kept.put("a.example", ANN), lambda: kept.drop("a.example")):
        with pytest.raises(RegistriesError, match="Remove it, and log in"):
            use()
    with pytest.raises(Unavailable, match="damaged"):
        kept.find("a.example")
    assert file.read_text(encoding="latin-1") == text


def test_a_disk_without_room_loses_nothing(tmp_path: Path, monkeypatch) -> None:
    kept = Registries(tmp_path / "registries.json")
    kept.put("a.example", ANN)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("cube.registries.replace_file", full)
    for use in (lambda: kept.put("b.example", ANN), lambda: kept.drop("a.example")):
        with pytest.raises(RegistriesError, match="No space left on device"):
            use()
    assert kept.all() == {"a.example": ANN}


def test_there_is_an_end_to_them(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("cube.registries.MOST", 2)
    kept = Registries(tmp_path / "registries.json")
    for name in ("a.example", "b.example", "a.example"):
        kept.put(name, ANN)
    with pytest.raises(RegistriesError, match="cube registry logout"):
        kept.put("c.example", ANN)
    assert MOST > 2
