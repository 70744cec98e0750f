import numpy as np
import pytest
import torch

from latentsr.bench.roundtrip import latent_sums


@pytest.fixture
def latents() -> torch.Tensor:
    noise = torch.randn(6, 3, 9, 12, generator=torch.Generator().manual_seed(0))
    smooth = noise + noise.roll(1, dims=-1)  # neighbours in a row share a half
    return torch.stack([noise[:, 0], 5 + 2 * smooth[:, 1], torch.full_like(noise[:, 2], 0.3)], dim=1)


def test_sums_over_batches_are_those_of_all(latents: torch.Tensor) -> None:
    whole, parts = latent_sums(latents), latent_sums(latents[:2]) + latent_sums(latents[2:])
    assert np.allclose(whole.sums, parts.sums)
    assert parts.images == 6


def test_mean_sd_and_correlation_are_numpys(latents: torch.Tensor) -> None:
    sums, z = latent_sums(latents), latents.double().numpy()
    assert np.allclose(sums.mean, z.mean(axis=(0, 2, 3)))
    assert np.allclose(sums.sd, z.std(axis=(0, 2, 3)))
    for axis, (a, b) in {"row": (z[..., :-1], z[..., 1:]), "column": (z[..., :-1, :], z[..., 1:, :])}.items():
        expected = [np.corrcoef(a[:, c].ravel(), b[:, c].ravel())[0, 1] for c in range(2)]
        assert np.allclose(sums.correlation(axis)[:2], expected)
    assert 0.35 < sums.correlation("row")[1] < 0.65


def test_a_constant_channel_has_no_correlation(latents: torch.Tensor) -> None:
    assert np.isnan(latent_sums(latents).correlation("row")[2])
    assert latent_sums(latents).sd[2] < 1e-6


def test_one_row_has_no_neighbour_below() -> None:
    sums = latent_sums(torch.randn(2, 1, 1, 8))
    assert np.isnan(sums.correlation("column")).all()
    assert np.isfinite(sums.correlation("row")).all()
