"""BraTS trees of the true layout, against a plain implementation of the study's choices."""

import random
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from latentsr.data.prepare import prepare_cases
from latentsr.data.recipes.brats import BraTS
from latentsr.errors import InputError, OptionError, StaleError

SHAPE = (24, 20, 40)
CASES = ("BraTS-GLI-00021-000", "BraTS-GLI-00021-001", "BraTS-GLI-00005-000", "BraTS-GLI-01234-000")


def volume(seed: int) -> np.ndarray:
    """Noise in a ball that is brightest in the middle, as int16 (x, y, z)."""
    grid = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij"))
    ball = np.clip(1 - np.square(grid).sum(axis=0), 0, 1)
    return (900 * ball * np.random.default_rng(seed).uniform(0.5, 1, SHAPE)).astype(np.int16)


def write(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.Nifti1Image(array, np.diag([-1.0, -1.0, 1.0, 1.0])).to_filename(path)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "ASNR-MICCAI-BraTS2023-GLI-Challenge-TrainingData"
    for number, name in enumerate(CASES):
        for sequence in ("t1c", "t1n", "t2f", "t2w"):
            write(root / name / f"{name}-{sequence}.nii.gz", volume(number))
        write(root / name / f"{name}-seg.nii.gz", (volume(number) > 700).astype(np.int16) * 3)
    return root


def test_patients_stay_in_one_split_and_slices_keep_their_orientation(tree: Path, tmp_path: Path) -> None:
    made = prepare_cases("brats", BraTS(slices=3, split="0.34,0.33,0.33"), tree, tmp_path / "out")
    assert {record.patient for record in made.records} == {"00021", "00005", "01234"}
    splits = {record.patient: set() for record in made.records}
    for record in made.records:
        splits[record.patient].add(record.split)
    assert all(len(found) == 1 for found in splits.values())
    assert set.union(*splits.values()) == {"train", "valid", "test"}
    record = next(one for one in made.records if one.id.startswith("BraTS-GLI-00021-001-z"))
    z, whole = int(record.id[-3:]), volume(1)
    np.testing.assert_allclose(made.image(record), whole[:, :, z].T / whole.max(), atol=1e-4)  # rows along y
    assert record.attributes == {"time_point": "001"}
    assert record.spacing == (1.0, 1.0)
    assert (made.root / record.mask).is_file()
    assert not record.lr


def test_as_published_is_the_studys_own_code_in_words(tree: Path, tmp_path: Path) -> None:
    made = prepare_cases("brats", BraTS(as_published=True), tree, tmp_path / "out")
    names = sorted(CASES)
    random.Random(42).shuffle(names)
    assert {record.split for record in made.records} == {"train"}  # of four cases the first two hundred
    for name in names:
        array = volume(CASES.index(name)).astype(np.float64)
        depth = array.shape[2]
        usable = [
            z for z in range(int(0.25 * depth), int(0.75 * depth)) if array[:, :, z].max() > array.mean() + array.std()
        ]
        for rank, z in enumerate(sorted(random.Random(42).sample(usable, min(20, len(usable))))):
            record = next(one for one in made.records if one.id == f"brats_{name}_z{rank:02d}")
            plane = array[:, :, z]
            grey = Image.fromarray(((plane - plane.min()) / (plane.max() - plane.min()) * 255).astype(np.uint8))
            for file, side in ((record.file, 256), (record.lr, 64)):
                expected = np.asarray(grey.resize((side, side), Image.LANCZOS))
                np.testing.assert_array_equal(np.asarray(Image.open(made.root / file)), expected)
            region = Image.fromarray((plane > 700).astype(np.uint8) * 255).resize((256, 256), Image.NEAREST)
            np.testing.assert_array_equal(np.asarray(Image.open(made.root / record.mask)), np.asarray(region))


def test_a_patient_of_two_splits_is_said(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from latentsr.config import read_json

    monkeypatch.setattr("latentsr.data.recipes.brats.CASES", (1, 1, 2))
    prepare_cases("brats", BraTS(as_published=True), tree, tmp_path / "out")
    names = sorted(CASES)
    random.Random(42).shuffle(names)
    apart = dict(zip(names, ("train", "valid", "test", "test"), strict=True))
    shared = apart["BraTS-GLI-00021-000"] != apart["BraTS-GLI-00021-001"]
    assert read_json(tmp_path / "out" / "dataset.json")["patients_in_several_splits"] == int(shared)


def test_mirrors_that_nest_folders_are_read(tree: Path, tmp_path: Path) -> None:
    first, second = CASES[:2]
    (tree / first).rename(tree / "x")
    (tree / first).mkdir()
    (tree / "x").rename(tree / first / first)
    file = tree / second / f"{second}-t2w.nii.gz"
    folder = tree / second / f"{second}-t2w.nii"
    folder.mkdir()
    nibabel.load(file).to_filename(folder / "other.nii")
    file.unlink()
    made = prepare_cases("brats", BraTS(slices=1), tree, tmp_path / "out")
    assert len(made.records) == 4


@pytest.mark.parametrize("way", ["no case", "twice", "sequence", "cut", "mask", "shares"])
def test_wrong_trees_and_options_are_one_line_and_leave_nothing(tree: Path, tmp_path: Path, way: str) -> None:
    recipe, words, kind = BraTS(slices=2), "", InputError
    name = CASES[1]
    if way == "no case":
        shutil.rmtree(tree)
        tree.mkdir()
        words = "no folder BraTS"
    elif way == "twice":
        shutil.copytree(tree / name, tree / "more" / name)
        words = "the same case as"
    elif way == "sequence":
        (tree / name / f"{name}-t2w.nii.gz").unlink()
        words = f"1 of 4 cases lack t2w, the first {name}"
    elif way == "cut":
        path = tree / name / f"{name}-t2w.nii.gz"
        path.write_bytes(path.read_bytes()[:-60])
        words = "whole"
    elif way == "mask":
        write(tree / name / f"{name}-seg.nii.gz", np.zeros((3, 3, 3), np.int16))
        words = "voxels"
    elif way == "shares":
        recipe, words, kind = BraTS(split="0.8,0.8,0.1"), "add up to 1", OptionError
    with pytest.raises(kind, match=words) as error:
        prepare_cases("brats", recipe, tree, tmp_path / "out")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_the_same_again_is_kept_and_another_refused(tree: Path, tmp_path: Path) -> None:
    first = prepare_cases("brats", BraTS(slices=1), tree, tmp_path / "out")
    assert prepare_cases("brats", BraTS(slices=1), tree, tmp_path / "out").hash == first.hash
    with pytest.raises(StaleError):
        prepare_cases("brats", BraTS(slices=2), tree, tmp_path / "out")


def test_options_are_checked_when_they_are_given() -> None:
    with pytest.raises(OptionError, match="as_published decides slices"):
        BraTS(as_published=True, slices=3)
    with pytest.raises(OptionError, match="expected one of even, random"):
        BraTS(choice="odd")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="expected 1 or more"):
        BraTS(slices=0)
    assert BraTS(as_published=True).facts == {"sequence": "t2w", "masks": True, "as_published": True}
