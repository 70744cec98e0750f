"""Masks in a dataset: paired by name, on the image's own grid, whatever the formats; what does not fit is listed."""

from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.data import get_testdata_file

from latentsr.config import sha256
from latentsr.data.prepare import prepare
from latentsr.data.records import Dataset
from latentsr.errors import InputError, StaleError
from latentsr.io.raster import read_pixels, write_pixels

ONE_SPLIT = (1.0, 0.0, 0.0)
GRID = np.diag([-0.5, 0.8, 3.0, 1.0])
GRID[:3, 3] = 10, 20, 30


def picture(path: Path, rows: int = 16, columns: int = 20, seed: int = 0) -> None:
    write_pixels(path, np.random.default_rng(seed).integers(0, 255, (rows, columns), np.uint8, endpoint=True))


def region(rows: int = 16, columns: int = 20) -> np.ndarray:
    """Not symmetric, so that a mask that is turned or moved is another."""
    inside = np.zeros((rows, columns), np.uint8)
    inside[2:5, 6:14] = 1
    return inside


def nifti(path: Path, array: np.ndarray, grid: np.ndarray = GRID) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, grid), path)


def volume(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(20, 16, 4)).astype(np.float32)


def prepared(root: Path, **options: object) -> Dataset:
    return prepare("folder", root / "in", root / "out", split=ONE_SPLIT, masks=root / "seg", **options)


def refused(root: Path, message: str, **options: object) -> str:
    with pytest.raises(InputError, match=message) as caught:
        prepared(root, **options)
    assert "\n" not in str(caught.value)
    assert not (root / "out").exists()
    return str(caught.value)


def stored(dataset: Dataset) -> dict[str, np.ndarray]:
    return {record.id: read_pixels(dataset.root / record.mask) for record in dataset.records}


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_a_mask_of_pictures_is_stored_black_and_white(tmp_path: Path, suffix: str) -> None:
    picture(tmp_path / "in/p1/x.png")
    picture(tmp_path / "in/p1/y.png", seed=1)
    write_pixels(tmp_path / f"seg/p1/x{suffix}", region() * np.uint8(7))
    write_pixels(tmp_path / f"seg/p1/y{suffix}", np.zeros((16, 20), np.uint8))
    dataset = prepared(tmp_path)
    found = stored(dataset)
    np.testing.assert_array_equal(found["p1__x"], region() * np.uint8(255))
    assert not found["p1__y"].any()  # an image without a region of interest
    assert [record.mask_sha256 for record in dataset.records] == [
        sha256(dataset.root / f"masks/p1__{name}.png") for name in "xy"
    ]


def test_a_mask_takes_its_images_slices_and_crop(tmp_path: Path) -> None:
    image, seg = volume(), np.zeros((20, 16, 4), np.int16)
    image[..., 1] = 0  # left out
    for index in range(4):
        seg[3 + index, 4, index] = -2
    nifti(tmp_path / "in/brain.nii.gz", image)
    nifti(tmp_path / "seg/brain.nii", seg)
    dataset = prepared(tmp_path, size=8, resize="none", slices=2)
    found = stored(dataset)
    assert list(found) == ["brain-s000", "brain-s003"]
    for id, index in zip(found, (0, 3), strict=True):
        expected = (seg[..., index].T != 0)[4:12, 6:14] * 255
        np.testing.assert_array_equal(found[id], expected)
    assert found["brain-s003"].any()


def test_images_without_masks_have_none(tmp_path: Path) -> None:
    picture(tmp_path / "in/x.png")
    dataset = prepare("folder", tmp_path / "in", tmp_path / "out", split=ONE_SPLIT)
    assert [(record.mask, record.mask_sha256) for record in dataset.records] == [("", "")]
    assert not (tmp_path / "out/masks").exists()


