import os
import shutil
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.data import get_testdata_file

from latentsr.config import read_json, sha256
from latentsr.data.prepare import Options, prepare
from latentsr.data.records import Dataset, read_dataset
from latentsr.errors import InputError, OptionError, StaleError
from latentsr.io.raster import read_pixels, write_pixels

ONE_SPLIT = (1.0, 0.0, 0.0)


def pixels(seed: int, rows: int = 16, columns: int = 16, dtype: type = np.uint8) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, (rows, columns), dtype, endpoint=True)


def scatter(root: Path, *names: str, **shape: int) -> Path:
    for seed, name in enumerate(names):
        write_pixels(root / name, pixels(seed, **shape))
    return root


def prepared(tmp_path: Path, **options: object) -> Dataset:
    return prepare("folder", tmp_path / "in", tmp_path / "out", **options)


def facts(dataset: Dataset) -> dict[str, Any]:
    return read_json(dataset.root / "dataset.json")


def refused(tmp_path: Path, error: type[Exception], message: str, **options: object) -> None:
    with pytest.raises(error, match=message) as caught:
        prepared(tmp_path, **options)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_nested_folders_become_records_with_their_pixels(tmp_path: Path) -> None:
    scatter(tmp_path / "in", "p1/x.png", "p1/y.png", "p2/deep/x.png")
    dataset = prepared(tmp_path, split=ONE_SPLIT, patient_pattern=r"(?P<patient>p\d)")
    assert [(r.id, r.patient, r.split) for r in dataset.records] == [
        ("p1__x", "p1", "train"), ("p1__y", "p1", "train"), ("p2__deep__x", "p2", "train"),
    ]  # fmt: skip
    for seed, record in enumerate(dataset.records):
        assert np.array_equal(read_pixels(dataset.root / record.file), pixels(seed))
        assert record.sha256 == sha256(dataset.root / record.file)
        assert (record.rows, record.columns) == (16, 16)
    assert dataset.name == "in"


def test_no_patient_stands_in_two_splits(tmp_path: Path) -> None:
    scatter(tmp_path / "in", *(f"p{p}/{n}.png" for p in range(10) for n in range(2)))
    dataset = prepared(tmp_path, split=(0.6, 0.2, 0.2), patient_pattern=r"(?P<patient>p\d)")
    patients = [{r.patient for r in dataset.select(split)} for split in ("train", "valid", "test")]
    assert [len(group) for group in patients] == [6, 2, 2]
    assert set.union(*patients) == {f"p{p}" for p in range(10)}


def test_blocks_of_neighbouring_numbers_stay_together(tmp_path: Path) -> None:
    scatter(tmp_path / "in", *(f"s-{n:04d}.png" for n in range(12)))
    dataset = prepared(tmp_path, split=(0.5, 0.25, 0.25), block=4)
    assert [len({r.split for r in dataset.records[4 * b : 4 * b + 4]}) for b in range(3)] == [1, 1, 1]
    assert {r.patient for r in dataset.records} == {f"s-block{b}" for b in range(3)}


@pytest.mark.parametrize(("rows", "columns"), [(20, 17), (16, 33)])
def test_size_crops_the_centre_of_what_is_stored(tmp_path: Path, rows: int, columns: int) -> None:
    scatter(tmp_path / "in", "x.png", rows=rows, columns=columns)
    (record,) = prepared(tmp_path, split=ONE_SPLIT, size=16, resize="none").records
    stored = read_pixels(tmp_path / "out" / record.file)
    top, left = (rows - 16) // 2, (columns - 16) // 2
    assert (record.rows, record.columns) == stored.shape == (16, 16)
    assert np.array_equal(stored, pixels(0, rows, columns)[top : top + 16, left : left + 16])


