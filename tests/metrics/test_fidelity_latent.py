import numpy as np
import pytest
import torch
from skimage.measure import block_reduce
from skimage.metrics import peak_signal_noise_ratio
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d
from torchmetrics.functional import pairwise_cosine_similarity

from latentsr.errors import InputError
from latentsr.metrics.fidelity import SCALES, latent_cosine, latent_mse, latent_psnr


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
