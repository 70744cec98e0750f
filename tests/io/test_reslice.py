"""Slices brought closer keep the volume where it is, in NIfTI and DICOM; volumes without even slices are refused."""

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file

from latentsr import io
from latentsr.errors import InputError
from latentsr.io.dicom.geometry import affine
from latentsr.io.reslice import resliced, slice_distance
from latentsr.provenance import Provenance
from latentsr.volume import Volume

MADE_BY = Provenance("tiny", "1.2.3", "f00d", 7, "{}", what="Slices brought to 2 mm")
UPRIGHT = np.array([[-0.4, 0, 0, 20], [0, 0.3, 0.8, -30], [0, 0.4, -0.6 * 5, 7], [0, 0, 0, 1]])
UPRIGHT[:3, 2] = np.cross(UPRIGHT[:3, 0], UPRIGHT[:3, 1]) / np.linalg.norm(np.cross(UPRIGHT[:3, 0], UPRIGHT[:3, 1])) * 5

Series = Callable[..., Path]


@pytest.fixture
def series(tmp_path: Path) -> Series:
    """A series of a real MR slice at several places, 6 mm apart and 5 mm thick unless told otherwise."""

    def make(places: list[float], shift: float = 0.0, **elements: object) -> Path:
        (tmp_path / "series").mkdir()
        for number, place in enumerate(places, 1):
            one = pydicom.dcmread(get_testdata_file("MR_small.dcm"))
            one.SOPInstanceUID, one.InstanceNumber = f"1.2.3.{number}", number
            one.ImagePositionPatient, one.SliceThickness = [10 + shift * place, 20, place], 5
            one.SliceLocation, one.SpacingBetweenSlices = place, 6
            for keyword, value in elements.items():
                setattr(one, keyword, value)
            one.save_as(tmp_path / "series" / f"{number}.dcm")
        return tmp_path / "series"

    return make


def _closer(volume: Volume, count: int, distance: float) -> Volume:
    pixels = np.resize(volume.pixels, (count, *volume.pixels.shape[1:]))
    return resliced(volume, pixels, distance)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("codes", [(1, 1), (1, 0), (0, 1)])
def test_nifti_stays_where_it_is(tmp_path: Path, axis: int, codes: tuple[int, int]) -> None:
    image = nibabel.Nifti1Image(np.arange(60, dtype=np.int16).reshape(3, 4, 5), UPRIGHT)
    image.set_qform(UPRIGHT, code=codes[0])
    image.set_sform(UPRIGHT, code=codes[1])
    image.to_filename(tmp_path / "thick.nii")
    volume = io.read(tmp_path / "thick.nii", axis=axis)
    old, size = image.shape[axis], np.linalg.norm(UPRIGHT[:3, axis])
    assert slice_distance(volume) == (pytest.approx(size, rel=1e-6), None)
    new = _closer(volume, 3 * old, size / 3)
    path, sidecar = io.write(new, tmp_path / "thin.nii", provenance=MADE_BY)
    written = nibabel.load(path)
    shape = [*image.shape]
    shape[axis] *= 3
    assert list(written.shape) == shape
    before, after = np.array([-0.5, -0.5, -0.5, 1]), np.array([-0.5, -0.5, -0.5, 1])
    ends = [(before, after), (before.copy(), after.copy())]
    ends[1][0][axis], ends[1][1][axis] = old - 0.5, 3 * old - 0.5
    for source, thin in ends:
        np.testing.assert_allclose(written.affine @ thin, UPRIGHT @ source, atol=1e-5)
    assert written.header.get_zooms()[axis] == pytest.approx(size / 3, rel=1e-6)
    for form, code in ((written.get_qform(), codes[0]), (written.get_sform(), codes[1])):
        if code:
            np.testing.assert_allclose(form, written.affine, atol=1e-5)
    assert "slices every" in sidecar.read_text()
    assert "Slices brought to 2 mm by latentsr 1.2.3" in sidecar.read_text()


@pytest.mark.parametrize("axis", [0, 2])
@pytest.mark.parametrize("name", ["thick.mgz", "thick.nrrd", "thick.mha"])
def test_other_formats_stay_where_they_are(tmp_path: Path, name: str, axis: int) -> None:
    nibabel.Nifti1Image(np.arange(60, dtype=np.float32).reshape(3, 4, 5), UPRIGHT).to_filename(tmp_path / "thick.nii")
    io.write(io.read(tmp_path / "thick.nii"), tmp_path / name, provenance=None)
    volume = io.read(tmp_path / name, axis=axis)
    before, size = np.array(volume.source.header.affine), np.linalg.norm(UPRIGHT[:3, axis])
    assert slice_distance(volume) == (pytest.approx(size, rel=1e-6), None)
    path, sidecar = io.write(
        _closer(volume, 3 * len(volume.pixels), size / 3), tmp_path / f"thin-{name}", provenance=MADE_BY
    )
    written = io.read(path, axis=axis)
    assert written.pixels.shape == (3 * len(volume.pixels), *volume.pixels.shape[1:])
    after = np.array(written.source.header.affine)
    for thick, thin in ((-0.5, -0.5), (len(volume.pixels) - 0.5, len(written.pixels) - 0.5)):
        np.testing.assert_allclose(after @ [-0.5, -0.5, thin, 1], before @ [-0.5, -0.5, thick, 1], atol=1e-4)
    assert "slices every" in sidecar.read_text()


