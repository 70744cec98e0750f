"""Atomic writes: all or nothing, whatever stood there before."""

import errno
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
from pydicom.data import get_testdata_file

from latentsr import io
from latentsr.atomic import exchanging, refuse_existing, replacing_folder
from latentsr.config import write_json
from latentsr.errors import LatentSRError, StaleError
from latentsr.volume import Volume


def test_replacing_renames_at_the_end_and_makes_the_folder(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "a.png"
    with exchanging(target) as part:
        part.write_text("new")
        assert not target.exists()
        assert part.suffix == ".png"
    assert target.read_text() == "new"
    assert list(target.parent.iterdir()) == [target]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(ValueError, match="midway"), exchanging(target) as part:
        part.write_text("half")
        raise ValueError("midway")
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(LatentSRError, match="No space left") as caught, exchanging(tmp_path / "a") as part:
        part.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LatentSRError, match="cannot write"), exchanging(tmp_path / "file" / "a") as part:
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


def _written(path: Path, seed: int) -> Path:
    """Any kind of output at `path`, noise of a seed; the file that the disk cuts short."""
    values = np.random.default_rng(seed).integers(0, 4000, (2, 60, 50)).astype(np.float32)
    volume = Volume.from_array(values if path.name.startswith("series") else values[:1], (1.0, 1.0))
    if path.suffix == ".json":
        write_json(path, values[0, :5].tolist())
    elif path.stem == "map":
        io.write_uncertainty(volume, path, provenance=None, overwrite=True)
    elif path.stem == "derived":
        source = io.read(get_testdata_file("MR_small.dcm", download=False))
        io.write(source.enlarged(np.kron(source.pixels, np.ones((1, 2, 2))), 2), path, provenance=None, overwrite=True)
    else:
        io.write(volume, path, provenance=None, overwrite=True)
    return max(path.iterdir()) if path.is_dir() else path


@pytest.mark.parametrize("name", [
    "a.png", "a.tif", "map.tif", "a.nii", "a.nii.gz", "a.json", "a.dcm", "derived.dcm", "series",
])  # fmt: skip
@pytest.mark.parametrize("missing", [1, 1000])
def test_a_full_disk_leaves_the_old_file_and_says_what_to_do(
    tmp_path: Path, full_disk: Callable[[int], AbstractContextManager[None]], name: str, missing: int
) -> None:
    size = _written(tmp_path / "out" / name, 0).stat().st_size
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with full_disk(size - missing), pytest.raises(LatentSRError) as caught:
        _written(tmp_path / "out" / name, 1)
    assert f"cannot write {tmp_path / 'out' / name}" in str(caught.value)
    assert "free the disk or choose another output folder" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
