from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest
import torch

from latentsr.config import sha256
from latentsr.data.latents import LatentCache
from latentsr.diffusion.denoiser import Denoiser
from latentsr.errors import OptionError, StaleError
from latentsr.job import run_folder
from latentsr.metrics.sets import laplacian_pyramid
from latentsr.provenance import SAMPLE
from latentsr.training import generator
from latentsr.training.denoiser import GENERATOR, TrainConfig
from latentsr.training.fit_denoiser import fit_denoiser
from latentsr.training.generator import FAINT, contrast_score, energy_score, spectral_score, texture_distance
from latentsr.upscalers import Sampling
from latentsr.upscalers.model import SuperResolver
from latentsr.upscalers.restorer import AS_DRAWN

TINY = TrainConfig(channels=(8, 8), layers=1, groups=4, crop=8, batch=2, steps=8, validate_every=4, seed=3)


def fitted(cache: LatentCache, out: Path, **options: object) -> Path:
    return fit_denoiser(cache, out, TINY.model_copy(update=options), device="cpu")


SMALL = {**GENERATOR, "family": "generator", "channels": (8,), "layers": 1, "validate_every": 2}


def test_a_generator_draws_in_one_evaluation_and_resumes(cache: LatentCache, trained: Path, tmp_path: Path) -> None:
    options = {**SMALL, "base": str(trained), "adversarial": 1.0}
    out = fitted(cache, tmp_path / "generator", steps=2, **options)
    model = SuperResolver.load(out, device="cpu")
    lr, sampling = torch.rand(1, 1, 8, 8), Sampling(steps=2, realism=1)
    drawn = model.restore(lr, ids=["a"], sampling=sampling)
    assert drawn.mean is not None
    assert not torch.equal(drawn.image, drawn.mean)
    assert (model.evaluations(sampling), model.image_kind(sampling), model.steps(Sampling(realism=1))) == (2, SAMPLE, 2)
    for wrong in ({"steps": 3}, {"steps": 2, "solver": "ddim"}):
        with pytest.raises(OptionError, match="set steps to 1 or 2"):
            model.check(Sampling(**wrong))
    before = sha256(out / "denoiser.safetensors")
    fitted(cache, out, steps=4, **options)
    assert sha256(out / "denoiser.safetensors") != before
    opponent = torch.load(run_folder(out) / "checkpoints" / "last.ckpt", weights_only=True)["opponent"]["state"]
    assert {int(one["step"]) for one in opponent.values()} == {4}  # it went on from the checkpoint, too
    with pytest.raises(OptionError, match="one evaluation is False, its own True"):
        fitted(cache, tmp_path / "tuned", init=str(out))
    with pytest.raises(OptionError, match="crops of 16 px: too small"):
        fitted(cache, tmp_path / "small", **{**options, "crop": 4})
    with pytest.raises(OptionError, match="set devices to 1"):
        fit_denoiser(cache, tmp_path / "two", TrainConfig(**options), device="cpu", devices=2)
    tuned = fitted(cache, tmp_path / "tuned", init=str(out), steps=2, **{**options, "base": None})
    assert SuperResolver.load(tuned, device="cpu").config.base == model.config.base
    with pytest.raises(OptionError, match="that model has no base"):
        fitted(cache, tmp_path / "lonely", init=str(trained), steps=2, **{**options, "base": None})


def test_gains_are_for_the_image_alone_and_stay_in_what_is_tuned(
    cache: LatentCache, trained: Path, tmp_path: Path
) -> None:
    gains, options = (0.5, 0.75, 1.25, 1.0), {**SMALL, "steps": 1}
    plain = fitted(cache, tmp_path / "plain", base=str(trained), **options)
    assert "band_gains" not in (plain / "config.json").read_text()  # as in models of before, whose hash is of that text
    tuned = fitted(cache, tmp_path / "tuned", init=str(plain), band_gains=gains, **options)
    assert "coarse to fine | 0.5, 0.75, 1.25, 1.0 |" in (tuned / "README.md").read_text()
    model = SuperResolver.load(fitted(cache, tmp_path / "kept", init=str(tuned), **options), device="cpu")
    assert model.config.band_gains == gains
    lr, two = torch.rand(1, 1, 8, 8), Sampling(realism=1, samples=2)
    found = model.restore(lr, ids=["a"], sampling=two)
    model.config = model.config.model_copy(update={"band_gains": AS_DRAWN})
    drawn = model.restore(lr, ids=["a"], sampling=two)
    assert torch.equal(found.spread, drawn.spread)  # what the map says of errors is not what looks best
    assert not torch.equal(found.image, drawn.image)


