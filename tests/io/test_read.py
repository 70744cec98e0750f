"""Reading: what is let through where it is asked for."""

import contextlib
import os
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file

from latentsr.errors import InputError
from latentsr.io import read, write
from latentsr.io.raster import write_pixels


def _constant(path: Path) -> Path:
    if path.suffix == ".nii":
        nibabel.save(nibabel.Nifti1Image(np.zeros((4, 5, 2), np.uint8), np.eye(4)), path)
    elif path.suffix == ".dcm":
        image = pydicom.dcmread(get_testdata_file("MR_small.dcm", download=False))
        image.PixelData = b"\1\0" * (image.Rows * image.Columns)
        image.save_as(path)
    else:
        write_pixels(path, np.zeros((5, 4), np.uint8))
    return path


@pytest.mark.parametrize("name", ["a.nii", "a.dcm", "a.png", "a.tif"])
def test_a_constant_image_is_read_where_it_is_asked_for(tmp_path: Path, name: str) -> None:
    path = _constant(tmp_path / name)
    with pytest.raises(InputError, match=rf"{name}.*constant"):
        read(path)
    volume = read(path, constant=True)
    assert (volume.window.apply(volume.pixels) == 0).all()


@pytest.mark.parametrize("name", [b"caf\xe9.dcm", b"\x1b[2J\x07red.dcm", b"two\nlines.dcm"])
def test_a_file_name_of_any_bytes_is_read_and_its_error_is_one_printable_line(tmp_path: Path, name: bytes) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
    image = Path(get_testdata_file("MR_small.dcm")).read_bytes()
    path.write_bytes(image)
    volume = read(path)
    assert volume.pixels.shape == (1, 64, 64)
    write(volume, path.with_name("out.dcm"), provenance=None)
    path.write_bytes(image[:5000])
    with pytest.raises(InputError) as caught:
        read(path)
    assert str(caught.value).isprintable()
    assert str(caught.value).count(".dcm") == 1


def test_what_a_reader_raises_is_the_failure_of_its_file(tmp_path: Path) -> None:
    """A PNG of which Pillow raises a TypeError or what it likes: one line, whatever it is."""
    write_pixels(tmp_path / "a.png", np.arange(64, dtype=np.uint8).reshape(8, 8))
    content = bytearray((tmp_path / "a.png").read_bytes())
    for place in range(8, len(content)):
        changed = content.copy()
        changed[place] ^= 0xFF
        (tmp_path / "b.png").write_bytes(changed)
        with contextlib.suppress(InputError):
            read(tmp_path / "b.png")
