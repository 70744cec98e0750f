"""Uncertainty maps: images that viewers show, and a parametric map on the enlarged grid where asked for."""

from dataclasses import replace
from pathlib import Path

import highdicom
import nibabel
import numpy as np
import pydicom
import pytest
import tifffile
from pydicom.data import get_testdata_file

from latentsr import io
from latentsr.errors import InputError, StaleError
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


def _x_ray(tmp_path: Path, sop_class: str) -> Path:
    dataset = pydicom.dcmread(PROJECTION)
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = sop_class
    dataset.save_as(tmp_path / "x-ray.dcm")
    return tmp_path / "x-ray.dcm"


def test_a_map_is_an_image_of_the_source_s_class_in_its_place(tmp_path: Path) -> None:
    source = pydicom.dcmread(get_testdata_file("MR_small.dcm"))
    spread = _spread(io.read(get_testdata_file("MR_small.dcm")), 4)
    (path,) = io.write_uncertainty(spread, tmp_path / "x_uncertainty.dcm", provenance=MADE_BY)
    image = pydicom.dcmread(path)
    assert image.SOPClassUID == source.SOPClassUID
    assert image.ImageType == ["DERIVED", "SECONDARY", "OTHER", "UNCERTAINTY"]
    assert "x4 uncertainty" in image.SeriesDescription
    assert image.PixelSpacing == [0.078125, 0.078125]
    shift = np.array(image.ImagePositionPatient) - np.array(source.ImagePositionPatient)
    np.testing.assert_allclose(shift, [-0.375 * 0.3125, -0.375 * 0.3125, 0], atol=1e-9)
    for keyword in ("StudyInstanceUID", "FrameOfReferenceUID", "PatientID", "ImageOrientationPatient"):
        assert image[keyword].value == source[keyword].value
    assert [code.CodeValue for code in image.DerivationCodeSequence] == ["113085", "113061"]
    assert image.SyntheticData == "YES"


def test_a_map_s_values_and_window_are_physical(tmp_path: Path) -> None:
    spread = _spread(io.read(get_testdata_file("MR_small.dcm")))
    spread.pixels[0, 0, :2] = 0, 3  # an outlier does not leave the rest dark
    (path,) = io.write_uncertainty(spread, tmp_path / "x.dcm", provenance=MADE_BY)
    image, again = pydicom.dcmread(path), io.read(path)
    np.testing.assert_allclose(again.pixels, spread.pixels, atol=spread.pixels.max() / 65535)
    assert again.pixels[0, 0, 0] == 0
    low, high = image.WindowCenter - image.WindowWidth / 2, image.WindowCenter + image.WindowWidth / 2
    assert (low, high) == pytest.approx((0, np.percentile(spread.pixels, 99.5)), abs=1e-6)
    assert high < 1
    assert image.VOILUTFunction == "LINEAR_EXACT"  # a width below 1 is no window otherwise (PS3.3 C.11.2.1.3)
    assert not {"PixelPaddingValue", "VOILUTSequence", "WindowCenterWidthExplanation"} & set(image.dir())


def test_mean_sample_and_map_share_no_identity(tmp_path: Path) -> None:
    spread = _spread(io.read(SERIES))
    written = [
        *io.write(spread, tmp_path / "mean", provenance=replace(MADE_BY, image="posterior mean")),
        *io.write(spread, tmp_path / "sample", provenance=replace(MADE_BY, image="sample")),
        *io.write_uncertainty(spread, tmp_path / "map", provenance=MADE_BY, parametric_map=True),
    ]
    images = [pydicom.dcmread(path) for path in written]
    assert len({image.SOPInstanceUID for image in images}) == len(images) == 16
    for keyword in ("SeriesInstanceUID", "SeriesNumber", "SeriesDescription"):
        assert len({image[keyword].value for image in images}) == 4


def test_the_map_of_a_series_is_a_folder_of_dicom_with_one_scale(tmp_path: Path) -> None:
    spread = _spread(io.read(SERIES))
    written = io.write_uncertainty(spread, tmp_path / "CT5N_uncertainty", provenance=MADE_BY)
    assert all(path.suffix == ".dcm" for path in (tmp_path / "CT5N_uncertainty").iterdir())
    images = [pydicom.dcmread(path) for path in written]
    assert {image.SOPClassUID for image in images} == {pydicom.uid.CTImageStorage}
    assert {image.RescaleType for image in images} == {"HU"}
    assert len(images) == 5
    assert len({(image.SeriesInstanceUID, image.RescaleSlope, image.WindowWidth) for image in images}) == 1
    again = io.read(tmp_path / "CT5N_uncertainty")
    np.testing.assert_allclose(again.pixels, spread.pixels, atol=2e-5)


