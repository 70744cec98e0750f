from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from latentsr.autoencoders.haar import Haar
from latentsr.config import checked
from latentsr.diffusion.denoiser import DenoiserSpec
from latentsr.diffusion.latents import LatentSpace, Statistics
from latentsr.diffusion.objective import OBJECTIVES, alphas_sigmas
from latentsr.errors import InputError, OptionError
from latentsr.training.denoiser import DenoiserTraining, TrainConfig, denoiser_spec, latent_space, resolved
from latentsr.training.trainer import Budget
from latentsr.upscalers.restorer import ModelConfig, Restorer

FACTS = {"mean": [0.1, -0.2], "sd": [0.5, 2.0]}


def cache(**sides: int) -> SimpleNamespace:
    """The part of a cache that decides sizes and statistics: roles by their side."""
    arrays = {
        role.replace("_", "-"): np.zeros((3, 1 if role == "pixels" else 2, side, side)) for role, side in sides.items()
    }
    statistics = {role: {"mean": [0.0], "sd": [1.0]} if role == "pixels" else FACTS for role in arrays}
    if "latent-up" in arrays:
        statistics["residual"] = FACTS
    return SimpleNamespace(root="cache", statistics=statistics, array=lambda split, role: arrays[role])


def training(**options: object) -> DenoiserTraining:
    """A training whose network always says nought."""
    config = TrainConfig(**{"target": "latent", "channels": (8, 16), "layers": 1, "groups": 4, "crop": 4, **options})
    here = cache(hr=4, pixels=4, latent_up=4)
    model = ModelConfig(
        name="tiny", degradation="bicubic:4", autoencoder="haar", autoencoder_hash="", space=latent_space(here, config),
        denoiser=denoiser_spec(here, config), objective=config.objective, schedule=config.schedule, solver="dpm++",
    )  # fmt: skip
    return DenoiserTraining(Restorer(model, Nought(), Haar(4)), config, Budget(9, None), Path("pictures"))


class Nought(nn.Module):
    """Keeps what it is asked."""

    def forward(self, z: Tensor, times: Tensor, condition: Tensor) -> Tensor:
        self.z, self.times, self.condition = z, times, condition
        return torch.zeros_like(z)


def batch(time: int) -> dict[str, Tensor]:
    torch.manual_seed(1)
    return {
        "hr": torch.randn(3, 2, 4, 4), "latent-up": torch.randn(3, 2, 4, 4), "pixels": torch.randn(3, 1, 4, 4),
        "noise": torch.randn(3, 2, 4, 4), "time": torch.full((3,), time),
    }  # fmt: skip


def target(x: Tensor, noise: Tensor, objective: str, schedule: str, time: int) -> tuple[Tensor, Tensor]:
    """(what the network is to say, what it is shown), written out anew."""
    alpha, sigma = (float(table[time]) for table in alphas_sigmas(schedule, OBJECTIVES[objective].terminal))
    wanted = {"x0": x, "epsilon": noise, "v": alpha * noise - sigma * x, "flow": noise - x}
    return wanted[objective], alpha * x + sigma * noise


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("time", [0, 400, 999])
@pytest.mark.parametrize("loss", ["l1", "l2"])
def test_loss_is_the_distance_to_the_target_in_normalised_latents(objective: str, time: int, loss: str) -> None:
    schedule = "flow" if objective == "flow" else "cosine"
    module, data = training(objective=objective, schedule=schedule, loss=loss, channel_weight=0.0), batch(time)
    mean, sd = (torch.tensor(FACTS[key])[:, None, None] for key in ("mean", "sd"))
    wanted, shown = target((data["hr"] - mean) / sd, data["noise"], objective, schedule, time)
    expected = wanted.abs().mean() if loss == "l1" else wanted.square().mean()
    assert module.loss(data) == pytest.approx(float(expected), rel=1e-4)
    assert torch.allclose(module.network.z, shown, atol=1e-5)
    assert torch.equal(module.network.times, data["time"])
    assert torch.equal(module.network.condition, data["pixels"])


def test_residual_is_learned_above_the_enlarged_lr() -> None:
    module, data = training(target="residual", channel_weight=0.0), batch(999)
    mean, sd = (torch.tensor(FACTS[key])[:, None, None] for key in ("mean", "sd"))
    expected = ((data["hr"] - data["latent-up"] - mean) / sd).square().mean()
    assert module.loss(data) == pytest.approx(float(expected), rel=1e-5)
    assert torch.allclose(module.network.z, data["noise"], atol=1e-5)


@pytest.mark.parametrize("power", [0.0, 0.5, 2.0])
def test_channels_weigh_by_a_power_of_their_sd(power: float) -> None:
    module, data = training(channel_weight=power), batch(999)
    weights = torch.tensor(FACTS["sd"]) ** power
    mean, sd = (torch.tensor(FACTS[key])[:, None, None] for key in ("mean", "sd"))
    squared = ((data["hr"] - mean) / sd).square().mean(dim=(0, 2, 3))
    assert module.loss(data) == pytest.approx(float((weights / weights.mean() * squared).mean()), rel=1e-5)