def test_folders_decide_the_split_and_their_name_is_no_part_of_the_patient(tmp_path: Path) -> None:
    scatter(tmp_path / "in", "train/a.png", "valid/b.png", "x/test/c.png")
    dataset = prepared(tmp_path, split="folders")
    assert [(r.id, r.split, r.patient) for r in dataset.records] == [
        ("a", "train", "a"), ("b", "valid", "b"), ("x__c", "test", "x/c"),
    ]  # fmt: skip


def test_a_patient_in_two_folders_is_an_error_until_the_lower_is_dropped(tmp_path: Path) -> None:
    scatter(tmp_path / "in", "train/p1-a.png", "train/p2-a.png", "valid/p1-b.png", "valid/p3-a.png", "test/p3-b.png")
    rule = r"(?P<patient>p\d)"
    refused(
        tmp_path,
        InputError,
        r"2 patient\(s\) stand in more than one.*drop_shared",
        split="folders",
        patient_pattern=rule,
    )
    dataset = prepared(tmp_path, split="folders", patient_pattern=rule, drop_shared=True)
    assert [(r.id, r.split) for r in dataset.records] == [("p1-b", "valid"), ("p2-a", "train"), ("p3-b", "test")]
    assert sorted(p.name for p in (dataset.root / "images").iterdir()) == ["p1-b.png", "p2-a.png", "p3-b.png"]


def test_bad_input_is_one_line_and_nothing_is_written(tmp_path: Path) -> None:
    scatter(tmp_path / "in", "a/p1-x.png", "a/p1-y.png")
    rule = r"(?P<patient>p\d)"
    refused(tmp_path, InputError, r"1 patient\(s\) for 3 splits", patient_pattern=rule)
    refused(tmp_path, InputError, "16x16 px is smaller than the option size, 32", size=32, split=ONE_SPLIT)
    refused(tmp_path, InputError, "needs a folder train, valid or test", split="folders")
    refused(tmp_path, OptionError, "split folder: expected 'folders' or three shares", split="folder")
    (tmp_path / "in" / "table.csv").write_text("file,patient\nz,p\n")
    refused(tmp_path, InputError, "not in the patient table", patients=tmp_path / "in" / "table.csv")


@pytest.mark.parametrize("out", ["", "out", "sub/out"])
def test_a_dataset_in_its_own_source_is_refused(tmp_path: Path, out: str) -> None:
    scatter(tmp_path / "in", "x.png")
    with pytest.raises(OptionError, match="choose an output folder outside"):
        prepare("folder", tmp_path / "in", tmp_path / "in" / out, split=ONE_SPLIT)
    assert [path.name for path in (tmp_path / "in").iterdir()] == ["x.png"]


def test_an_empty_output_folder_is_filled_and_another_kept(tmp_path: Path) -> None:
    scatter(tmp_path / "in", "x.png")
    (tmp_path / "out").mkdir()
    assert len(prepared(tmp_path, split=ONE_SPLIT).records) == 1
    (tmp_path / "out" / "dataset.json").rename(tmp_path / "out" / "other.json")
    with pytest.raises(StaleError, match="exists and is no dataset"):
        prepared(tmp_path, split=ONE_SPLIT)


def test_two_files_of_one_name_are_an_error(tmp_path: Path) -> None:
    scatter(tmp_path / "in", "x.png", "x.tif")
    refused(tmp_path, InputError, "a second file of the name x, whatever its case; rename", split=ONE_SPLIT)


