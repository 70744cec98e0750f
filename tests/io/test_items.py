"""What a walk finds: series as one item, sidecars and run records as none."""

import os
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pydicom.data
import pytest

from latentsr import io
from latentsr.errors import InputError
from latentsr.io.raster import write_pixels

CORPUS = Path(pydicom.data.__file__).parent / "test_files"
AXIAL = CORPUS / "dicomdirtests" / "98892001" / "CT5N"


def _relative(items: list[io.Item]) -> list[str]:
    return [item.relative.as_posix() for item in items]


def test_a_tree_of_all_kinds(tmp_path: Path) -> None:
    write_pixels(tmp_path / "a" / "one.png", np.eye(8, dtype=np.uint8))
    nibabel.Nifti1Image(np.zeros((4, 4, 4), np.int16), np.eye(4)).to_filename(tmp_path / "a" / "sub-01_T1w.nii.gz")
    for name in ("a/sub-01_T1w.json", "a/run.json", "a/.hidden.png", ".cache/x.png", "a/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{}")
    shutil.copytree(AXIAL, tmp_path / "b" / "CT5N")
    items = io.find([tmp_path])
    assert _relative(items) == ["a/notes.txt", "a/one.png", "a/sub-01_T1w.nii.gz", "b/CT5N"]
    assert items[-1].series
    assert len(items[-1].paths) == 5
    assert io.read(items[-1].paths).pixels.shape == (5, 16, 16)


def test_a_series_beside_other_files_gets_a_name_of_its_own(tmp_path: Path) -> None:
    shutil.copytree(AXIAL, tmp_path / "CT")
    write_pixels(tmp_path / "CT" / "one.png", np.eye(8, dtype=np.uint8))
    assert _relative(io.find([tmp_path])) == ["CT/series-5-0", "CT/one.png"]


def test_a_given_series_folder_keeps_its_name(tmp_path: Path) -> None:
    assert _relative(io.find([AXIAL])) == ["CT5N"]


def test_copies_of_one_instance_are_single_items(tmp_path: Path) -> None:
    for name in ("a.dcm", "b.dcm"):
        shutil.copy(CORPUS / "MR_small.dcm", tmp_path / name)
    assert _relative(io.find([tmp_path])) == ["a.dcm", "b.dcm"]


def test_projections_without_a_place_are_single_items(tmp_path: Path) -> None:
    for name in ("CR1/6154", "CR2/6247"):
        dataset = pydicom.dcmread(CORPUS / "dicomdirtests" / "77654033" / name)
        dataset.SeriesInstanceUID = "1.2.3"
        dataset.save_as(tmp_path / Path(name).name)
    assert _relative(io.find([tmp_path])) == ["6154", "6247"]


def test_a_dicomdir_is_no_item_in_a_walk_but_one_when_given() -> None:
    walked = io.find([CORPUS / "dicomdirtests"])
    assert not any("DICOMDIR" in item.relative.name for item in walked)
    assert _relative(io.find([CORPUS / "dicomdirtests" / "DICOMDIR"])) == ["DICOMDIR"]


def test_nothing_there_and_clashes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        io.find([tmp_path / "none"])
    with pytest.raises(InputError, match="no files"):
        io.find([tmp_path])
    for folder in ("a", "b"):
        write_pixels(tmp_path / folder / "x.png", np.eye(8, dtype=np.uint8))
    with pytest.raises(InputError, match=r"x\.png"):
        io.find([tmp_path / "a", tmp_path / "b"])


def test_a_folder_that_cannot_be_listed_is_an_item_that_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("a", "b"):
        write_pixels(tmp_path / folder / "x.png", np.eye(8, dtype=np.uint8))
    scandir = os.scandir

    def refusing(path: str) -> object:
        if Path(path) == tmp_path / "b":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    items = io.find([tmp_path])
    assert [item.paths[0] for item in items] == [tmp_path / "a" / "x.png", tmp_path / "b"]
    with pytest.raises(InputError, match="b cannot be read"):
        io.kind_of(items[1].paths[0])


def test_linked_folders_are_walked_once_and_pipes_are_left_out(tmp_path: Path) -> None:
    inner = tmp_path / "elsewhere"
    inner.mkdir()
    (inner / "a.png").write_bytes(b"x")
    root = tmp_path / "root"
    root.mkdir()
    (root / "link").symlink_to(inner)
    (inner / "round").symlink_to(root)
    os.mkfifo(root / "pipe")
    assert [item.relative.as_posix() for item in io.find([root])] == ["link/a.png"]
