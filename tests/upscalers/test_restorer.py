import math
from collections.abc import Callable

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from latentsr.autoencoders import load_autoencoder
from latentsr.degrade import enlarge, parse_degradation, residual, translated
from latentsr.diffusion.denoiser import Denoiser, DenoiserSpec
from latentsr.diffusion.latents import LatentSpace, Statistics, condition_channels
from latentsr.errors import InputError, OptionError
from latentsr.upscalers import Restored, Sampling
from latentsr.upscalers.restorer import ModelConfig, Restorer, between

Build = Callable[..., Restorer]


def restorer(
    conditions: tuple[str, ...] = ("pixels",), target: str = "residual", degradation: str = "bicubic:4",
    autoencoder: str = "haar", objective: str = "x0", schedule: str = "cosine", solver: str = "dpm++",
    per_latent: int = 1, levels: int = 2,
) -> Restorer:  # fmt: skip
    """A small network of random weights in a latent space with details of a natural size."""
    inner = load_autoencoder(autoencoder)
    channels = inner.spec.latent_channels
    details = Statistics(mean=(0.0,) * channels, sd=(0.05,) * channels)
    latents = Statistics(mean=(0.0,) * channels, sd=(1.0,) * channels)
    space = LatentSpace(
        conditions=conditions,
        target=target,
        statistics={
            "residual": details, "hr": latents, "latent-up": latents, "latent-native": latents,
            "pixels": Statistics(mean=(0.0,), sd=(0.5,)), "noise-level": Statistics(mean=(0.0,), sd=(0.05,)),
        },
    )  # fmt: skip
    spec = DenoiserSpec(
        latent_channels=channels, condition_channels=condition_channels(conditions, channels, per_latent),
        channels=(8,) * levels, layers=1, groups=4,
    )  # fmt: skip
    config = ModelConfig(
        name="tiny", degradation=degradation, autoencoder=autoencoder, autoencoder_hash=inner.hash, denoiser=spec,
        space=space, objective=objective, schedule=schedule, solver=solver,
    )  # fmt: skip
    torch.manual_seed(0)
    return Restorer(config, Denoiser(spec), inner)


def lr(rows: int, columns: int, n: int = 3, seed: int = 0) -> Tensor:
    return torch.rand(n, 1, rows, columns, generator=torch.Generator().manual_seed(seed))


IDS = ["a", "b", "c"]


@pytest.mark.parametrize(("rows", "columns"), [(7, 13), (1, 1), (8, 8), (5, 16)])
@pytest.mark.parametrize("steps", [1, 3])
def test_any_size_gives_exactly_the_scale_and_the_lr_again(rows: int, columns: int, steps: int) -> None:
    model, images = restorer(), lr(rows, columns)
    restored = model.restore(images, ids=IDS, sampling=Sampling(steps=steps))
    assert restored.image.shape == (3, 1, 4 * rows, 4 * columns)
    assert restored.image.dtype == torch.float32
    assert restored.spread is None
    assert residual(restored.image, images, model.degradation).max() < 1e-5


@pytest.mark.parametrize(
    "options",
    [
        {"conditions": ("latent-up", "latent-native", "pixels")},
        {"conditions": ("latent-native",), "levels": 1},
        {"conditions": ("latent-native",), "degradation": "area:8"},
        {"conditions": ("latent-up",), "target": "latent"},
        {"degradation": "bicubic:2", "per_latent": 2},
        {"degradation": "lanczos:8"},
        {"degradation": "blur:1", "per_latent": 4},
        {"autoencoder": "haar-8", "degradation": "bicubic:4", "per_latent": 2},
        {"autoencoder": "identity", "conditions": ("latent-up",), "levels": 3},
        {"objective": "v", "solver": "ddim"},
        {"objective": "epsilon", "solver": "unipc"},
        {"objective": "flow", "schedule": "flow", "solver": "euler"},
        {"solver": "ddpm", "schedule": "linear"},
    ],
    ids=str,
)
def test_every_kind_of_model_restores_odd_sizes(options: dict) -> None:
    model, images = restorer(**options), lr(6, 13, 1)
    restored = model.restore(images, ids=["a"], sampling=Sampling(steps=2))
    assert restored.image.shape == (1, 1, 6 * model.degradation.scale, 13 * model.degradation.scale)
    assert residual(restored.image, images, model.degradation).max() < 1e-5


