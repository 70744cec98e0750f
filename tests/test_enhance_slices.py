"""A volume is enhanced slice by slice: a killed job goes on within it, to the same bytes, and leaves nothing behind."""

import os
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file

from latentsr.enhance import Job, enhance_files
from latentsr.upscalers import Sampling, Upscaler, load_upscaler

SLICES, KILLED_AT = 10, 8


@pytest.fixture(params=["series", "a.nii", "b.nii.gz"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Ten slices of a real MR image with other noise each, as a DICOM series or NIfTI."""
    place, one = tmp_path / "in" / request.param, pydicom.dcmread(get_testdata_file("MR_small.dcm"))
    place.parent.mkdir()
    pixels = one.pixel_array[None] + np.random.default_rng(0).integers(0, 99, (SLICES, *one.pixel_array.shape))
    if place.suffix:
        axis = 1 if place.suffix == ".nii" else 2
        array, affine = np.moveaxis(pixels, 0, axis), np.eye(4)
        affine[axis, axis] = 2
        nibabel.Nifti1Image(array.astype(np.int16), affine).to_filename(place)
        return place.parent
    place.mkdir()
    for number, stored in enumerate(pixels):
        one.SOPInstanceUID, one.InstanceNumber, one.ImagePositionPatient = f"1.2.{number}", number, [0, 0, number]
        one.PixelData = stored.astype(np.int16).tobytes()
        one.save_as(place / f"{number}.dcm")
    return place.parent


@pytest.fixture(scope="module")
def model(model_folder: Path) -> Upscaler:
    return load_upscaler(model_folder, device="cpu")


def _content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_killed_job_goes_on_within_the_volume(
    source: Path, tmp_path: Path, model: Upscaler, forked: Callable[..., int]
) -> None:
    sampling = Sampling(realism=1, steps=2, samples=2)
    whole = enhance_files([source], Job(model, sampling, tmp_path / "whole"))
    killed = Job(model, sampling, tmp_path / "killed")

    def kill(done: float, of: int) -> None:
        if done >= KILLED_AT / SLICES:
            os._exit(9)

    assert forked(lambda: enhance_files([source], killed, progress=kill)) == 9
    (left,) = killed.run.glob("slices-*")
    assert {path.name for path in left.iterdir()} == {"image.f32", "spread.f32", "state.json"}
    seen: list[float] = []
    again = enhance_files([source], killed, progress=lambda done, of: seen.append(done))
    assert seen[1] == KILLED_AT / SLICES  # the first of all that is done within the volume
    assert _content(tmp_path / "killed") == _content(tmp_path / "whole")
    assert again[0].checks == whole[0].checks
    assert {path.name for path in killed.run.iterdir()} == {"run.json"}


def test_other_options_do_not_go_on_where_a_killed_job_was(
    source: Path, tmp_path: Path, model: Upscaler, forked: Callable[..., int]
) -> None:
    def kill(done: float, of: int) -> None:
        if done >= KILLED_AT / SLICES:
            os._exit(9)

    one, other = (Job(model, Sampling(realism=1, steps=2, seed=seed), tmp_path / "out") for seed in (0, 1))
    assert forked(lambda: enhance_files([source], one, progress=kill)) == 9
    seen: list[float] = []
    enhance_files([source], other, progress=lambda done, of: seen.append(done))
    assert seen[1] == 0
    assert {path.name for path in other.run.iterdir()} == {"run.json"}
    fresh = Job(model, Sampling(realism=1, steps=2, seed=1), tmp_path / "fresh")
    enhance_files([source], fresh)
    assert _content(tmp_path / "out") == _content(tmp_path / "fresh")
