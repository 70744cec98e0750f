"""Images of a dataset's size: large ones are resized, spacing and mask with them, by default as a whole."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.data import get_testdata_file

from latentsr.config import read_json
from latentsr.data.prepare import prepare
from latentsr.data.records import Dataset
from latentsr.io import read
from latentsr.io.raster import read_pixels, write_pixels

TOP = 65535


def prepared(root: Path, *, masks: bool = False, **options: object) -> Dataset:
    options |= {"split": (1.0, 0.0, 0.0), "masks": root / "seg" if masks else None}
    return prepare("folder", root / "in", root / "out", **options)


def by_pillow(pixels: np.ndarray, rows: int, columns: int) -> np.ndarray:
    return np.asarray(Image.fromarray(pixels.astype(np.float32)).resize((columns, rows), Image.Resampling.BICUBIC))


def tall(rows: int = 764, columns: int = 636) -> np.ndarray:
    """As an X-ray of 3056 x 2544 px, a quarter as large: dark, with a bright band along each border."""
    pixels = np.random.default_rng(0).integers(20, 60, (rows, columns), np.uint8)
    pixels[: rows // 9] = pixels[-rows // 9 :] = 200
    pixels[:, : columns // 15] = pixels[:, -columns // 15 :] = 200
    return pixels


def test_a_large_image_is_resized_as_a_whole_onto_black(tmp_path: Path) -> None:
    write_pixels(tmp_path / "in/xray.png", tall())
    (record,) = prepared(tmp_path, size=64).records
    stored = read_pixels(tmp_path / "out" / record.file)
    assert (record.rows, record.columns, record.resized_from) == (64, 64, (764, 636))
    np.testing.assert_allclose(stored[:, 5:58] / TOP, by_pillow(tall(), 64, 53).clip(0, 255) / 255, atol=1 / TOP + 1e-6)
    assert stored.dtype == np.uint16  # means of many 8-bit pixels lie between their levels
    assert not stored[:, :5].any()
    assert not stored[:, 58:].any()


def test_to_fill_the_square_the_short_side_is_reduced_to_it(tmp_path: Path) -> None:
    write_pixels(tmp_path / "in/xray.png", tall())
    (record,) = prepared(tmp_path, size=64, resize="crop").records
    assert (record.rows, record.columns, record.resized_from) == (64, 64, (764, 636))
    expected = by_pillow(tall(), 77, 64)[6:70].clip(0, 255) / 255
    np.testing.assert_allclose(read_pixels(tmp_path / "out" / record.file) / TOP, expected, atol=1 / TOP + 1e-6)
    recipe = read_json(tmp_path / "out" / "dataset.json")["recipe"]
    assert recipe["resize"] is True  # as in datasets that were made when there was no other way


@pytest.mark.parametrize(("rows", "columns"), [(64, 50), (20, 64), (9, 900)])
def test_the_side_beside_is_black(tmp_path: Path, rows: int, columns: int) -> None:
    """Also of an image that is as long as the square and so keeps its pixels, and of a strip."""
    write_pixels(tmp_path / "in/x.png", pixels := np.random.default_rng(0).integers(99, 200, (rows, columns), np.uint8))
    (record,) = prepared(tmp_path, size=64).records
    stored = read_pixels(tmp_path / "out" / record.file)
    assert (stored.shape, record.resized_from) == ((64, 64), (rows, columns))
    filled = stored[stored.any(axis=1)][:, stored.any(axis=0)]
    if max(rows, columns) == 64:
        np.testing.assert_array_equal(filled, pixels)
    else:
        assert filled.shape == (1, 64)


def test_a_real_image_is_the_whole_picture(tmp_path: Path) -> None:
    path = Path(get_testdata_file("image_dfl.dcm", download=False))
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / path.name).write_bytes(path.read_bytes())
    dataset = prepared(tmp_path, size=100)
    (record,) = dataset.records
    volume = read(path)
    expected = by_pillow(volume.window.apply(volume.pixels)[0], 100, 100)
    np.testing.assert_allclose(dataset.image(record), expected.clip(0, 1), atol=2 / TOP)


@pytest.mark.parametrize(("rows", "resize"), [(79, "crop"), (160, "none")])
def test_what_is_little_larger_or_not_to_be_resized_is_only_cropped(tmp_path: Path, rows: int, resize: str) -> None:
    pixels = tall(rows, 170)
    write_pixels(tmp_path / "in/x.png", pixels)
    (record,) = prepared(tmp_path, size=64, resize=resize).records
    stored = read_pixels(tmp_path / "out" / record.file)
    top = (rows - 64) // 2
    np.testing.assert_array_equal(stored, pixels[top : top + 64, 53 : 53 + 64])
    assert stored.dtype == np.uint8
    assert record.resized_from is None


def test_to_fill_the_square_images_of_five_quarters_of_it_are_resized(tmp_path: Path) -> None:
    write_pixels(tmp_path / "in/x.png", tall(80, 170))
    assert prepared(tmp_path, size=64, resize="crop").records[0].resized_from == (80, 170)


def test_the_spacing_is_that_of_the_pixels_that_are_stored(tmp_path: Path) -> None:
    header = pydicom.dcmread(get_testdata_file("MR_small.dcm", download=False))
    header.PixelData = header.PixelData[: 40 * 64 * 2]
    header.Rows, header.PixelSpacing = 40, [0.5, 0.25]
    (tmp_path / "in").mkdir()
    header.save_as(tmp_path / "in/mr.dcm")
    (record,) = prepared(tmp_path, size=30).records
    assert record.resized_from == (40, 64)
    assert record.spacing == pytest.approx((0.5 * 40 / 19, 0.25 * 64 / 30))
    assert prepared(tmp_path, size=30).records == (record,)  # as it was written, so it is read


@pytest.mark.parametrize(("rows", "columns"), [(64, 64), (90, 140), (201, 75)])
def test_a_mask_lies_on_its_image_after_both_were_resized(tmp_path: Path, rows: int, columns: int) -> None:
    inside = np.zeros((rows, columns), np.uint8)
    inside[rows // 3 : rows // 2 + 5, columns // 2 - 7 : columns // 2 + 11] = 1
    write_pixels(tmp_path / "in/x.png", inside * np.uint8(200))
    write_pixels(tmp_path / "seg/x.png", inside)
    (record,) = prepared(tmp_path, masks=True, size=32).records
    image, mask = (read_pixels(tmp_path / "out" / file) for file in (record.file, record.mask))
    assert set(np.unique(mask)) == {0, 255}
    share = image / (200 / 255 * TOP)
    sure = np.abs(share - 0.5) > 1e-3  # half a pixel is inside: rounding decides
    np.testing.assert_array_equal((mask == 255)[sure], (share > 0.5)[sure])
    assert mask.any()