@pytest.mark.parametrize("solver", ["dpm++", "ddpm"])
def test_an_image_is_the_same_alone_in_a_batch_and_in_any_order(solver: str) -> None:
    model, images, sampling = restorer(), lr(9, 12), Sampling(steps=3, solver=solver, seed=4)
    together = model.restore(images, ids=IDS, sampling=sampling).image
    alone = model.restore(images[1:2], ids=["b"], sampling=sampling).image
    turned = model.restore(images.flip(0), ids=IDS[::-1], sampling=sampling).image
    assert torch.allclose(alone[0], together[1], atol=1e-5)
    assert torch.allclose(turned.flip(0), together, atol=1e-5)
    same = model.restore(images[:1].expand(2, -1, -1, -1), ids=["a", "b"], sampling=sampling).image
    assert not torch.allclose(same[0], same[1], atol=1e-3)


def test_seed_and_id_decide() -> None:
    model, images = restorer(), lr(8, 8, 1)

    def result(name: str, seed: int) -> Tensor:
        return model.restore(images, ids=[name], sampling=Sampling(steps=3, seed=seed)).image

    assert torch.equal(result("a", 0), result("a", 0))
    assert not torch.allclose(result("a", 0), result("a", 1), atol=1e-3)
    assert not torch.allclose(result("a", 0), result("b", 0), atol=1e-3)


def test_samples_are_averaged_and_their_spread_is_the_sd_of_whole_samples() -> None:
    model, images = restorer(), lr(8, 8, 2)

    def several(count: int, realism: float) -> Restored:
        return model.restore(images, ids=["a", "b"], sampling=Sampling(steps=3, samples=count, realism=realism))

    whole, partly = several(3, 1.0), several(3, 0.3)
    first, both = several(1, 1.0).image, several(2, 1.0)
    second = 2 * both.image - first
    assert torch.allclose(both.spread, torch.stack([first, second]).std(dim=0), atol=1e-5)
    assert torch.equal(whole.spread, partly.spread)
    assert whole.spread.mean() > 1e-3
    assert not torch.allclose(whole.image, partly.image, atol=1e-3)
    assert residual(whole.image, images, model.degradation).max() < 1e-5


def test_realism_goes_from_the_posterior_mean_to_the_whole_sample() -> None:
    model, images = restorer(), lr(8, 8)

    def result(**options: float) -> Tensor:
        return model.restore(images, ids=IDS, sampling=Sampling(consistency=False, **options)).image

    mean, drawn = model.mean_and_sample(images, ids=IDS, sampling=Sampling(steps=4))
    assert torch.equal(result(steps=1), mean)
    assert torch.equal(result(steps=4, realism=0.0), mean)
    assert torch.allclose(result(steps=4, realism=1.0), drawn, atol=1e-5)
    assert torch.allclose(result(steps=4, realism=0.4), between(mean, drawn, 0.4, None), atol=1e-5)
    assert torch.equal(result(steps=4), result(steps=4, realism=model.config.realism))


def test_a_model_without_posterior_mean_refuses_the_dial() -> None:
    model, images = restorer(objective="epsilon"), lr(8, 8)
    model.restore(images, ids=IDS, sampling=Sampling(steps=3))
    with pytest.raises(OptionError, match=r"realism 0\.5: tiny has no posterior mean"):
        model.restore(images, ids=IDS, sampling=Sampling(steps=3, realism=0.5))


