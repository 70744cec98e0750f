"""Thick slices of a real head brought closer: nearer to the truth than a spline, and the input comes back."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from nibabel.testing import data_path
from scipy import ndimage

from latentsr.degrade import SliceProfile
from latentsr.errors import InputError, OptionError
from latentsr.upscalers import Sampling, load_upscaler
from latentsr.upscalers.through_plane import Plane, ThroughPlane, parse_profile
from latentsr.upscalers.upscaler import advance

PART = (slice(40, 100), slice(None), slice(2, 22))  # of the head, 2 x 2 x 2.2 mm


@pytest.fixture(scope="session")
def truth() -> np.ndarray:
    """A part of a real T1-weighted head, (columns, rows, slices): coronal slices every 2 mm."""
    pixels = nibabel.load(Path(data_path) / "example4d.nii.gz").get_fdata()[..., 0]
    return np.asarray(pixels[PART].swapaxes(1, 2), np.float32)


def _thick(truth: np.ndarray, ratio: int, path: Path) -> np.ndarray:
    slices = truth.shape[2] // ratio
    thick = truth[..., : slices * ratio].reshape(*truth.shape[:2], slices, ratio).mean(axis=-1)
    nibabel.Nifti1Image(thick, np.diag([2.0, 2.2, 2.0 * ratio, 1.0])).to_filename(path)
    return thick


@pytest.mark.parametrize(("ratio", "gain"), [(3, 1.0), (5, 1.5)])  # 3 and more on a head of 1 mm, see benchmarks
def test_nearer_to_the_truth_than_a_spline(tmp_path: Path, truth: np.ndarray, ratio: int, gain: float) -> None:
    thick = _thick(truth, ratio, tmp_path / "thick.nii")
    model = ThroughPlane(load_upscaler("latentsr-tiny", device="cpu"))
    enhanced = model.enhance(tmp_path / "thick.nii")
    ours = enhanced.volume.pixels.transpose(2, 1, 0)
    hr = truth[..., : ours.shape[2]]
    spline = ndimage.zoom(thick, (1, 1, ratio), order=3, mode="nearest", grid_mode=True)
    head = ndimage.binary_fill_holes(ndimage.gaussian_filter(hr, 2) > hr.max() / 10)
    error, base = (np.square(one - hr)[head].mean() for one in (ours, spline))
    assert 10 * np.log10(base / error) > gain
    again = ours.reshape(*thick.shape, ratio).mean(axis=-1)
    assert 20 * np.log10(hr.max()) - 10 * np.log10(np.square(again - thick).mean()) > 50
    assert enhanced.checks.lr_psnr > 50


def test_both_sets_of_planes_count_alike(tmp_path: Path, truth: np.ndarray) -> None:
    """The result of a volume turned in plane is the turned result: no axis is mistaken for the other."""
    model = ThroughPlane(load_upscaler("bicubic"), target=2.0)
    for name, turn in (("one", (0, 1, 2)), ("turned", (1, 0, 2))):
        pixels = truth[..., ::5].transpose(turn)
        zooms = np.array([2.0, 2.2, 10.0])[list(turn)]
        nibabel.Nifti1Image(pixels, np.diag([*zooms, 1.0])).to_filename(tmp_path / f"{name}.nii")
    one, turned = (model.enhance(tmp_path / f"{name}.nii").volume for name in ("one", "turned"))
    np.testing.assert_allclose(turned.pixels, one.pixels.swapaxes(1, 2), atol=1e-3 * float(truth.max()))
    assert one.spacing == pytest.approx((2.2, 2.0))


def test_a_target_that_divides_nothing_evenly_keeps_the_input(tmp_path: Path, truth: np.ndarray) -> None:
    _thick(truth, 5, tmp_path / "thick.nii")
    model = ThroughPlane(load_upscaler("bicubic"), target=2.3, profile="gaussian:8")
    enhanced = model.enhance(tmp_path / "thick.nii")
    assert enhanced.volume.pixels.shape[0] == np.ceil(19 * 10 / 2.3)
    assert enhanced.checks.lr_psnr > 50
    assert model.enhance(tmp_path / "thick.nii", sampling=Sampling(consistency=False)).checks.lr_psnr < 50


def test_a_line_along_the_slices_stays_one() -> None:
    """Neither the resampling before the model nor the one after it moves a slice."""
    profile = SliceProfile(12, 5.0, 5.0, 1.1)
    places = torch.arange(12.0) - 5.5
    planes = (0.5 + places / 24).expand(1, 20, 12).swapaxes(1, 2)
    model = load_upscaler("bicubic")
    work = Plane(model, profile, 1.0).restoring(planes, Sampling(), [0])
    asked = advance(work)
    made = advance(work, model.restore(model.tensor(asked.lr), ids=asked.ids, sampling=asked.sampling))
    expected = 0.5 + (torch.arange(profile.thin) - (profile.thin - 1) / 2) * 1.1 / 5 / 24
    inside = slice(12, -12)
    torch.testing.assert_close(made[0, inside, 10], expected[inside], atol=1e-3, rtol=0)


def test_a_sample_follows_from_its_seed_whatever_the_batch(
    tmp_path: Path, truth: np.ndarray, model_folder: Path
) -> None:
    _thick(truth[:8, :8, :40], 5, tmp_path / "thick.nii")
    model = ThroughPlane(load_upscaler(model_folder, device="cpu"))
    one, other, again = (
        model.enhance(tmp_path / "thick.nii", batch=batch, realism=1, steps=2, seed=seed).volume.pixels
        for batch, seed in ((1, 0), (4, 1), (4, 0))
    )
    np.testing.assert_allclose(one, again, atol=1e-3 * float(truth.max()))
    assert np.abs(one - other).max() > 1e-2 * truth.max()
    both = model.enhance(tmp_path / "thick.nii", samples=2, steps=2, seed=0)
    assert both.uncertainty is not None
    second = 2 * both.volume.pixels - one  # the first of two is the one sample of the same seed
    assert np.abs(second - one).max() > 1e-2 * truth.max()
    np.testing.assert_allclose(both.uncertainty.pixels, np.abs(second - one) / np.sqrt(2), atol=1e-3 * truth.max())
    assert both.checks.lr_psnr > 50
    with pytest.raises(OptionError, match="leave realism out, or samples"):
        model.check(Sampling(samples=2, steps=2, realism=0.5))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"target": 0.0}, "target spacing 0"),
        ({"profile": "sinc"}, "slice profile 'sinc'"),
        ({"profile": "box:x"}, "mm"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any], said: str) -> None:
    with pytest.raises(OptionError, match=said):
        ThroughPlane(load_upscaler("bicubic"), **options)


def test_nothing_is_made_of_slices_that_are_close(tmp_path: Path, truth: np.ndarray) -> None:
    _thick(truth, 1, tmp_path / "thin.nii")
    with pytest.raises(InputError, match="already as close"):
        ThroughPlane(load_upscaler("bicubic")).enhance(tmp_path / "thin.nii")


def test_profiles_as_text() -> None:
    assert parse_profile("box") == ("box", None)
    assert parse_profile("gaussian:4.5") == ("gaussian", 4.5)


def test_the_command(tmp_path: Path, truth: np.ndarray, run: Callable[..., Any]) -> None:
    (tmp_path / "in").mkdir()
    _thick(truth, 5, tmp_path / "in" / "sub-01_T1w.nii.gz")
    (tmp_path / "in" / "README").write_text("no image")
    said = run("enhance", tmp_path / "in", "-o", tmp_path / "out", "--through-plane", "--model", "bicubic", "--dry-run")
    assert "19 x 20 x 60 to 95 x 20 x 60" in said.out
    assert "would write 1 of 2" in said.out
    arguments = ("enhance", tmp_path / "in", "-o", tmp_path / "out", "--through-plane", "--model", "bicubic")
    assert run(*arguments).status == 0
    written = nibabel.load(tmp_path / "out" / "sub-01_res-throughplane_desc-latentsr_T1w.nii.gz")
    assert written.shape == (60, 20, 95)
    np.testing.assert_allclose(written.header.get_zooms(), (2, 2.2, 2), rtol=1e-6)
    assert "kept" in run(*arguments).out
    assert run(*arguments, "--target-spacing", 3).status == 2  # nothing done: it was made with other options
    wrong = run("enhance", tmp_path / "in", "-o", tmp_path / "out2", "--target-spacing", 3)
    assert (wrong.status, "--through-plane" in wrong.err) == (2, True)