def test_all_that_is_scored_counts(
    cache: LatentCache, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[torch.Tensor] = []
    forward = Denoiser.forward

    def watched(network: Denoiser, z: torch.Tensor, *given: torch.Tensor) -> torch.Tensor:
        if network.training:
            seen.append(z)
        return forward(network, z, *given)

    monkeypatch.setattr(Denoiser, "forward", watched)

    def made(name: str, weight: float = 1.0) -> tuple[str, torch.Tensor]:
        """Hash of the generator, and weights of its opponent, after one step."""
        given = {**SMALL, "base": str(trained), "adversarial": weight, "validate_every": 1}
        out = fitted(cache, tmp_path / name, steps=1, **given)
        state = torch.load(run_folder(out) / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        return sha256(out / "denoiser.safetensors"), state.get("discriminator.0.weight", torch.zeros(0))

    own = made("own")
    first, second = seen[0].chunk(2)
    assert torch.equal(second, first.roll(1, dims=0))  # two draws of each crop, from noise of their own
    assert not torch.equal(first, second)
    assert made("alone", 0.0)[0] != own[0]  # what the discriminator holds
    for weight in ("SPECTRAL", "CONTRAST"):
        with monkeypatch.context() as without:
            without.setattr(generator, weight, 0.0)
            assert made(weight)[0] != own[0]
    monkeypatch.setattr(generator, "PENALTY", 0.0)
    assert not torch.equal(made("free")[1], own[1])


def test_a_training_goes_on_with_the_scores_that_it_began_with(
    cache: LatentCache, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {**SMALL, "base": str(trained)}
    out = fitted(cache, tmp_path / "model", steps=1, **options)
    monkeypatch.setattr(generator, "CONTRAST", generator.CONTRAST / 2)
    with pytest.raises(StaleError, match="options, cache or scores"):
        fitted(cache, out, steps=2, **options)


def test_options_of_a_generator() -> None:
    assert TrainConfig(family="generator", base="a").channels == (48,)
    with pytest.raises(ValueError, match="generator without base"):
        TrainConfig(family="generator")
    for options in (
        {"pure_noise_share": 0.5}, {"calibrate": True}, {"objective": "v"}, {"channels": (8, 8)}, {"batch": 1},
        {"loss": "l1"},
        {"adversarial": 1, "family": "diffusion"}, {"texture": 1, "family": "diffusion"},
        {"band_gains": (1, 1, 1, 0.5), "family": "diffusion"},
        {"band_gains": (1, 1, 1, 0.5), "family": "regression", "base": None},
        {"band_gains": (1, 1, 1)}, {"band_gains": (0, 1, 1, 1)}, {"band_gains": (1, 1, 1, 5)},
    ):  # fmt: skip
        with pytest.raises(ValueError, match=next(iter(options))):
            TrainConfig(**{"family": "generator", "base": "a", **options})


def test_patches_weigh_in_the_training_of_a_generator(
    made: Callable[..., LatentCache], trained: Path, tmp_path: Path
) -> None:
    wide = made(tmp_path, ("train",), side=64)
    options = {**SMALL, "base": str(trained), "texture": 1.0, "crop": 16, "steps": 2}
    out = fitted(wide, tmp_path / "generator", **options)
    other = fitted(wide, tmp_path / "other", **{**options, "texture": 100.0})
    assert sha256(other / "denoiser.safetensors") != sha256(out / "denoiser.safetensors")  # what the weight weighs
    assert "opponent" not in torch.load(run_folder(out) / "checkpoints" / "last.ckpt", weights_only=True)
    assert "energy score of two draws, the distance of patches of weight 1" in (out / "README.md").read_text()


def test_the_energy_score_is_least_for_the_distribution_of_the_truth() -> None:
    """Of a thousand crops: a wrong spread, a wrong mean and a shared scale that is not drawn all cost."""
    generator = torch.Generator().manual_seed(0)

    def drawn() -> torch.Tensor:  # detail that is faint in one crop and strong in another
        return torch.randn(1000, 4, 4, 4, generator=generator) * torch.randn(1000, 1, 1, 1, generator=generator).exp()

    true, first, second = drawn(), drawn(), drawn()
    best = energy_score(first, second, true)
    plain = [torch.randn(true.shape, generator=generator) * true.std() for _ in range(2)]
    wrong = [(first / 2, second / 2), (2 * first, 2 * second), (first + 1, second + 1), (first, first), plain]
    for one, other in wrong:
        assert energy_score(one, other, true) > best + 0.02
    assert energy_score(true, true, true).abs() < 1e-4


def test_the_slope_of_the_spectral_score_vanishes_at_the_distribution_of_the_truth() -> None:
    """Faint blurred noise beside a strong frequency: the slope along its size, and along its share of white noise."""
    generator = torch.Generator().manual_seed(0)
    wave = 0.3 * torch.sin(torch.arange(64) * torch.pi / 4).expand(1, 1, 64, 64)

    def drawn(size: torch.Tensor, white: torch.Tensor) -> torch.Tensor:
        noise, other = torch.randn(2, 256, 1, 64, 64, generator=generator)
        blurred = torch.nn.functional.avg_pool2d(noise, 3, 1, 1) * 3
        detail = size * ((1 - white).sqrt() * blurred + white.sqrt() * other)
        return 0.5 + 0.004 * detail + wave * torch.randn(256, 1, 1, 1, generator=generator)

    true = drawn(torch.tensor(1.0), torch.tensor(0.05))
    slopes = {}
    for size, white in ((1.0, 0.05), (0.5, 0.05), (2.0, 0.05), (1.0, 0.5)):
        given = torch.tensor([size, white], requires_grad=True)
        spectral_score(drawn(*given), drawn(*given), true).backward()
        slopes[size, white] = given.grad.tolist()
    assert max(abs(one) for one in slopes[1.0, 0.05]) < 0.01
    assert slopes[0.5, 0.05][0] < -0.05
    assert slopes[2.0, 0.05][0] > 0.04
    assert slopes[1.0, 0.5][1] > 0.04


def test_the_contrast_score_is_least_for_detail_as_strong_as_the_truth() -> None:
    torch.manual_seed(0)
    mean = torch.full((64, 1, 32, 32), 0.5)

    def drawn(gain: float = 1.0, strong: float = 0.15) -> torch.Tensor:
        """Noise that is strong in a tenth of the images, which the mean does not tell."""
        strength = torch.where(torch.rand(64, 1, 1, 1) < 0.1, strong, 0.03)
        return mean + gain * strength * torch.randn_like(mean)

    def score(*how: float) -> torch.Tensor:
        return torch.stack([contrast_score(drawn(*how), drawn(*how), drawn(), mean) for _ in range(8)]).mean()

    scores = [float(score(*how)) for how in ((0.5,), (1.0,), (1.6,), (1.0, 0.03))]
    assert scores[1] < scores[3] - 0.02  # without what is rare and strong
    assert scores[1] < scores[0] - 0.1
    assert scores[1] < scores[2] - 0.1
    one, other = drawn(), drawn().requires_grad_()
    moved = contrast_score(one.roll(1, dims=-1), one.roll(2, dims=-1), one, mean)
    assert moved.abs() < scores[1] / 8  # as much detail, a pixel away
    contrast_score(other, one, mean, mean).backward()
    assert other.grad is not None
    assert (other.grad * (other - mean)).sum() > 0  # less of it, please


def test_contrast_is_of_a_place_and_in_units_of_the_mean() -> None:
    torch.manual_seed(0)
    noise = torch.randn(3, 1, 1, 32, 32)
    halves = torch.where(torch.arange(32) < 16, 0.02, 0.4)  # of the mean, and how the first draw is unlike the truth
    mean, true = 0.5 + halves * noise[0], 0.5 + 0.1 * noise[1]
    first, second = 0.5 + halves.flip(0) * noise[2], 0.5 + 0.15 * noise[1].flip(-1)
    levels = [laplacian_pyramid(one, 2)[0] for one in (first.clamp(0, 1), second.clamp(0, 1), true, mean)]
    score = 0.0
    for row, column in product(range(0, 25, 4), repeat=2):
        a, b, due, unit = (level[..., row : row + 8, column : column + 8].square().mean() for level in levels)
        a, b, due = ((power / (unit + FAINT**2)).sqrt() for power in (a, b, due))
        score += float((a - due).abs() + (b - due).abs() - (a - b).abs()) / 2
    assert float(contrast_score(first, second, true, mean)) == pytest.approx(score / 49, rel=1e-3)


def test_the_distance_of_textures_sees_their_spread_and_shape_but_not_their_places() -> None:
    """Sources: the Wasserstein distance of a law from itself scaled by k is |k - 1| times its mean magnitude."""
    generator = torch.Generator().manual_seed(0)
    true = 0.5 + 0.05 * torch.randn(4, 1, 128, 128, generator=generator)
    assert texture_distance(true, true, 0) == 0
    assert texture_distance(true.roll((40, 60), (2, 3)), true, 0) < 0.15
    same, half = 0.5 + 0.05 * torch.randn(4, 1, 128, 128, generator=generator), 0.5 + 0.5 * (true - 0.5)
    assert texture_distance(same, true, 0) < 0.15
    assert texture_distance(half, true, 0) == pytest.approx(0.5 * (2 / torch.pi) ** 0.5, rel=0.15)
    rare = 0.5 + 0.5 * (torch.rand(4, 1, 128, 128, generator=generator) < 0.01)
    alike = 0.5 + rare.std() * torch.randn(4, 1, 128, 128, generator=generator)
    assert texture_distance(alike, rare, 0) > 2 * texture_distance(rare.roll((40, 60), (2, 3)), rare, 0)
    drawn = half.clone().requires_grad_()
    (slope,) = torch.autograd.grad(texture_distance(drawn, true, 0), drawn)
    assert (slope * (true - half)).sum() < 0  # towards the truth's spread
