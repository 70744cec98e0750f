"""Atomic writes: all or nothing, whatever stood there before."""

import errno
from pathlib import Path

import pytest

from latentsr.errors import LatentSRError, StaleError
from latentsr.io.atomic import refuse_existing, replacing, replacing_folder


def test_replacing_renames_at_the_end_and_makes_the_folder(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "a.png"
    with replacing(target) as part:
        part.write_text("new")
        assert not target.exists()
        assert part.suffix == ".png"
    assert target.read_text() == "new"
    assert list(target.parent.iterdir()) == [target]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(ValueError, match="midway"), replacing(target) as part:
        part.write_text("half")
        raise ValueError("midway")
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(LatentSRError, match="No space left") as caught, replacing(tmp_path / "a") as part:
        part.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LatentSRError, match="cannot write"), replacing(tmp_path / "file" / "a") as part:
        part.write_text("never")


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    target = tmp_path / "series"
    for content in ("one", "two"):
        with replacing_folder(target) as part:
            (part / content).write_text(content)
        assert [file.name for file in target.iterdir()] == [content]
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_that_fails_keeps_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "series"
    with replacing_folder(target) as part:
        (part / "a").write_text("a")
    with pytest.raises(ValueError, match="midway"), replacing_folder(target) as part:
        raise ValueError("midway")
    assert [file.name for file in target.iterdir()] == ["a"]
    assert list(tmp_path.iterdir()) == [target]


def test_an_existing_output_needs_overwrite(tmp_path: Path) -> None:
    with pytest.raises(StaleError, match="the option overwrite"):
        refuse_existing(tmp_path, overwrite=False)
    refuse_existing(tmp_path, overwrite=True)
    refuse_existing(tmp_path / "none", overwrite=False)