def test_snr_weight_is_the_share_of_signal() -> None:
    data = batch(400)
    plain, weighed = (training(snr_weight=weigh, channel_weight=0.0).loss(data) for weigh in (False, True))
    assert weighed / plain == pytest.approx(float(alphas_sigmas("cosine")[0][400] ** 2), rel=1e-4)


@pytest.mark.parametrize("loss", ["l1", "l2"])
def test_a_regression_learns_the_decoded_pixels(loss: str) -> None:
    module, data = training(family="regression", channels=(8,), loss=loss, target="residual"), batch(999)
    module.restorer.autoencoder = SimpleNamespace(decode=lambda latents: latents.sum(dim=1, keepdim=True))
    mean = torch.tensor(FACTS["mean"])[:, None, None]
    error = (data["hr"] - data["latent-up"] - mean).sum(dim=1, keepdim=True)
    expected = error.abs().mean() if loss == "l1" else error.square().mean()
    assert module.loss(data) == pytest.approx(float(expected), rel=1e-4)


def test_a_regression_has_defaults_of_its_own_and_options_that_it_cannot_have() -> None:
    config = TrainConfig(family="regression", steps=7)
    assert (config.channels, config.layers, config.loss, config.flips, config.calibrate) == (
        (64,),
        16,
        "l1",
        True,
        False,
    )
    assert (config.steps, config.crop, config.batch) == (7, 0, 4)
    assert TrainConfig.model_validate(config.model_dump(mode="json")) == config
    for name, value in {"objective": "v", "channels": (8, 16), "calibrate": True, "snr_weight": True}.items():
        with pytest.raises(ValueError, match=name):
            TrainConfig(family="regression", **{name: value})


@pytest.mark.parametrize(
    ("conditions", "sides", "channels"),
    [
        (("pixels",), {"hr": 8, "pixels": 8}, 1),
        (("pixels",), {"hr": 8, "pixels": 16}, 4),
        (("pixels",), {"hr": 8, "pixels": 4}, 1),
        (("latent-up", "pixels"), {"hr": 8, "pixels": 8, "latent_up": 8}, 3),
        (("latent-native",), {"hr": 8, "latent_native": 2}, 2),
    ],
)
def test_the_network_fits_the_cache(conditions: tuple[str, ...], sides: dict[str, int], channels: int) -> None:
    spec = denoiser_spec(cache(**sides), TrainConfig(conditions=conditions, target="latent", channels=(8, 16)))
    assert isinstance(spec, DenoiserSpec)
    assert (spec.latent_channels, spec.condition_channels, spec.channels) == (2, channels, (8, 16))


def test_the_space_takes_the_statistics_of_what_it_uses() -> None:
    here = cache(hr=8, pixels=8, latent_up=8)
    space = latent_space(here, TrainConfig(conditions=("pixels",), target="residual"))
    assert space == LatentSpace(
        conditions=("pixels",), target="residual",
        statistics={"residual": Statistics(**FACTS), "pixels": Statistics(mean=(0.0,), sd=(1.0,))},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"conditions": ("latent-native",), "target": "latent"},
            "no latent-native in the cache.*the condition latent-native",
        ),
        ({"conditions": ("pixels",), "target": "residual"}, "no residual in the cache.*the condition latent-up$"),
    ],
)
def test_a_cache_without_a_role_says_what_to_encode(options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        latent_space(cache(hr=8, pixels=8), TrainConfig(**options))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"crop": 6, "channels": (8, 16, 24)}, "crop 6: expected a multiple of 4 for 3 levels"),
        ({"objective": "flow"}, "flow goes with flow alone"),
        ({"schedule": "flow"}, "flow goes with flow alone"),
        ({"attention": (True,)}, r"attention \(True,\): expected one value for each of 3 levels"),
        ({"channels": (8, 12)}, r"channels \(8, 12\): expected multiples of groups \(8\)"),
        ({"published": True, "objective": "v"}, "takes x0 or flow"),
        ({"decay": "epoch"}, "without epochs"),
        ({"band_weights": (1.0,) * 6, "crop": 16}, "cannot be halved"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options: dict, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        checked(TrainConfig, {"target": "latent", **options}, "train")


def test_a_crop_of_zero_is_as_large_as_the_latents() -> None:
    two = {"channels": (8, 8), "crop": 0}
    for options, multiple, side in (({"family": "regression"}, 1, 9), (two, 1, 8), (two, 3, 6), ({"crop": 4}, 3, 4)):
        assert resolved(TrainConfig(**options), cache(hr=9), SimpleNamespace(multiple=multiple)).crop == side
    with pytest.raises(OptionError, match="latents of 9 px a side: expected 10 or more"):
        resolved(TrainConfig(**two), cache(hr=9), SimpleNamespace(multiple=5))
