import pytest
import torch
from torch.nn.functional import interpolate, pixel_unshuffle

from latentsr.diffusion.latents import LatentSpace, Statistics, at_latent_size, condition_channels
from latentsr.errors import InputError

TWO = Statistics(mean=(1.0, -2.0), sd=(0.5, 4.0))
ONE = Statistics(mean=(0.5,), sd=(2.0,))
STATISTICS = {"hr": TWO, "residual": Statistics(mean=(0.1, 0.2), sd=(3.0, 0.3)), "latent-up": TWO, "pixels": ONE}


def space(target: str, *conditions: str) -> LatentSpace:
    return LatentSpace(conditions=conditions, target=target, statistics=STATISTICS)


def test_normalised_values_have_mean_nought_and_sd_one() -> None:
    values = (
        torch.randn(64, 2, 16, 16) * torch.tensor([0.5, 4.0])[:, None, None] + torch.tensor([1.0, -2.0])[:, None, None]
    )
    normal = TWO.normalise(values)
    assert torch.allclose(normal.mean(dim=(0, 2, 3)), torch.zeros(2), atol=0.05)
    assert torch.allclose(normal.std(dim=(0, 2, 3)), torch.ones(2), atol=0.05)
    assert torch.allclose(TWO.restore(normal), values, atol=1e-5)


@pytest.mark.parametrize("target", ["latent", "residual"])
def test_target_and_latent_are_inverses(target: str) -> None:
    hr, up = torch.randn(2, 3, 2, 4, 4)
    here = space(target, "pixels")
    wanted = here.to_target(hr, up)
    assert torch.allclose(here.from_target(wanted, up), hr, atol=1e-5)
    expected = STATISTICS["residual"].normalise(hr - up) if target == "residual" else TWO.normalise(hr)
    assert torch.equal(wanted, expected)


def test_condition_is_normalised_and_in_the_order_of_its_names() -> None:
    roles = {"pixels": torch.randn(2, 1, 4, 6), "latent-up": torch.randn(2, 2, 4, 6)}
    joined = space("latent", "pixels", "latent-up").condition(roles, (4, 6))
    assert torch.equal(joined, torch.cat([ONE.normalise(roles["pixels"]), TWO.normalise(roles["latent-up"])], dim=1))


def test_roles_are_the_conditions_and_the_base_of_a_residual() -> None:
    assert space("latent", "pixels").roles == ("pixels",)
    assert space("residual", "pixels").roles == ("pixels", "latent-up")
    assert space("residual", "latent-up", "pixels").roles == ("latent-up", "pixels")


def test_sizes_are_brought_to_the_latents() -> None:
    values = torch.randn(2, 1, 8, 12)
    assert torch.equal(at_latent_size(values, (8, 12)), values)
    assert torch.equal(at_latent_size(values, (4, 6)), pixel_unshuffle(values, 2))
    published = interpolate(values, size=(32, 48), mode="bilinear", align_corners=False)
    assert torch.equal(at_latent_size(values, (32, 48)), published)


def test_a_condition_that_is_no_multiple_is_refused() -> None:
    with pytest.raises(InputError, match=r"condition of \(16, 16\) px at a latent of \(12, 12\): expected a multiple"):
        at_latent_size(torch.zeros(1, 1, 16, 16), (12, 12))


@pytest.mark.parametrize(("side", "per_latent"), [(8, 1), (16, 2), (4, 1)])
def test_channels_are_counted_as_they_come(side: int, per_latent: int) -> None:
    roles = {"pixels": torch.randn(2, 1, side, side), "latent-up": torch.randn(2, 2, 8, 8)}
    names = ("pixels", "latent-up")
    assert space("latent", *names).condition(roles, (8, 8)).shape[1] == condition_channels(names, 2, per_latent)
