import numpy as np
import pytest
import torch
from scipy.stats import wasserstein_distance
from torch import Tensor
from torch_fidelity.metric_fid import fid_statistics_to_metric
from torchmetrics.image.fid import _compute_fid

from latentsr.errors import InputError
from latentsr.metrics.sets import fid, patch_descriptors, sliced_wasserstein


def features(images: int, shift: float = 0.0, seed: int = 0) -> Tensor:
    """Made-up features (images, 24), correlated as those of a network are."""
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(24, 24, generator=torch.Generator().manual_seed(9))
    return (torch.randn(images, 24, generator=generator) @ mix + shift).relu()


@pytest.fixture(params=[(200, 150), (10, 8)], ids=["many images", "fewer images than features"])
def sets(request: pytest.FixtureRequest) -> tuple[Tensor, Tensor]:
    first, second = request.param
    return features(first, 0.5, seed=1), features(second, seed=2)


def test_fid_equals_torchmetrics_and_torch_fidelity(sets: tuple[Tensor, Tensor]) -> None:
    found = fid(*sets)
    statistics = [(values.double().mean(dim=0), values.double().T.cov()) for values in sets]
    second = _compute_fid(*statistics[0], *statistics[1])
    np.testing.assert_allclose(found, float(second), rtol=1e-5)
    named = [{"mu": mean.numpy(), "sigma": covariance.numpy()} for mean, covariance in statistics]
    third = fid_statistics_to_metric(*named, verbose=False)
    np.testing.assert_allclose(found, third["frechet_inception_distance"], rtol=1e-3)


def test_like_sets_are_near_and_a_set_is_nothing_from_itself() -> None:
    first, second, other = features(300, seed=1), features(300, seed=2), features(300, 6.0, seed=3)
    assert fid(first, first) == pytest.approx(0, abs=1e-6)
    assert fid(first, second) < 0.2 * fid(first, other)


def test_unusable_features_are_refused() -> None:
    with pytest.raises(InputError, match="of one network"):
        fid(features(5), features(5)[:, :3])
    with pytest.raises(InputError, match="2 or more of each"):
        fid(features(1), features(5))
    with pytest.raises(InputError, match="take as many of each set"):
        sliced_wasserstein(features(5), features(6))


def test_swd_equals_scipy_along_the_same_directions() -> None:
    first, second = features(400, 0.5, seed=1), features(400, seed=2)
    found = sliced_wasserstein(first, second, generator=torch.Generator().manual_seed(5), projections=40)
    directions = torch.randn(24, 40, generator=torch.Generator().manual_seed(5)).double()
    directions /= directions.norm(dim=0)
    scaled = [(v.double() - v.double().mean()) / v.double().std(correction=0) for v in (first, second)]
    projected = [(values @ directions).numpy() for values in scaled]
    expected = np.mean([wasserstein_distance(projected[0][:, i], projected[1][:, i]) for i in range(40)])
    np.testing.assert_allclose(found, 1000 * expected, rtol=1e-5)


def test_swd_tells_blurred_images_from_real_ones(sr: Tensor, hr: Tensor) -> None:
    def drawn(images: Tensor, seed: int) -> dict[str, Tensor]:
        sources = [torch.Generator().manual_seed(seed + number) for number in range(len(images))]
        return {
            level: patches.flatten(0, 1) for level, patches in patch_descriptors(images, sources, patches=2000).items()
        }

    real, again, blurred = drawn(hr, 0), drawn(hr, 10), drawn(sr, 20)
    floor, distance = (
        sliced_wasserstein(images["x1"], real["x1"], generator=torch.Generator().manual_seed(0), projections=64)
        for images in (again, blurred)
    )
    assert distance > 1.5 * floor
    same = sliced_wasserstein(real["x4"], real["x4"], generator=torch.Generator().manual_seed(0), projections=8)
    assert same == 0
