"""A reader meets the old file or the new one; a failed writing leaves the old one and nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from svitt.atomic import part_pattern, replacing, write_atomically


def test_a_file_is_made_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    for content in (b"old", b"new"):
        write_atomically(path, content)
        assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_the_old_file_stands_until_the_end_and_after_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_atomically(path, b"old")
    with pytest.raises(OSError, match="full"), replacing(path) as part:
        part.write_bytes(b"ne")
        assert path.read_bytes() == b"old" and list(tmp_path.glob(part_pattern(path))) == [part]
        raise OSError("the disk is full")
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_the_content_is_on_the_disk_before_the_name_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.json"
    write_atomically(path, b"old")
    seen: list[tuple[int, bytes]] = []

    def synced(file: int) -> None:
        seen.append((os.fstat(file).st_size, path.read_bytes()))

    monkeypatch.setattr(os, "fsync", synced)
    write_atomically(path, b"longer")
    assert seen == [(6, b"old")]


def test_what_a_killed_writer_left_is_found_and_nothing_else(tmp_path: Path) -> None:
    left = tmp_path / ".a.json.12-34.part"
    for other in (left, tmp_path / ".b.json.12-34.part", tmp_path / "a.json"):
        other.touch()
    assert list(tmp_path.glob(part_pattern(tmp_path / "a.json"))) == [left]


def test_a_file_has_the_rights_of_any_other(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a", b"")
    (tmp_path / "b").touch()
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode
