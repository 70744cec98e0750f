"""A part of a DICOM image, coarser or not, lies where it lay in the patient."""

from pathlib import Path

import numpy as np
import pytest
from pydicom.data import get_testdata_file

from latentsr import io
from latentsr.errors import InputError, StaleError
from latentsr.io.dicom.derived import Box, write_window
from latentsr.volume import Volume

BOX = Box(8, 28, 32, 48)


@pytest.fixture(scope="module")
def abdomen() -> Volume:
    return io.read(Path(get_testdata_file("examples_overlay.dcm", download=False)))


def test_a_part_keeps_its_pixels_and_its_place(abdomen: Volume, tmp_path: Path) -> None:
    part = io.read(write_window(abdomen, tmp_path / "part.dcm", BOX))
    np.testing.assert_array_equal(part.pixels, abdomen.pixels[:, 8:40, 28:76])
    assert part.spacing == pytest.approx(abdomen.spacing, abs=1e-9)
    source, header = abdomen.source.header[0], part.source.header[0]
    moved = np.array(header.ImagePositionPatient, float) - np.array(source.ImagePositionPatient, float)
    np.testing.assert_allclose(moved, np.array([28, 8, 0]) * abdomen.spacing[0], atol=1e-9)
    assert header.ImageType[0] == "DERIVED"
    assert header.SyntheticData == "NO"
    assert "Enlarged" not in header.DerivationDescription
    assert header.StudyInstanceUID == source.StudyInstanceUID
    assert header.SOPInstanceUID != source.SOPInstanceUID
    assert (0x6000, 0x3000) not in header


def test_a_coarse_part_covers_the_same_field(abdomen: Volume, tmp_path: Path) -> None:
    fine = io.read(write_window(abdomen, tmp_path / "fine.dcm", BOX))
    mean = BOX.of(abdomen.pixels)[0].reshape(8, 4, 12, 4).mean(axis=(1, 3))
    coarse = io.read(write_window(abdomen, tmp_path / "coarse.dcm", BOX, pixels=mean, scale=4, made="area:4"))
    assert coarse.spacing == pytest.approx([4 * side for side in fine.spacing], abs=1e-9)
    a, b = (np.array(one.source.header[0].ImagePositionPatient, float) for one in (fine, coarse))
    np.testing.assert_allclose(b - a, np.array([1.5, 1.5, 0]) * fine.spacing[0], atol=1e-9)
    np.testing.assert_allclose(coarse.pixels[0], mean, atol=0.51)
    assert coarse.source.header[0].SOPInstanceUID != fine.source.header[0].SOPInstanceUID
    assert "area:4" in coarse.source.header[0].DerivationDescription


def test_enlarging_a_coarse_part_brings_its_geometry_back(abdomen: Volume, tmp_path: Path) -> None:
    fine = io.read(write_window(abdomen, tmp_path / "fine.dcm", BOX))
    coarse = io.read(write_window(abdomen, tmp_path / "coarse.dcm", BOX, pixels=fine.pixels[0, ::4, ::4], scale=4))
    io.write(coarse.enlarged(fine.pixels, 4), tmp_path / "again.dcm", provenance=None)
    again = io.read(tmp_path / "again.dcm")
    for keyword in ("PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient"):
        expected = np.array(fine.source.header[0][keyword].value, float)
        np.testing.assert_allclose(np.array(again.source.header[0][keyword].value, float), expected, atol=1e-6)


def test_what_does_not_fit_is_refused(abdomen: Volume, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="reaches beyond the image of 300 x 484"):
        write_window(abdomen, tmp_path / "a.dcm", Box(280, 0, 32, 32))
    with pytest.raises(InputError, match="expected 32 x 48 divided by 4"):
        write_window(abdomen, tmp_path / "a.dcm", BOX, pixels=np.zeros((4, 4)), scale=4)
    with pytest.raises(InputError, match="expected one DICOM image"):
        write_window(Volume.from_array(np.eye(64)), tmp_path / "a.dcm", BOX)
    assert not list(tmp_path.iterdir())
    write_window(abdomen, tmp_path / "a.dcm", BOX)
    with pytest.raises(StaleError):
        write_window(abdomen, tmp_path / "a.dcm", BOX)
