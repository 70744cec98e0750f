"""Uncertainty maps: a parametric map on the enlarged grid, and its plain companion."""

from pathlib import Path

import highdicom
import nibabel
import numpy as np
import pydicom
import pytest
import tifffile
from pydicom.data import get_testdata_file

from latentsr import io
from latentsr.errors import InputError
from latentsr.io.raster import write_pixels
from latentsr.provenance import Provenance
from latentsr.volume import Volume

MADE_BY = Provenance("tiny", "1.2.3", "f00d" * 16, 7, "{}")
SERIES = Path(pydicom.data.__file__).parent / "test_files" / "dicomdirtests" / "98892001" / "CT5N"
PROJECTION = SERIES.parents[1] / "77654033" / "CR1" / "6154"


def _spread(volume: Volume, scale: int = 2) -> Volume:
    slices, rows, columns = volume.pixels.shape
    values = np.random.default_rng(0).random((slices, rows * scale, columns * scale), np.float32)
    return volume.enlarged(values, scale)


def test_a_parametric_map_has_its_own_measures_and_positions(tmp_path: Path) -> None:
    spread = _spread(io.read(get_testdata_file("MR_small.dcm")), 4)
    mapped, plain, sidecar = io.write_uncertainty(spread, tmp_path / "x_uncertainty.dcm", provenance=MADE_BY)
    assert (plain.name, sidecar.name) == ("x_uncertainty.nii.gz", "x_uncertainty.json")
    image = highdicom.imread(mapped)
    assert image.SOPClassUID == pydicom.uid.ParametricMapStorage
    shared = image.SharedFunctionalGroupsSequence[0]
    assert shared.PixelMeasuresSequence[0].PixelSpacing == [0.078125, 0.078125]
    place = image.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence[0].ImagePositionPatient
    np.testing.assert_allclose(place, np.array([-83.9063, -91.2, 6.6406]) - [0.1171875, 0.1171875, 0], atol=1e-6)
    np.testing.assert_array_equal(image.get_frames()[0], spread.pixels[0])
    assert image.StudyInstanceUID == spread.source.header[0].StudyInstanceUID
    assert image.SyntheticData == "YES"


def test_a_series_becomes_one_map_that_agrees_with_the_nifti(tmp_path: Path) -> None:
    spread = _spread(io.read(SERIES))
    mapped, plain, _ = io.write_uncertainty(spread, tmp_path / "s.dcm", provenance=MADE_BY)
    image = highdicom.imread(mapped)
    assert image.NumberOfFrames == 5
    volume = image.get_volume()
    to_index = np.linalg.inv(nibabel.load(plain).affine) @ np.diag([-1.0, -1, 1, 1]) @ volume.affine
    values = nibabel.load(plain).get_fdata()
    i, j, k = np.rint((to_index @ [1, 2, 3, 1])[:3]).astype(int)  # the same voxel in both grids
    assert volume.array[1, 2, 3] == values[i, j, k]


def test_the_same_run_writes_the_same_bytes(tmp_path: Path) -> None:
    spread = _spread(io.read(SERIES))
    outputs = [io.write_uncertainty(spread, tmp_path / name / "s.dcm", provenance=MADE_BY) for name in "ab"]
    assert [path.read_bytes() for path in outputs[0]] == [path.read_bytes() for path in outputs[1]]


def test_an_image_without_a_place_gets_the_plain_map_only(tmp_path: Path) -> None:
    written = io.write_uncertainty(_spread(io.read(PROJECTION)), tmp_path / "s.dcm", provenance=MADE_BY)
    assert [path.name for path in written] == ["s.nii.gz", "s.json"]


def test_a_map_without_any_spread_is_written(tmp_path: Path) -> None:
    volume = io.read(get_testdata_file("MR_small.dcm"))
    flat = volume.enlarged(np.zeros((1, 128, 128)), 2)
    assert io.write_uncertainty(flat, tmp_path / "s.dcm", provenance=MADE_BY)[0].exists()


def test_maps_of_other_kinds(tmp_path: Path) -> None:
    write_pixels(tmp_path / "x.png", np.arange(64, dtype=np.uint8).reshape(8, 8))
    spread = _spread(io.read(tmp_path / "x.png"))
    (path,) = io.write_uncertainty(spread, tmp_path / "x_uncertainty.tif", provenance=MADE_BY)
    np.testing.assert_array_equal(tifffile.imread(path), spread.pixels[0])
    nibabel.Nifti1Image(np.arange(64, dtype=np.int16).reshape(4, 4, 4), np.eye(4)).to_filename(tmp_path / "x.nii")
    spread = _spread(io.read(tmp_path / "x.nii"))
    path, _ = io.write_uncertainty(spread, tmp_path / "x_uncertainty.nii", provenance=MADE_BY)
    np.testing.assert_array_equal(nibabel.load(path).get_fdata(dtype=np.float32).T, spread.pixels)


def test_a_map_that_is_not_finite_is_refused(tmp_path: Path) -> None:
    spread = _spread(io.read(PROJECTION))
    spread.pixels[0, 0, 0] = np.nan
    with pytest.raises(InputError, match="NaN"):
        io.write_uncertainty(spread, tmp_path / "s.dcm", provenance=MADE_BY)