def test_consistency_can_be_left_out() -> None:
    model, images = restorer(), lr(8, 8)
    free = model.restore(images, ids=IDS, sampling=Sampling(consistency=False)).image
    assert residual(free, images, model.degradation).max() > 1e-3


def test_a_network_that_finds_nothing_leaves_the_enlarged_image() -> None:
    """Intensities and the frame of reference: a residual of nought is bicubic, at any size."""
    model, images = restorer(), lr(7, 13)
    torch.nn.init.zeros_(model.denoiser.unet.conv_out.weight)
    torch.nn.init.zeros_(model.denoiser.unet.conv_out.bias)
    image = model.restore(images, ids=IDS, sampling=Sampling(consistency=False)).image
    inner = (..., slice(0, 16), slice(0, 40))  # away from the border that was padded
    assert torch.allclose(image[inner], enlarge(images, 4)[inner], atol=1e-5)


def psnr(a: Tensor, b: Tensor) -> float:
    return -10 * math.log10(float((a - b).square().mean()))


@pytest.mark.parametrize("steps", [1, 4])
def test_tiles_leave_no_seam(steps: int) -> None:
    """At least 40 dB to the image in one piece; gradients across tile borders, over those elsewhere, as there, to 5 %.

    The image in one piece is the yardstick: its own gradients at these few rows are 6 % below those elsewhere.
    """
    model, images = restorer(conditions=("latent-up", "pixels")), lr(136, 68, 1)
    tiled, whole = (
        model.restore(images, ids=["a"], sampling=Sampling(steps=steps, tile=tile)).image for tile in (64, None)
    )
    assert psnr(tiled, whole) >= 40
    assert not torch.equal(tiled, whole)
    starts = (0, 36, 72)  # in latent pixels, of three tiles of 64 on 136
    borders = sorted({4 * edge for start in starts for edge in (start, start + 64) if 0 < edge < 136})
    others = [row for row in range(4, 544, 4) if row not in borders]
    gradients = [image.diff(dim=-2).abs().mean(dim=(0, 1, 3)) for image in (tiled, whole)]
    at_borders, elsewhere = (
        float(gradients[0][[row - 1 for row in rows]].mean() / gradients[1][[row - 1 for row in rows]].mean())
        for rows in (borders, others)
    )
    assert at_borders / elsewhere == pytest.approx(1, abs=0.05)


def test_network_encoder_and_decoder_never_see_more_than_a_tile(monkeypatch: pytest.MonkeyPatch) -> None:
    model = restorer(conditions=("latent-up",))
    monkeypatch.setattr(type(model.autoencoder.spec), "has_weights", True)  # as of a network
    seen: dict[str, int] = {"encode": 0, "decode": 0, "forward": 0}

    def watched(owner: object, name: str) -> None:
        inner = getattr(owner, name)

        def call(first: Tensor, *rest: Tensor) -> Tensor:
            seen[name] = max(seen[name], *first.shape[-2:])
            return inner(first, *rest)

        monkeypatch.setattr(owner, name, call)

    watched(model.autoencoder, "encode")
    watched(model.autoencoder, "decode")
    watched(model.denoiser, "forward")
    model.restore(lr(98, 81, 1), ids=["a"], sampling=Sampling(tile=64))
    assert seen == {"encode": 256, "decode": 64, "forward": 64}
    seen |= dict.fromkeys(seen, 0)
    model.restore(lr(151, 81, 1), ids=["a"], sampling=Sampling(tile=91))  # two of (152 + 16) / 2
    assert seen == {"encode": 336, "decode": 84, "forward": 84}


