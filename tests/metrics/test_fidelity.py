import math

import numpy as np
import piq
import pytest
import torch
from skimage.metrics import normalized_root_mse, peak_signal_noise_ratio, structural_similarity
from torch import Tensor
from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

from latentsr.metrics.fidelity import mae, ms_ssim, nrmse, psnr, ssim

Pairs = dict[str, tuple[Tensor, Tensor]]


def image_by_image(function, sr: Tensor, hr: Tensor) -> np.ndarray:
    """A second implementation's values, called on float64 (rows, columns) arrays."""
    return np.array([function(s, h) for s, h in zip(sr[:, 0].double().numpy(), hr[:, 0].double().numpy(), strict=True)])


def test_psnr_equals_scikit_image(pairs: Pairs) -> None:
    for sr, hr in pairs.values():
        expected = image_by_image(lambda s, h: peak_signal_noise_ratio(h, s, data_range=1.0), sr, hr)
        np.testing.assert_allclose(psnr(sr, hr), expected, rtol=1e-5)


def test_nrmse_equals_scikit_image(pairs: Pairs) -> None:
    for sr, hr in pairs.values():
        expected = image_by_image(lambda s, h: normalized_root_mse(h, s, normalization="min-max"), sr, hr)
        np.testing.assert_allclose(nrmse(sr, hr), expected, rtol=1e-5)


def test_mae_equals_numpy(pairs: Pairs) -> None:
    for sr, hr in pairs.values():
        np.testing.assert_allclose(mae(sr, hr), image_by_image(lambda s, h: np.abs(s - h).mean(), sr, hr), rtol=1e-5)


def test_ssim_equals_scikit_image(pairs: Pairs) -> None:
    def second(s: np.ndarray, h: np.ndarray) -> float:
        return structural_similarity(
            h, s, data_range=1.0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        )

    for sr, hr in pairs.values():
        np.testing.assert_allclose(ssim(sr, hr), image_by_image(second, sr, hr), rtol=2e-5)
        np.testing.assert_allclose(ssim(sr.double(), hr.double()), image_by_image(second, sr, hr), rtol=1e-9)


def test_ms_ssim_equals_torchmetrics_and_piq(pairs: Pairs) -> None:
    for sr, hr in (pairs["abdomen"], pairs["odd"]):
        second = multiscale_structural_similarity_index_measure(sr, hr, data_range=1.0, reduction="none")
        np.testing.assert_allclose(ms_ssim(sr, hr), second, rtol=1e-6)
    sr, hr = pairs["abdomen"]
    # piq drops the border at the coarsest scale, torchmetrics mirrors it.
    np.testing.assert_allclose(ms_ssim(sr, hr), piq.multi_scale_ssim(sr, hr, reduction="none"), rtol=1e-3)


def test_ms_ssim_has_a_value_from_161_pixels_on(sr: Tensor, hr: Tensor) -> None:
    small = slice(50, 50 + 161)
    values = ms_ssim(sr[..., small, small], hr[..., small, small])
    np.testing.assert_allclose(values, ms_ssim(sr, hr), atol=0.02)
    assert ms_ssim(sr[..., :160, :], hr[..., :160, :]).isnan().all()


def test_ms_ssim_of_unlike_images_is_zero_and_not_nan(hr: Tensor) -> None:
    values = ms_ssim(1 - hr, hr)
    assert values.isfinite().all()
    assert (values < 0.1).all()


def test_ssim_of_less_than_one_window_has_no_value(hr: Tensor) -> None:
    assert ssim(hr[..., :10, :], hr[..., :10, :]).isnan().all()
    assert ssim(hr[..., :11, :11], hr[..., :11, :11]).tolist() == pytest.approx([1.0] * 3)


def test_identical_images(hr: Tensor) -> None:
    assert psnr(hr, hr).tolist() == [math.inf] * 3
    assert mae(hr, hr).tolist() == nrmse(hr, hr).tolist() == [0.0] * 3
    torch.testing.assert_close(ms_ssim(hr, hr), torch.ones(3))


def test_nrmse_of_a_constant_hr_has_no_value(hr: Tensor) -> None:
    constant = torch.cat([torch.full_like(hr[:1], 0.5), hr[1:]])
    assert nrmse(hr, constant).isnan().tolist() == [True, False, False]