def test_missing_surplus_and_duplicated_masks_are_listed_together(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        picture(tmp_path / f"in/{name}.png")
    for name in ("b.png", "b.tif", "c.png", "deep/a.png"):
        write_pixels(tmp_path / "seg" / name, region())
    refused(
        tmp_path,
        r"for each of 3 images or series, .*\(missing: a\.png; surplus: deep/a\.png; duplicated: b\.png, b\.tif\)",
    )


def test_twelve_missing_masks_are_ten_and_a_number(tmp_path: Path) -> None:
    for number in range(13):
        picture(tmp_path / f"in/{number:02d}.png")
    write_pixels(tmp_path / "seg/00.png", region())
    told = refused(tmp_path, "10.png and 2 more")
    assert "11.png" not in told


def test_ten_missing_masks_are_all_named(tmp_path: Path) -> None:
    for number in range(11):
        picture(tmp_path / f"in/{number:02d}.png")
    write_pixels(tmp_path / "seg/00.png", region())
    assert "more" not in refused(tmp_path, "09.png, 10.png")


def test_masks_of_another_shape_are_listed_together(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        picture(tmp_path / f"in/{name}.png")
    nifti(tmp_path / "in/v.nii", volume())
    write_pixels(tmp_path / "seg/a.png", region())
    write_pixels(tmp_path / "seg/b.png", region(20, 16))
    write_pixels(tmp_path / "seg/c.png", region(8, 10))
    nifti(tmp_path / "seg/v.nii", np.zeros((20, 16, 3), np.uint8))
    refused(
        tmp_path,
        r"masks that do not fit their images: b\.png \(20x16, its image 16x20\), c\.png \(8x10, .*\), "
        r"v\.nii \(16x20, 3 slices, its image 16x20, 4 slices\); expected",
    )


@pytest.mark.parametrize("grid", [GRID @ np.diag([1, -1, 1, 1.0]), np.eye(4), GRID + np.eye(4, 4, 3) * 2])
def test_a_nifti_mask_that_is_turned_or_moved_is_refused(tmp_path: Path, grid: np.ndarray) -> None:
    nifti(tmp_path / "in/v.nii", volume())
    nifti(tmp_path / "seg/v.nii", np.ones((20, 16, 4), np.uint8), grid)
    refused(tmp_path, r"v\.nii \(by its header elsewhere in the patient, or turned\)")


@pytest.mark.parametrize("form", ["sform", "qform"])
def test_either_form_of_a_nifti_header_says_where_it_lies_and_none_says_nothing(tmp_path: Path, form: str) -> None:
    other = "qform" if form == "sform" else "sform"
    for name, code in (("seg", 1), ("none", 0)):
        image = nibabel.Nifti1Image(np.ones((20, 16, 4), np.uint8), None)
        getattr(image, f"set_{form}")(GRID + np.eye(4, 4, 3) * 2, code=code)
        getattr(image, f"set_{other}")(None, code=0)
        (tmp_path / name).mkdir()
        nibabel.save(image, tmp_path / name / "v.nii")
    nifti(tmp_path / "in/v.nii", volume())
    refused(tmp_path, "elsewhere in the patient")
    given = {"split": ONE_SPLIT, "masks": tmp_path / "none"}
    assert len(stored(prepare("folder", tmp_path / "in", tmp_path / "out", **given))) == 4


def test_rounding_in_a_header_is_no_fault(tmp_path: Path) -> None:
    nifti(tmp_path / "in/v.nii", volume())
    nifti(tmp_path / "seg/v.nii", np.ones((20, 16, 4), np.uint8), GRID * (1 + 1e-4))
    assert all((mask == 255).all() for mask in stored(prepared(tmp_path)).values())


@pytest.mark.parametrize(
    ("change", "entry", "fits"),
    [
        (0.24, (0, 3), True),
        (0.26, (0, 3), False),
        (0.24, (2, 3), True),
        (0.26, (2, 3), False),
        (0.26 / 19, (0, 0), False),  # the last of 20 columns is that far off
        (0.24 / 19, (0, 0), True),
        (0.26 / 15, (1, 1), False),  # the last of 16 rows
        (0.24 / 15, (1, 1), True),
    ],
)
def test_half_the_smaller_side_of_a_pixel_is_near(
    tmp_path: Path, change: float, entry: tuple[int, int], *, fits: bool
) -> None:
    """Of pixels of 0.5 x 0.8 mm no corner may be 0.25 mm off."""
    grid = GRID.copy()
    grid[entry] += change
    nifti(tmp_path / "in/v.nii", volume())
    nifti(tmp_path / "seg/v.nii", np.ones((20, 16, 4), np.uint8), grid)
    if fits:
        assert len(stored(prepared(tmp_path))) == 4
    else:
        refused(tmp_path, "elsewhere in the patient")


def dicom_series(folder: Path, n: int = 3) -> None:
    folder.mkdir(parents=True)
    header = pydicom.dcmread(get_testdata_file("MR_small.dcm", download=False))
    for number in range(n):
        header.SOPInstanceUID = header.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{number + 1}"
        header.ImagePositionPatient, header.InstanceNumber = [0, 0, 5 * number], number + 1
        header.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        header.save_as(folder / f"{number}.dcm")


def test_a_nifti_mask_of_a_dicom_series_lies_on_its_grid(tmp_path: Path) -> None:
    """DICOM's rows go to posterior; a NIfTI that a converter turned upside down has the same shape, and is refused."""
    dicom_series(tmp_path / "in/scan")
    inside = np.zeros((64, 64, 3), np.uint8)
    inside[10:20, 30:40, 1] = 1
    grid = np.diag([-0.3125, -0.3125, 5, 1])
    nifti(tmp_path / "seg/scan.nii.gz", inside, grid)
    dataset = prepared(tmp_path)
    found = stored(dataset)
    assert [mask.any() for mask in found.values()] == [False, True, False]
    np.testing.assert_array_equal(np.argwhere(found["scan-s001"])[0], [30, 10])
    assert dataset.records[0].spacing == (0.3125, 0.3125)
    upward = np.diag([-0.3125, 0.3125, 5, 1])
    upward[1, 3] = -63 * 0.3125
    nifti(tmp_path / "seg/scan.nii.gz", inside[:, ::-1], upward)
    (tmp_path / "out").rename(tmp_path / "first")
    refused(tmp_path, r"scan\.nii\.gz \(by its header elsewhere")


def test_one_series_and_one_mask_belong_together(tmp_path: Path) -> None:
    dicom_series(tmp_path / "in")
    nifti(tmp_path / "seg.nii", np.ones((64, 64, 3), np.uint8), np.diag([-0.3125, -0.3125, 5, 1]))
    dataset = prepare("folder", tmp_path / "in", tmp_path / "out", split=ONE_SPLIT, masks=tmp_path / "seg.nii")
    assert [mask.min() for mask in stored(dataset).values()] == [255] * 3


def test_masks_that_are_no_masks_are_told_apart(tmp_path: Path) -> None:
    for name in ("colour", "jpeg", "text", "nan"):
        picture(tmp_path / f"in/{name}.png")
        write_pixels(tmp_path / f"seg/{name}.png", region())
    Image.fromarray(np.stack([region()] * 3, -1)).save(tmp_path / "seg/colour.png")
    Image.fromarray(region() * np.uint8(255)).save(tmp_path / "seg/jpeg.jpg")
    (tmp_path / "seg/jpeg.png").unlink()
    (tmp_path / "seg/text.png").write_text("no image")
    (tmp_path / "seg/nan.png").unlink()
    nifti(tmp_path / "seg/nan.nii", np.full((20, 16, 1), np.nan, np.float32))
    told = refused(tmp_path, "masks that do not fit their images", grey=True)
    for words in ("colour.png (in colour)", "jpeg.jpg (a JPEG", "text.png (", "is no image that can", "NaN"):
        assert words in told


@pytest.mark.parametrize(("masks", "message"), [
    ("in", "not one within the other"), ("in/seg", "not one within the other"), (".", "not one within the other"),
    ("nowhere", "masks in .*nowhere: no such folder; expected"),
])  # fmt: skip
def test_a_folder_that_cannot_hold_the_masks_is_refused(tmp_path: Path, masks: str, message: str) -> None:
    picture(tmp_path / "in/x.png")
    write_pixels(tmp_path / "in/seg/x.png", region())
    with pytest.raises(InputError, match=message):
        prepare("folder", tmp_path / "in", tmp_path / "out", split=ONE_SPLIT, masks=tmp_path / masks)


def test_another_mask_is_another_dataset(tmp_path: Path) -> None:
    picture(tmp_path / "in/x.png")
    write_pixels(tmp_path / "seg/x.png", region())
    first = prepared(tmp_path)
    assert prepared(tmp_path).hash == first.hash
    with pytest.raises(StaleError, match="other files or options"):
        prepare("folder", tmp_path / "in", tmp_path / "out", split=ONE_SPLIT)
    write_pixels(tmp_path / "seg/x.png", region()[::-1])
    with pytest.raises(StaleError, match="other files or options"):
        prepared(tmp_path)


def test_masks_of_dropped_images_go_with_them(tmp_path: Path) -> None:
    for seed, name in enumerate(("train/p1-a.png", "valid/p1-b.png", "test/p2.png")):
        picture(tmp_path / "in" / name, seed=seed)
        write_pixels(tmp_path / "seg" / name, region())
    options = {"patient_pattern": r"(?P<patient>p\d)", "split": "folders", "drop_shared": True}
    dataset = prepare("folder", tmp_path / "in", tmp_path / "out", masks=tmp_path / "seg", **options)
    assert sorted(path.name for path in (dataset.root / "masks").iterdir()) == ["p1-b.png", "p2.png"]


def test_a_file_that_is_no_image_needs_no_mask(tmp_path: Path) -> None:
    picture(tmp_path / "in/x.png")
    (tmp_path / "in/notes.txt").write_text("no image")
    write_pixels(tmp_path / "seg/x.png", region())
    assert [record.id for record in prepared(tmp_path).records] == ["x"]