def test_bad_requests_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model = restorer()
    with pytest.raises(InputError, match="3 images with 2 ids: expected one id an image"):
        model.restore(lr(8, 8), ids=["a", "b"])
    with monkeypatch.context() as patched, pytest.raises(OptionError, match="tile 65: expected 128 or more"):
        patched.setattr(Restorer, "multiple", 64)
        model.restore(lr(8, 8), ids=IDS, sampling=Sampling(tile=65))
    with pytest.raises(OptionError, match="solver 'euler' does not fit"):
        model.restore(lr(8, 8), ids=IDS, sampling=Sampling(solver="euler"))
    with pytest.raises(OptionError, match="the option steps is 1"):
        restorer(objective="epsilon").restore(lr(8, 8), ids=IDS)
    with pytest.raises(InputError, match="non-finite"):
        model.restore(lr(8, 8) * torch.nan, ids=IDS)


def test_a_sample_takes_the_steps_of_the_model_unless_told_otherwise() -> None:
    model = restorer()
    asked = [Sampling(), Sampling(realism=0), Sampling(samples=8), Sampling(realism=0.5), Sampling(realism=1, steps=4)]
    assert [model.steps(one) for one in asked] == [1, 1, 16, 16, 4]
    model.config = model.config.model_copy(update={"steps": 3})
    assert [model.steps(one) for one in asked] == [1, 1, 3, 3, 4]
    sampled, (given, steps) = lr(8, 8), (Sampling(realism=0.5), Sampling(realism=0.5, steps=3))
    assert torch.equal(*(model.restore(sampled, ids=IDS, sampling=one).image for one in (given, steps)))
    assert model.settled(given) == steps
    assert restorer().evaluations(Sampling()) == restorer().evaluations(Sampling(steps=9, realism=0)) == 1
    assert restorer().evaluations(Sampling(samples=8)) == 8 * 16 + 1
    assert restorer(objective="epsilon").evaluations(Sampling(samples=8)) == 8 * 16


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps"), ({"steps": 1001}, "steps"), ({"samples": 0}, "samples"), ({"realism": 1.5}, "realism"),
        ({"tile": 16}, "tile"), ({"samples": 2, "steps": 1}, "several samples of the posterior mean do not vary"),
        ({"samples": 2, "steps": 16, "realism": 0}, "several samples of the posterior mean do not vary"),
        ({"step": 2}, "step"),
    ],
)  # fmt: skip
def test_bad_options_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Sampling(**options)


@pytest.mark.parametrize("text", ["kspace:4", "blur:1,bicubic:4", "area:4", "bicubic:4,noise:0.02"])
def test_a_model_undoes_another_degradation(text: str) -> None:
    model, degradation, images = restorer(), parse_degradation(text), lr(8, 12)
    other = model.undoing(degradation)
    restored = other.restore(images, ids=IDS, sampling=Sampling(realism=1, steps=3))
    away = (degradation.apply(restored.image.double()) - images).square().mean(dim=(-2, -1)).sqrt()
    assert away.max() <= max(1e-5, 1.001 * degradation.noise)
    assert model.degradation.text == "bicubic:4"
    plain, seen = Sampling(consistency=False), translated(images, degradation, model.degradation)
    found = [one.restore(given, ids=IDS, sampling=plain).image for one, given in ((other, images), (model, seen))]
    assert torch.equal(*found)
    with pytest.raises(OptionError, match="degradation bicubic:2 reduces 2 times, tiny enlarges 4"):
        model.undoing(parse_degradation("bicubic:2"))


def test_a_model_that_is_told_the_noise_takes_its_level_from_the_degradation() -> None:
    model, images = restorer(conditions=("pixels", "noise-level")), lr(8, 8)
    plain = Sampling(consistency=False)
    noisy = [model.undoing(parse_degradation(f"bicubic:4{text}")) for text in ("", ",noise:0.01", ",noise:0.05")]
    found = [one.restore(images, ids=IDS, sampling=plain).image for one in noisy]
    assert torch.equal(found[0], model.restore(images, ids=IDS, sampling=plain).image)
    assert not torch.equal(found[1], found[0])
    assert not torch.equal(found[2], found[1])
