"""MRNet trees of the true layout."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from latentsr.config import read_json
from latentsr.data.prepare import prepare_cases
from latentsr.data.recipes.mrnet import MRNet
from latentsr.errors import InputError


def exam(number: int, slices: int = 7) -> np.ndarray:
    return np.random.default_rng(number).integers(10, 200, (slices, 256, 256)).astype(np.uint8)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "MRNet-v1.0"
    for split, numbers in (("train", (0, 1, 12)), ("valid", (1130, 1131))):
        for plane in ("axial", "sagittal"):
            (root / split / plane).mkdir(parents=True)
            for number in numbers:
                np.save(root / split / plane / f"{number:04d}.npy", exam(number))
        (root / f"{split}-acl.csv").write_text("".join(f"{number:04d},{number % 2}\n" for number in numbers))
    return root


def test_exams_are_patients_and_splits_are_the_official(tree: Path, tmp_path: Path) -> None:
    made = prepare_cases("mrnet", MRNet(), tree, tmp_path / "out")
    found = {record.id: (record.patient, record.split, dict(record.attributes)) for record in made.records}
    assert found == {
        "sagittal_0000_middle": ("0000", "train", {"acl": "0"}),
        "sagittal_0001_middle": ("0001", "train", {"acl": "1"}),
        "sagittal_0012_middle": ("0012", "train", {"acl": "0"}),
        "sagittal_1130_middle": ("1130", "valid", {"acl": "0"}),
        "sagittal_1131_middle": ("1131", "valid", {"acl": "1"}),
    }
    record = next(one for one in made.records if one.patient == "1130")
    np.testing.assert_array_equal(made.pixels(record), exam(1130)[3])


def test_several_slices_of_another_plane_over_the_volumes_range(tree: Path, tmp_path: Path) -> None:
    made = prepare_cases("mrnet", MRNet(plane="axial", slices=3, window="volume", train=1), tree, tmp_path / "out")
    assert sum(record.split == "train" for record in made.records) == 3
    record = next(one for one in made.records if one.id == "axial_0000_s003")
    whole = exam(0).astype(float)
    np.testing.assert_allclose(made.image(record), (whole[3] - whole.min()) / np.ptp(whole), atol=1e-4)


def test_as_published_has_lr_files_of_hrs_size(tree: Path, tmp_path: Path) -> None:
    made = prepare_cases("mrnet", MRNet(as_published=True), tree, tmp_path / "out")
    record = next(one for one in made.records if one.patient == "1130")
    plane = exam(1130)[3].astype(float)
    hr = ((plane - plane.min()) / np.ptp(plane) * 255).astype(np.uint8)
    np.testing.assert_array_equal(np.asarray(Image.open(made.root / record.file)), hr)
    lr = np.asarray(Image.open(made.root / record.lr))
    blurred = Image.fromarray(gaussian_filter(hr / 255.0, 1.0).astype(np.float32))
    expected = np.asarray(blurred.resize((128, 128), Image.BICUBIC).resize((256, 256), Image.BICUBIC)) * 255
    assert np.abs(lr - expected)[2:-2, 2:-2].max() <= 1.01  # truncated to 8 bit


def test_exams_without_a_row_of_labels_are_kept_and_counted(tree: Path, tmp_path: Path, run: Callable) -> None:
    (tree / "train-acl.csv").write_text("0000,0\n")
    (tree / "valid-abnormal.csv").write_text("1130,1\n1131,1\n")
    done = run("prepare", "mrnet", tree, "-o", tmp_path / "out")
    assert done.status == 0
    assert "warning: 2 of 5 cases have no row of acl" in done.err
    facts = read_json(tmp_path / "out" / "dataset.json")
    assert (facts["cases"], facts["unlisted"]) == (5, {"abnormal": 3, "acl": 2, "meniscus": 5})
    assert facts["images"] == 5
    again = run("prepare", "mrnet", tree, "-o", tmp_path / "out")
    assert again.err == done.err


@pytest.mark.parametrize("way", ["empty", "cut", "shape", "range", "labels", "twice", "bytes", "splits"])
def test_wrong_trees_are_one_line_and_leave_nothing(tree: Path, tmp_path: Path, way: str) -> None:
    path, words = tree / "train" / "sagittal" / "0001.npy", ""
    if way == "empty":
        tree, words = tmp_path, "expected the folder MRNet"
    elif way == "cut":
        path.write_bytes(path.read_bytes()[:-100])
        words = "not a whole .npy"
    elif way == "shape":
        np.save(path, np.zeros((256, 256), np.uint8))
        words = "expected numbers"
    elif way == "range":
        np.save(path, 300.0 * np.ones((3, 8, 8)))
        words = "beyond 0 to 255"
    elif way == "labels":
        (tree / "train-acl.csv").write_text("0000;1\n")
        words = "line 1: expected 2 values"
    elif way == "twice":
        (tree / "train-acl.csv").write_text("0000,1\n0000,0\n")
        words = "exam 0000: expected one row"
    elif way == "bytes":
        (tree / "train-acl.csv").write_bytes(b"0000,\xff\n")
        words = "CSV table in UTF-8"
    else:
        np.save(tree / "valid" / "sagittal" / "0001.npy", exam(5))
        words = r"1 patient\(s\) stand in several splits"
    with pytest.raises(InputError, match=words) as error:
        prepare_cases("mrnet", MRNet(), tree, tmp_path / "out")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()