def test_an_empty_folder_and_a_colour_image_are_errors(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    refused(tmp_path, InputError, "no (files|images)")
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(tmp_path / "in" / "c.png")
    refused(tmp_path, InputError, "colour", split=ONE_SPLIT)


def test_the_same_again_is_returned_and_other_options_are_stale(tmp_path: Path) -> None:
    scatter(tmp_path / "in", "a.png", "b.png")
    first = prepared(tmp_path, split=ONE_SPLIT)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    assert prepared(tmp_path, split=ONE_SPLIT).records == first.records
    with pytest.raises(StaleError, match="other files or options"):
        prepared(tmp_path, split=ONE_SPLIT, seed=1)
    scatter(tmp_path / "in", "c.png")
    with pytest.raises(StaleError, match="other files or options"):
        prepared(tmp_path, split=ONE_SPLIT)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")} == before


def test_slices_of_a_nifti_volume_in_its_own_window(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    volume = np.random.default_rng(0).normal(size=(16, 16, 6)).astype(np.float32)
    volume[..., 2] = 1.5  # a constant slice is left out
    nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), tmp_path / "in" / "brain.nii.gz")
    dataset = prepared(tmp_path, split=ONE_SPLIT)
    assert [r.id for r in dataset.records] == [f"brain-s{i:03d}" for i in (0, 1, 3, 4, 5)]
    assert {r.patient for r in dataset.records} == {"brain"}
    images = np.stack([dataset.image(record) for record in dataset.records])
    assert (images.min(), images.max()) == (0, 1)
    low, high = volume.min(), volume.max()
    expected = np.sort((volume[..., 0].ravel() - low) / (high - low))
    assert np.allclose(np.sort(images[0].ravel()), expected, atol=1e-4)


def test_slices_takes_that_many_evenly(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    volume = np.random.default_rng(0).normal(size=(8, 8, 9)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), tmp_path / "in" / "v.nii")
    dataset = prepared(tmp_path, split=ONE_SPLIT, slices=3)
    assert [r.id for r in dataset.records] == ["v-s001", "v-s004", "v-s007"]
    assert facts(dataset)["constant_left_out"] == 0  # slices that were not asked for are not constant


def series(folder: Path, n: int, suffix: str = "") -> None:
    """A series of a real MR slice, moved along the patient, in files that are named by their UIDs."""
    folder.mkdir(parents=True)
    header = pydicom.dcmread(get_testdata_file("MR_small.dcm"))
    for i in range(n):
        header.SOPInstanceUID = header.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{i + 1}"
        header.ImagePositionPatient = [0, 0, 5 * i]
        header.InstanceNumber = i + 1
        header.save_as(folder / f"1.2.3.{i + 1}{suffix}")


@pytest.mark.parametrize("suffix", ["", ".dcm"])
def test_a_dicom_series_is_slices_of_a_hashed_patient(tmp_path: Path, suffix: str) -> None:
    series(tmp_path / "in" / "s", 3, suffix)
    dataset = prepared(tmp_path, split=ONE_SPLIT)
    patient = str(pydicom.dcmread(get_testdata_file("MR_small.dcm")).PatientID)
    assert [r.id for r in dataset.records] == ["s-s000", "s-s001", "s-s002"]
    assert len({r.patient for r in dataset.records}) == 1
    for path in dataset.root.rglob("*"):
        assert path.is_dir() or patient.encode() not in path.read_bytes()


def test_single_dicoms_named_by_uid_stay_apart(tmp_path: Path) -> None:
    source = get_testdata_file("MR_small.dcm")
    for name in ("1.2.840.1", "1.2.840.2"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, tmp_path / "in" / name)
    dataset = prepared(tmp_path, split=ONE_SPLIT)
    assert [r.id for r in dataset.records] == ["1.2.840.1", "1.2.840.2"]
    assert dataset.records[0].rows == 64


def test_without_a_patient_id_the_images_of_a_study_stay_together(tmp_path: Path) -> None:
    header = pydicom.dcmread(get_testdata_file("MR_small.dcm"))
    header.PatientID = ""
    (tmp_path / "in").mkdir()
    for number, study in enumerate(["1.2.3", "1.2.3", "1.2.4"]):
        header.StudyInstanceUID, header.SeriesInstanceUID = study, f"1.2.{number}"
        header.save_as(tmp_path / "in" / f"{number}.dcm")
    patients = [record.patient for record in prepared(tmp_path, split=ONE_SPLIT).records]
    assert patients[0] == patients[1] != patients[2]


