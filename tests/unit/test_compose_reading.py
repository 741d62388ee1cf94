"""Files that are no job files, names, paths, and standard input."""

import os
from pathlib import Path

import pytest

from cube import spec
from cube.compose import MAX_BYTES, SpecError, read_job

JOB = "services: {web: {image: x}}\n"


def problem(path: Path | str) -> str:
    with pytest.raises(SpecError) as caught:
        read_job(path, {})
    (found,) = caught.value.problems
    return str(found).removeprefix(f"{path}")


def written(path: Path, content: bytes | str) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_a_missing_file(tmp_path: Path) -> None:
    assert problem(tmp_path / "no.yaml") == ": there is no such file. Check the path."


def test_a_folder(tmp_path: Path) -> None:
    assert problem(tmp_path).startswith(": this is a folder. Name a file in it, as in ")


def test_a_path_that_cannot_be(tmp_path: Path) -> None:
    assert ": cannot be read: " in problem("a\0b")
    written(tmp_path / "file", "x")
    assert ": cannot be read: " in problem(tmp_path / "file" / "below.yaml")


@pytest.mark.parametrize("size", [MAX_BYTES + 1, 10_000_000])
def test_a_large_file_is_refused_by_its_size(tmp_path: Path, size: int) -> None:
    path = written(tmp_path / "a.yaml", b"[" * size)
    assert problem(path) == ": the file is larger than 1 MiB. Split it into several jobs."


def test_a_file_without_end_is_refused() -> None:
    assert problem("/dev/zero") == ": the file is larger than 1 MiB. Split it into several jobs."


def test_text_of_stdin_is_refused_by_its_size() -> None:
    with pytest.raises(SpecError, match="larger than 1 MiB"):
        read_job("-", {}, stdin="ä" * (MAX_BYTES // 2 + 1))


def test_binary_junk(tmp_path: Path) -> None:
    path = written(tmp_path / "a.yaml", bytes(range(256)) * 10)
    assert problem(path) == ": this is not text in UTF-8. Is this really a job file?"


def test_control_characters_are_placed(tmp_path: Path) -> None:
    assert problem(written(tmp_path / "a.yaml", "a: b\n  \0")).startswith(":2:3: character U+0000")


def test_a_byte_order_mark_and_windows_line_ends(tmp_path: Path) -> None:
    path = written(tmp_path / "a.yaml", b"\xef\xbb\xbf" + JOB.replace("\n", "\r\n").encode())
    assert read_job(path, {}).job.services[0].image == "x"


def test_too_many_services(tmp_path: Path) -> None:
    services = "".join(f"  s{i}: {{image: x}}\n" for i in range(1001))
    path = written(tmp_path / "a.yaml", "services:\n" + services)
    assert problem(path).startswith(":1:1: `services` holds more than 1000.")


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("shop.compose.yaml", "shop"),
        ("shop.yml", "shop"),
        ("edge.stack.yml", "edge"),
        ("compose.yaml", "folder"),
        ("docker-compose.yml", "folder"),
        ("docker-compose.prod.yml", "folder"),
    ],
)
def test_the_name_comes_from_the_file(tmp_path: Path, file: str, name: str) -> None:
    (tmp_path / "folder").mkdir()
    path = written(tmp_path / "folder" / file, JOB)
    assert read_job(path, {}).job.name == name
    written(path, "name: own\n" + JOB)
    assert read_job(path, {}).job.name == "own"


def test_a_file_whose_name_cannot_be_a_jobs_name(tmp_path: Path) -> None:
    found = problem(written(tmp_path / "My_Shop.yaml", JOB))
    assert found.startswith(":1:1: 'My_Shop' cannot be a name, which is the default for this file.")
    assert found.endswith("as in my-shop.")


def test_relative_paths_start_at_the_files_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sub").mkdir()
    path = written(
        tmp_path / "sub" / "a.yaml",
        "services: {web: {image: x, volumes: ['./a:/a', '../b:/b', '~/c:/c', '/d/../e:/e']}}",
    )
    monkeypatch.chdir(tmp_path)
    job = read_job("sub/a.yaml", {"HOME": "/home/me"}).job
    assert job.source == str(path)
    sources = [f"{tmp_path}/sub/a", f"{tmp_path}/b", "/home/me/c", "/e"]
    assert [mount.source for mount in job.services[0].mounts] == sources
    assert all(mount.kind == "bind" for mount in job.services[0].mounts)


def test_places_name_the_file_as_it_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path / "a.yaml", "services: {web: {imag: x}}")
    monkeypatch.chdir(tmp_path)
    assert problem("./a.yaml") == ":1:18: unknown key `imag`. Did you mean `image`?"


def test_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = "name: shop\nservices: {web: {image: x, volumes: ['./a:/a']}}"
    job = read_job("-", {}, stdin=text).job
    assert (job.name, job.source) == ("shop", "-")
    assert job.services[0].mounts[0] == spec.Mount("bind", os.path.join(tmp_path, "a"), "/a")
    with pytest.raises(SpecError, match="`name` is missing"):
        read_job("-", {}, stdin=JOB)