@pytest.mark.parametrize(("sop_class", "expected"), [
    (pydicom.uid.ComputedRadiographyImageStorage, pydicom.uid.ComputedRadiographyImageStorage),
    (pydicom.uid.DigitalXRayImageStorageForPresentation, pydicom.uid.SecondaryCaptureImageStorage),
    (pydicom.uid.DigitalMammographyXRayImageStorageForProcessing, pydicom.uid.SecondaryCaptureImageStorage),
])  # fmt: skip
def test_a_class_without_a_slope_gets_a_secondary_capture(tmp_path: Path, sop_class: str, expected: str) -> None:
    spread = _spread(io.read(_x_ray(tmp_path, sop_class)))
    (path,) = io.write_uncertainty(spread, tmp_path / "map.dcm", provenance=MADE_BY)
    image = pydicom.dcmread(path)
    assert image.SOPClassUID == image.file_meta.MediaStorageSOPClassUID == expected
    assert image.SourceImageSequence[0].ReferencedSOPClassUID == sop_class
    np.testing.assert_allclose(io.read(path).pixels, spread.pixels, atol=2e-5)


def test_a_parametric_map_has_its_own_measures_and_positions(tmp_path: Path) -> None:
    spread = _spread(io.read(get_testdata_file("MR_small.dcm")), 4)
    options = {"provenance": MADE_BY, "parametric_map": True}
    shown, mapped = io.write_uncertainty(spread, tmp_path / "x_uncertainty.dcm", **options)
    assert (shown.name, mapped.name) == ("x_uncertainty.dcm", "x_uncertainty_parametric.dcm")
    image = highdicom.imread(mapped)
    assert image.SOPClassUID == pydicom.uid.ParametricMapStorage
    shared = image.SharedFunctionalGroupsSequence[0]
    assert shared.PixelMeasuresSequence[0].PixelSpacing == [0.078125, 0.078125]
    place = image.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence[0].ImagePositionPatient
    np.testing.assert_allclose(place, np.array([-83.9063, -91.2, 6.6406]) - [0.1171875, 0.1171875, 0], atol=1e-6)
    np.testing.assert_array_equal(image.get_frames()[0], spread.pixels[0])
    assert image.StudyInstanceUID == spread.source.header[0].StudyInstanceUID
    assert image.SyntheticData == "YES"
    with pytest.raises(StaleError):
        io.write_uncertainty(spread, tmp_path / "x_uncertainty.dcm", **options)


def test_a_series_becomes_one_parametric_map_in_place(tmp_path: Path) -> None:
    spread = _spread(io.read(SERIES))
    *_, mapped = io.write_uncertainty(spread, tmp_path / "s", provenance=MADE_BY, parametric_map=True)
    image = highdicom.imread(mapped)
    assert (mapped.name, image.NumberOfFrames) == ("s_parametric.dcm", 5)
    volume = image.get_volume()
    (plain, _) = io.write(spread, tmp_path / "s.nii.gz", provenance=MADE_BY)
    ras = np.diag([-1.0, -1.0, 1.0, 1.0]) @ volume.affine
    values, to_index = nibabel.load(plain).get_fdata(), np.linalg.inv(nibabel.load(plain).affine) @ ras
    i, j, k = np.rint((to_index @ [1, 2, 3, 1])[:3]).astype(int)  # the same voxel in both grids
    assert volume.array[1, 2, 3] == values[i, j, k]


def test_the_same_run_writes_the_same_bytes(tmp_path: Path) -> None:
    spread = _spread(io.read(SERIES))
    options = {"provenance": MADE_BY, "parametric_map": True}
    outputs = [io.write_uncertainty(spread, tmp_path / name / "s", **options) for name in "ab"]
    assert [path.read_bytes() for path in outputs[0]] == [path.read_bytes() for path in outputs[1]]


def test_an_image_without_a_place_gets_no_parametric_map(tmp_path: Path) -> None:
    spread = _spread(io.read(PROJECTION))
    with pytest.raises(InputError, match="position a slice"):
        io.write_uncertainty(spread, tmp_path / "s.dcm", provenance=MADE_BY, parametric_map=True)
    assert not list(tmp_path.iterdir())


def test_a_map_without_any_spread_is_written(tmp_path: Path) -> None:
    volume = io.read(get_testdata_file("MR_small.dcm"))
    flat = volume.enlarged(np.zeros((1, 128, 128)), 2)
    (path,) = io.write_uncertainty(flat, tmp_path / "s.dcm", provenance=MADE_BY)
    assert (io.read(path, constant=True).pixels == 0).all()


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