def test_constant_images_are_left_out(tmp_path: Path) -> None:
    scatter(tmp_path / "in", "x.png")
    write_pixels(tmp_path / "in" / "black.png", np.zeros((16, 16), np.uint8))
    assert [record.id for record in prepared(tmp_path, split=ONE_SPLIT).records] == ["x"]


def test_what_is_constant_is_counted_whatever_its_format(tmp_path: Path) -> None:
    scatter(tmp_path / "in", "x.png")
    assert facts(prepared(tmp_path, split=ONE_SPLIT))["constant_left_out"] == 0
    shutil.rmtree(tmp_path / "out")
    for name in ("black.png", "black.tif"):
        write_pixels(tmp_path / "in" / name, np.zeros((16, 16), np.uint8))
    volume = np.random.default_rng(0).normal(size=(16, 16, 6))
    volume[..., 1:3] = 5
    for name, array in (("some.nii", volume), ("all.nii.gz", np.ones((16, 16, 4)))):
        nibabel.save(nibabel.Nifti1Image(array.astype(np.float32), np.eye(4)), tmp_path / "in" / name)
    header = pydicom.dcmread(get_testdata_file("MR_small.dcm"))
    header.PixelData = b"\1\0" * 4096
    header.save_as(tmp_path / "in" / "flat.dcm")
    dataset = prepared(tmp_path, split=ONE_SPLIT)
    assert len(dataset.records) == 1 + 4
    assert facts(dataset)["constant_left_out"] == 1 + 1 + 2 + 4 + 1
    assert facts(prepared(tmp_path, split=ONE_SPLIT))["constant_left_out"] == 9  # also of what was there already


def test_nothing_but_constant_images_is_an_error(tmp_path: Path) -> None:
    write_pixels(tmp_path / "in" / "black.png", np.zeros((16, 16), np.uint8))
    refused(tmp_path, InputError, "no image with content is left")


def test_records_bear_the_pixels_spacing_where_the_source_says_it(tmp_path: Path) -> None:
    scatter(tmp_path / "in", "plain.png")
    header = pydicom.dcmread(get_testdata_file("MR_small.dcm"))
    header.PixelSpacing = [0.5, 0.25]  # between rows, between columns: PS3.3 10.7.1.3
    header.save_as(tmp_path / "in" / "mr.dcm")
    del header.PixelSpacing
    header.ImagerPixelSpacing = [0.14, 0.15]
    header.save_as(tmp_path / "in" / "detector.dcm")
    volume = np.random.default_rng(0).normal(size=(20, 16, 2)).astype(np.float32)
    image = nibabel.Nifti1Image(volume, np.diag([2, 3, 4, 1]))  # i runs along columns
    nibabel.save(image, tmp_path / "in" / "v.nii")
    found = {record.id: record.spacing for record in prepared(tmp_path, split=ONE_SPLIT, multiple=8).records}
    assert found == {
        "detector": (0.14, 0.15), "mr": (0.5, 0.25), "plain": None, "v-s000": (3.0, 2.0), "v-s001": (3.0, 2.0),
    }  # fmt: skip


def test_progress_counts_the_files(tmp_path: Path) -> None:
    scatter(tmp_path / "in", "a.png", "b.png")
    told: list[tuple[int, int]] = []
    options = {"split": ONE_SPLIT, "progress": lambda *n: told.append(n), "name": "mine"}
    prepare("folder", tmp_path / "in", tmp_path / "out", **options)
    assert told == [(0, 2), (1, 2), (2, 2)]
    assert read_dataset(tmp_path / "out").name == "mine"