def test_dicom_instances_lie_evenly_around_the_same_centre(series: Series, tmp_path: Path) -> None:
    volume = io.read(series([-6, 0, 6]))
    assert slice_distance(volume) == (6, 5)
    paths = io.write(_closer(volume, 9, 2), tmp_path / "thin", provenance=MADE_BY)
    images = [pydicom.dcmread(path) for path in paths]
    assert [float(one.ImagePositionPatient[2]) for one in images] == [-8, -6, -4, -2, 0, 2, 4, 6, 8]
    assert [float(one.SliceLocation) for one in images] == [-8, -6, -4, -2, 0, 2, 4, 6, 8]
    assert {(float(one.SliceThickness), float(one.SpacingBetweenSlices)) for one in images} == {(2, 2)}
    assert [one.InstanceNumber for one in images] == list(range(1, 10))
    assert len({one.SOPInstanceUID for one in images}) == 9
    assert len({one.SeriesInstanceUID for one in images}) == 1
    references = [one.SourceImageSequence[0].ReferencedSOPInstanceUID for one in images]
    assert references == [f"1.2.3.{number}" for number in (1, 1, 1, 2, 2, 2, 3, 3, 3)]
    assert "Slices brought to 2 mm" in images[0].DerivationDescription
    assert images[0].SeriesDescription.endswith("thin slices latentsr, research use only")
    again = io.read(tmp_path / "thin")
    assert slice_distance(again) == (2, 2)
    source = affine(volume.source.header) @ [0, 0, 1, 1]
    np.testing.assert_allclose(affine(again.source.header) @ [0, 0, 4, 1], source, atol=1e-9)
    assert float(volume.source.header[0].SliceThickness) == 5  # that of the source is left alone


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="no dciodvfy here: install dicom3tools")
def test_dciodvfy_finds_no_error_that_the_thick_slices_do_not_have(series: Series, tmp_path: Path) -> None:
    def errors(path: Path) -> set[str]:
        said = subprocess.run(["dciodvfy", "-new", str(path)], capture_output=True, text=True, errors="replace").stderr
        young = "(0008,001c)"  # SyntheticData
        return {line for line in said.splitlines() if line.startswith("Error") and young not in line}

    folder = series([-6, 0, 6])
    written = io.write(_closer(io.read(folder), 7, 2.5), tmp_path / "thin", provenance=MADE_BY)
    for path in written:
        assert errors(path) <= errors(folder / "1.dcm")


def test_the_same_slices_get_the_same_identity_and_others_another(series: Series, tmp_path: Path) -> None:
    volume = io.read(series([-6, 0, 6]))
    first, again, other = (
        [pydicom.dcmread(path).SOPInstanceUID for path in io.write(one, tmp_path / name, provenance=made_by)]
        for name, one, made_by in (
            ("first", _closer(volume, 9, 2), MADE_BY),
            ("again", _closer(volume, 9, 2), MADE_BY),
            ("other", _closer(volume, 6, 3), Provenance("tiny", "1.2.3", "f00d", 7, '{"target":3}', what="x")),
        )
    )
    assert first == again
    assert not set(first) & set(other)


@pytest.mark.parametrize(
    ("places", "shift", "said"),
    [
        ([0], 0, "one slice"),
        ([0, 6, 18, 24], 0, "uneven"),
        ([0, 6, 12], 0.5, "tilted by 26.6 degrees"),
    ],
)
def test_slices_that_have_nothing_even_between_them_are_refused(
    series: Series, places: list[float], shift: float, said: str
) -> None:
    with pytest.raises(InputError, match=said):
        slice_distance(io.read(series(places, shift)))


def test_frames_and_pictures_are_refused(series: Series) -> None:
    volume = io.read(series([-6, 0, 6]))
    frames = replace(volume, source=replace(volume.source, wholes=volume.source.header[:1]))
    with pytest.raises(InputError, match="as frames"):
        slice_distance(frames)
    with pytest.raises(InputError, match="do not say where they lie"):
        slice_distance(Volume.from_array(np.arange(12.0).reshape(3, 2, 2)))


def test_values_between_slices_of_different_slopes_are_not_clipped(series: Series) -> None:
    folder = series([0, 6, 12], RescaleIntercept="0")
    for number, slope in enumerate((0.01, 1.0, 0.01), 1):
        one = pydicom.dcmread(folder / f"{number}.dcm")
        one.RescaleSlope = slope
        one.save_as(folder / f"{number}.dcm")
    volume = io.read(folder)
    pixels = np.stack([np.full(volume.pixels.shape[1:], value, np.float32) for value in (50, 300, 900, 300, 50)])
    made = resliced(volume, pixels, 3.0)
    for header, slope, plane in zip(made.source.header, (0.01, 0.01, 1, 0.01, 0.01), pixels, strict=True):
        assert float(header.RescaleSlope) >= slope
        assert plane.max() / float(header.RescaleSlope) <= 2 ** (header.BitsStored - 1) - 1
    assert [float(header.RescaleSlope) for header in volume.source.header] == [0.01, 1.0, 0.01]


def test_stacks_of_one_series_get_numbers_of_their_own(series: Series) -> None:
    folder = series([0, 6, 12])
    before = io.read(folder)
    for number in (1, 2, 3):
        one = pydicom.dcmread(folder / f"{number}.dcm")
        one.InstanceNumber = number + 3
        one.save_as(folder / f"{number}.dcm")
    numbers = [
        [int(one.InstanceNumber) for one in _closer(volume, 6, 3.0).source.header]
        for volume in (before, io.read(folder))
    ]
    assert numbers == [[1, 2, 3, 4, 5, 6], [7, 8, 9, 10, 11, 12]]
