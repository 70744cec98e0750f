import math

import numpy as np
import piq
import pytest
import torch
from PIL import Image
from skimage.measure import block_reduce
from skimage.metrics import normalized_root_mse, peak_signal_noise_ratio, structural_similarity
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d
from torchmetrics.functional import pairwise_cosine_similarity
from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

from latentsr.degrade import parse_degradation, project
from latentsr.errors import InputError
from latentsr.metrics.fidelity import (
    SCALES,
    background_psnr,
    background_ssim,
    background_ssim_published,
    intensity_bias,
    latent_cosine,
    latent_mse,
    latent_psnr,
    lr_psnr,
    mae,
    mean_intensity,
    ms_ssim,
    nrmse,
    psnr,
    roi_psnr,
    roi_ssim,
    roi_ssim_published,
    ssim,
    ssim_map,
)

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


def test_values_equal_numpy(pairs: Pairs) -> None:
    for sr, hr in pairs.values():
        means = [image[:, 0].double().numpy().mean(axis=(1, 2)) for image in (sr, hr)]
        np.testing.assert_allclose(mean_intensity(sr), means[0], rtol=1e-5)
        np.testing.assert_allclose(intensity_bias(sr, hr), means[0] - means[1], atol=1e-6)


def test_a_brighter_image_has_its_offset_as_bias(hr: Tensor) -> None:
    np.testing.assert_allclose(intensity_bias(0.5 * hr + 0.25, 0.5 * hr), 0.25, rtol=1e-5)


def fidelity(sr: Tensor, hr: Tensor) -> dict[str, Tensor]:
    return {"cosine": latent_cosine(sr, hr), "mse": latent_mse(sr, hr), "psnr": latent_psnr(sr, hr)}


@pytest.fixture
def latents() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    hr = torch.randn(2, 3, 64, 64, generator=generator).cumsum(dim=-1) / 4
    return hr + 0.3 * torch.randn(hr.shape, generator=generator), hr


def test_values_equal_scikit_image_and_torchmetrics_on_pooled_blocks(latents: tuple[Tensor, Tensor]) -> None:
    found = fidelity(*latents)
    for column, scale in enumerate(SCALES):
        block = (1, 1, 64 // scale, 64 // scale)
        sr, hr = (block_reduce(latent.double().numpy(), block, np.mean) for latent in latents)
        for image in range(2):
            a, b = sr[image], hr[image]
            flat = [torch.from_numpy(x).reshape(1, -1) for x in (a, b)]
            cosine = float(pairwise_cosine_similarity(*flat))
            psnr = peak_signal_noise_ratio(b, a, data_range=np.abs(b).max())
            np.testing.assert_allclose(found["cosine"][image, column], cosine, rtol=1e-5)
            np.testing.assert_allclose(found["mse"][image, column], np.mean((a - b) ** 2), rtol=1e-4)
            np.testing.assert_allclose(found["psnr"][image, column], psnr, rtol=1e-4)


def test_identical_latents(latents: tuple[Tensor, Tensor]) -> None:
    _, hr = latents
    found = fidelity(hr, hr)
    np.testing.assert_allclose(found["cosine"], 1, rtol=1e-5)
    assert (found["mse"] == 0).all()
    assert (found["psnr"] == torch.inf).all()


def test_scales_above_the_latents_size_have_no_value(latents: tuple[Tensor, Tensor]) -> None:
    sr, hr = (latent[..., :24, :20] for latent in latents)
    found = fidelity(sr, hr)["mse"]
    assert found.isnan().tolist() == [[True, True, False, False, False, False, False]] * 2
    pooled = [adaptive_avg_pool2d(latent, 16) for latent in (sr, hr)]
    np.testing.assert_allclose(found[:, 2], (pooled[0] - pooled[1]).square().mean(dim=(1, 2, 3)), rtol=1e-5)


def test_an_empty_latent_has_no_cosine_and_no_psnr(latents: tuple[Tensor, Tensor]) -> None:
    found = fidelity(latents[0], torch.zeros_like(latents[0]))
    assert found["cosine"].isnan().all()
    assert found["psnr"].isnan().all()


def test_latents_of_other_shapes_are_refused(latents: tuple[Tensor, Tensor]) -> None:
    with pytest.raises(InputError, match="expected two alike"):
        fidelity(latents[0], latents[1][:, :2])


X4 = parse_degradation("bicubic:4")


def test_it_equals_scikit_image_on_pillows_reduction(sr: Tensor, hr: Tensor) -> None:
    lr = X4.apply(hr)
    for number in range(3):
        again = Image.fromarray(sr[number, 0].numpy()).resize((64, 64), Image.Resampling.BICUBIC)
        expected = peak_signal_noise_ratio(lr[number, 0].numpy(), np.asarray(again), data_range=1.0)
        np.testing.assert_allclose(lr_psnr(sr, lr, X4)[number], expected, rtol=1e-4)


def test_a_projected_image_is_true_to_its_input_unclamped(sr: Tensor, hr: Tensor) -> None:
    lr = X4.apply(hr)
    projected = project(sr, lr, X4)
    assert (projected < 0).any()
    assert (lr_psnr(projected, lr, X4) > 100).all()


def test_rounding_to_eight_bits_costs_what_it_must(hr: Tensor) -> None:
    values = lr_psnr((hr * 255).round() / 255, X4.apply(hr), X4)
    assert (values > 54).all()
    exact = parse_degradation("area:4")
    assert (lr_psnr(torch.zeros_like(hr), exact.apply(torch.zeros_like(hr)), exact) == torch.inf).all()


def test_an_lr_of_another_scale_is_refused(hr: Tensor) -> None:
    with pytest.raises(InputError, match="check the degradation and its scale"):
        lr_psnr(hr, hr[..., ::2, ::2], X4)


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


def test_the_published_ssim_of_a_region_is_that_of_its_bounding_box_and_7_px(
    sr: Tensor, hr: Tensor, mask: Tensor
) -> None:
    """The published code, with scikit-image: the map of the box around the mask, averaged over the mask."""
    for image, found in enumerate(roi_ssim_published(sr, hr, mask)[:2].tolist()):
        inside, s, h = (one[image, 0].numpy() for one in (mask, sr.double(), hr.double()))
        box = tuple(slice(max(at.min() - 7, 0), at.max() + 8) for at in inside.nonzero())
        _, similarity = structural_similarity(h[box], s[box], data_range=1.0, full=True)
        assert found == pytest.approx(similarity[inside[box]].mean(), abs=2e-5)
        _, similarity = structural_similarity(h, s, data_range=1.0, full=True)
        background = background_ssim_published(sr, hr, mask)[image]
        assert float(background) == pytest.approx(similarity[~inside].mean(), abs=2e-5)
    assert roi_ssim_published(hr[..., :6], hr[..., :6], mask[..., :6]).isnan().all()


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