def test_colour_pictures_keep_their_grey_levels(tmp_path: Path) -> None:
    """A window over the smallest and largest value is for scanners' units, not for pictures."""
    for name in ("a.png", "b.jpg"):
        (tmp_path / "in").mkdir(exist_ok=True)
        Image.new("RGB", (16, 16), (100, 100, 100)).save(tmp_path / "in" / name, quality=100)
        with Image.open(tmp_path / "in" / name) as image:
            image.paste((140, 140, 140), (0, 0, 8, 16))
            image.save(tmp_path / "in" / name, quality=100)
    dataset = prepared(tmp_path, split=ONE_SPLIT, grey=True)
    for record in dataset.records:
        found = read_pixels(dataset.root / record.file)
        assert found.dtype == np.uint8
        assert np.abs(found[:, 0] - 140.0).max() < 3
        assert np.abs(found[:, -1] - 100.0).max() < 3


@pytest.mark.parametrize(("multiple", "shape"), [(4, (20, 28)), (5, (20, 30)), (1, (22, 31))])
def test_multiple_crops_the_centre_to_sides_that_it_divides(
    tmp_path: Path, multiple: int, shape: tuple[int, int]
) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (22, 31), np.uint8)
    write_pixels(tmp_path / "src" / "odd.png", pixels)
    (record,) = prepare("folder", tmp_path / "src", tmp_path / "out", split=ONE_SPLIT, multiple=multiple).records
    top, left = (22 - shape[0]) // 2, (31 - shape[1]) // 2
    stored = read_pixels(tmp_path / "out" / record.file)
    np.testing.assert_array_equal(stored, pixels[top : top + shape[0], left : left + shape[1]])
    assert (record.rows, record.columns) == shape


@pytest.mark.parametrize(("size", "multiple"), [(None, 0), (16, 4)])
def test_a_multiple_that_cannot_be_is_an_error(size: int | None, multiple: int) -> None:
    with pytest.raises(
        OptionError, match=f"the option multiple is {multiple}: expected 1 or more, and not beside size"
    ):
        Options(size=size, multiple=multiple)


def test_without_a_multiple_the_recipe_is_what_it_was() -> None:
    assert "multiple" not in Options().facts
    assert Options(multiple=4).facts["multiple"] == 4


def unusable(root: Path) -> None:
    """One good image and five files that cannot be used."""
    scatter(root, "good.png")
    scatter(root, "sub/tiny.png", rows=6, columns=9)
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(root / "colour.png")
    (root / "cut.png").write_bytes((root / "good.png").read_bytes()[:100])
    (root / "README.txt").write_text("which scanner this was")
    (root / "bad\\name.png").write_bytes((root / "good.png").read_bytes())


def test_what_cannot_be_used_is_listed_and_skipped(tmp_path: Path) -> None:
    unusable(tmp_path / "in")
    dataset = prepared(tmp_path, split=ONE_SPLIT, size=8, resize="none")
    assert [record.id for record in dataset.records] == ["good"]
    told = facts(dataset)
    assert told["files"] == 6
    reasons = {one["file"]: one["reason"] for one in told["skipped"]}
    assert list(reasons) == ["README.txt", "bad\\name.png", "colour.png", "cut.png", "sub/tiny.png"]
    assert reasons["sub/tiny.png"] == "sub/tiny.png: 6x9 px is smaller than the option size, 8; choose a smaller one"
    assert "colour" in reasons["colour.png"]
    assert "rename it" in reasons["bad\\name.png"]
    assert str(tmp_path) not in (dataset.root / "dataset.json").read_text()
    assert facts(prepared(tmp_path, split=ONE_SPLIT, size=8, resize="none")) == told


def test_strict_stops_at_the_first_that_cannot_be_used(tmp_path: Path) -> None:
    scatter(tmp_path / "in", "a.png", "b.png")
    scatter(tmp_path / "in", "sub/tiny.png", rows=6)
    with pytest.raises(InputError, match=r"^sub/tiny\.png: 6x16 px is smaller"):
        prepare("folder", tmp_path / "in", tmp_path / "out", split=ONE_SPLIT, size=8, resize="crop", strict=True)
    assert not (tmp_path / "out").exists()


