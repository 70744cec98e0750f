"""Reading: what is let through where it is asked for."""

from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file

from latentsr.errors import InputError
from latentsr.io import read
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
