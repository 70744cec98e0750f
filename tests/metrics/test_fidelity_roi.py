import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity
from torch import Tensor

from latentsr.errors import InputError
from latentsr.metrics.fidelity import background_psnr, background_ssim, psnr, roi_psnr, roi_ssim, ssim_map


@pytest.fixture
def mask(hr: Tensor) -> Tensor:
    mask = torch.zeros_like(hr, dtype=torch.bool)
    mask[0, :, 30:90, 100:220] = True
    mask[1, :, :60, :40] = True
    return mask


def test_ssim_map_equals_scikit_image_up_to_the_border(sr: Tensor, hr: Tensor) -> None:
    for s, h, found in zip(sr[:, 0].double().numpy(), hr[:, 0].double().numpy(), ssim_map(sr, hr), strict=True):
        _, expected = structural_similarity(
            h, s, data_range=1.0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True
        )
        np.testing.assert_allclose(found[0], expected, atol=5e-4)


def test_values_equal_numpy_over_the_chosen_pixels(sr: Tensor, hr: Tensor, mask: Tensor) -> None:
    similarity = ssim_map(sr, hr)
    cases = ((mask, roi_psnr, roi_ssim), (~mask, background_psnr, background_ssim))
    for chosen, psnr_of, ssim_of in cases:
        for image in range(2):
            inside = chosen[image]
            error = ((sr[image] - hr[image])[inside].double() ** 2).mean()
            np.testing.assert_allclose(psnr_of(sr, hr, mask)[image], -10 * error.log10(), rtol=1e-5)
            expected = similarity[image][inside].double().mean()
            np.testing.assert_allclose(ssim_of(sr, hr, mask)[image], expected, rtol=1e-5)


def test_a_full_mask_gives_the_whole_image_and_no_background(sr: Tensor, hr: Tensor) -> None:
    full = torch.ones_like(hr)
    np.testing.assert_allclose(roi_psnr(sr, hr, full), psnr(sr, hr), rtol=1e-5)
    assert background_psnr(sr, hr, full).isnan().all()
    assert roi_ssim(sr, hr, 0 * full).isnan().all()


def test_identical_pixels_are_infinite_inside_alone(sr: Tensor, hr: Tensor, mask: Tensor) -> None:
    mixed = torch.where(mask, hr, sr)
    assert (roi_psnr(mixed, hr, mask)[:2] == torch.inf).all()
    assert background_psnr(mixed, hr, mask).isfinite().all()


def test_a_mask_of_another_shape_is_refused(sr: Tensor, hr: Tensor, mask: Tensor) -> None:
    with pytest.raises(InputError, match="both must be alike"):
        roi_psnr(sr, hr, mask[..., :100])
    with pytest.raises(InputError, match="both must be alike"):
        roi_ssim(sr, hr, mask[:1])
    assert roi_ssim(hr[..., :10], hr[..., :10], mask[..., :10]).isnan().all()