def test_too_few_patients_since_files_were_skipped_is_told_so(tmp_path: Path) -> None:
    scatter(tmp_path / "in", "a.png", "b.png")
    scatter(tmp_path / "in", "tiny.png", rows=6)
    told = r"2 patient\(s\) for 3 splits.*; 1 of 3 files were skipped, the first: tiny\.png: 6x16"
    refused(tmp_path, InputError, told, size=8, resize="none")


@pytest.mark.skipif(os.name != "posix", reason="names of files are text there")
def test_a_file_name_that_is_no_text_is_skipped(tmp_path: Path) -> None:
    scatter(tmp_path / "in", "a.png")
    content = (tmp_path / "in" / "a.png").read_bytes()
    for name in (b"\xff.png", b"x\x1b[2J.png", b"n" * 250 + b".png"):
        Path(os.fsdecode(bytes(tmp_path / "in") + b"/" + name)).write_bytes(content)
    dataset = prepared(tmp_path, split=ONE_SPLIT)
    assert [record.id for record in dataset.records] == ["a"]
    assert len(facts(dataset)["skipped"]) == 3
    assert all(one["file"].isprintable() and one["reason"].isprintable() for one in facts(dataset)["skipped"])


def test_folders_named_as_splits_are_used_if_they_hold_all_images(tmp_path: Path) -> None:
    scatter(tmp_path / "in", "train/a.png", "train/b.png", "site/valid/a.png", "test/c.png")
    (tmp_path / "in" / "README.txt").write_text("not an image, and not in the way")
    dataset = prepared(tmp_path)
    assert {record.id: record.split for record in dataset.records} == {
        "train__a": "train", "train__b": "train", "site__valid__a": "valid", "test__c": "test",
    }  # fmt: skip
    assert (facts(dataset)["split_by"], facts(dataset).get("folders_unused", "")) == ("folders", "")


@pytest.mark.parametrize(
    ("names", "why"),
    [
        (("train/a.png", "valid/b.png", "c.png", "d.png"), "2 of 4 images lie in none of them"),
        (("train/a.png", "train/b.png", "train/c.png"), "all images lie in 'train'"),
        (
            ("train/p1-a.png", "test/p1-b.png", "test/p2.png", "train/p3.png"),
            "1 patient(s) stand in more than one of them",
        ),
        (("a.png", "b.png", "c.png"), ""),
    ],
)
def test_folders_that_cannot_decide_are_told_and_patients_split(
    tmp_path: Path, names: tuple[str, ...], why: str
) -> None:
    scatter(tmp_path / "in", *names)
    dataset = prepared(tmp_path, patient_pattern=r"(?P<patient>p\d|\w)(-\w)?$")
    assert (facts(dataset)["split_by"], facts(dataset).get("folders_unused", "")) == ("shares", why)
    splits = {(record.patient, record.split) for record in dataset.records}
    assert len(splits) == len({patient for patient, _ in splits}) == 3 + (len(names) == 4 and why[0] == "2")


def test_a_split_that_is_asked_for_goes_before_folders(tmp_path: Path) -> None:
    scatter(tmp_path / "in", "train/a.png", "valid/b.png")
    dataset = prepared(tmp_path, split=ONE_SPLIT)
    assert {record.split for record in dataset.records} == {"train"}
    assert "folders_unused" not in facts(dataset)


def test_without_folders_named_as_splits_a_dataset_of_before_is_known_again(tmp_path: Path) -> None:
    scatter(tmp_path / "in", "a.png", "b.png", "c.png")
    before = prepared(tmp_path, split=(0.8, 0.1, 0.1))
    assert prepared(tmp_path).records == before.records
    recipe = read_json(before.root / "dataset.json")["recipe"]
    assert set(recipe) == {"rule", "split", "size", "slices", "seed", "drop_shared", "grey"}
