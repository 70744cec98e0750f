"""A small prepared dataset of real images, windows of pydicom's abdominal MR."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file

from latentsr.config import sha256
from latentsr.data.records import Dataset, Record, write_dataset
from latentsr.io.raster import write_pixels

CORNERS = ((0, 0), (20, 100), (44, 228), (10, 60), (30, 160))


def write_image(root: Path, name: str, patient: str, pixels: np.ndarray) -> Record:
    """The record of an image that is written below `root`."""
    file = f"images/{name}.png"
    write_pixels(root / file, pixels)
    return Record(name, patient, "valid", file, *pixels.shape, sha256=sha256(root / file))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Five 8-bit images of three patients; the last is smaller, so that it shares no batch and has no MS-SSIM."""
    root = tmp_path_factory.mktemp("data") / "abdomen"
    pixels = pydicom.dcmread(get_testdata_file("examples_overlay.dcm", download=False)).pixel_array
    grey = np.round((pixels - pixels.min()) / np.ptp(pixels) * 255).astype(np.uint8)
    records = []
    for n, (top, left) in enumerate(CORNERS):
        rows, columns = (176, 192) if n < 4 else (64, 96)
        window = np.ascontiguousarray(grey[top : top + rows, left : left + columns])
        records.append(write_image(root, f"{n + 7:03d}", f"p{n // 2}", window))
    return write_dataset(root, "abdomen", records, {})


@pytest.fixture
def images(dataset: Dataset, tmp_path: Path) -> Path:
    """A folder of SR images, one a record: HR itself with one grey level added to the first pixel."""
    for item in dataset.records:
        pixels = np.round(dataset.image(item) * 255).astype(np.uint8)
        pixels[0, 0] ^= 1
        write_pixels(tmp_path / "sr" / f"{item.id}.png", pixels)
    return tmp_path / "sr"
