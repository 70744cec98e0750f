import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from latentsr.calibrate import Calibrating
from latentsr.data.latents import LatentCache
from latentsr.degrade import parse_degradation, project
from latentsr.errors import ModelError, OptionError
from latentsr.provenance import POSTERIOR_MEAN, SAMPLE
from latentsr.training.denoiser import TrainConfig, refined_space
from latentsr.training.fit_denoiser import fit_denoiser
from latentsr.upscalers import Sampling
from latentsr.upscalers.model import SuperResolver

TINY = TrainConfig(channels=(8, 8), layers=1, groups=4, crop=8, batch=2, steps=8, validate_every=4, seed=3)


def fitted(cache: LatentCache, out: Path, **options: object) -> Path:
    return fit_denoiser(cache, out, TINY.model_copy(update=options), device="cpu")


def test_a_model_refines_the_estimate_of_its_base(cache: LatentCache, trained: Path, tmp_path: Path) -> None:
    options = {"base": str(trained), "objective": "flow", "schedule": "flow", "steps": 2, "validate_every": 2}
    out = fitted(cache, tmp_path / "refined", **options)
    base, model = SuperResolver.load(trained, device="cpu"), SuperResolver.load(out, device="cpu")
    lr = torch.rand(2, 1, 9, 8)
    assert torch.equal(model.restore(lr, ids=["a", "b"]).image, base.restore(lr, ids=["a", "b"]).image)
    drawn = model.restore(lr, ids=["a", "b"], sampling=Sampling(steps=2, realism=1))
    assert drawn.mean is not None
    assert not torch.equal(drawn.image, drawn.mean)
    assert [model.evaluations(Sampling(steps=steps)) for steps in (1, 2, 5)] == [1, 2, 5]
    assert [model.image_kind(Sampling(steps=steps)) for steps in (1, 2, 3)] == [POSTERIOR_MEAN, POSTERIOR_MEAN, SAMPLE]
    with pytest.raises(OptionError, match="several samples of one evaluation beyond the base's do not vary"):
        model.check(Sampling(steps=2, samples=2))
    assert model.training_images == base.training_images
    assert f"refines | tiny, SHA-256 {base.hash}" in (out / "README.md").read_text()
    tuned = SuperResolver.load(fitted(cache, tmp_path / "tuned", init=str(out), **{**options, "base": None}))
    assert tuned.config.base == model.config.base
    better = fitted(cache, tmp_path / "better", init=str(trained))
    moved = SuperResolver.load(fitted(cache, tmp_path / "moved", init=str(out), **options | {"base": str(better)}))
    assert moved.config.base.hash == SuperResolver.load(better).hash
    assert moved.config.parent.hash == model.hash
    assert moved.config.space == model.config.space  # the weights go on from there
    with pytest.raises(OptionError, match=r"init tiny: a network of another form .*condition_channels is"):
        fitted(cache, tmp_path / "none", init=str(trained), **options)
    (out / "base" / "README.md").write_text("")  # no part of it
    SuperResolver.load(out, device="cpu")
    (out / "base" / "denoiser.safetensors").write_bytes(b"")
    with pytest.raises(ModelError, match=r"base/denoiser.safetensors was altered"):
        SuperResolver.load(out, device="cpu")


def test_a_base_may_have_other_latents_that_lose_nothing(
    made: Callable[..., LatentCache], trained: Path, tmp_path: Path
) -> None:
    smooth = made(tmp_path, autoencoder="cdf97")
    options = {"base": str(trained), "steps": 2, "validate_every": 2, "flips": True}
    out = fitted(smooth, tmp_path / "refined", **options)
    base, model = SuperResolver.load(trained, device="cpu"), SuperResolver.load(out, device="cpu")
    assert (base.autoencoder.spec.name, model.autoencoder.spec.name) == ("haar", "cdf97")
    lr = torch.rand(2, 1, 8, 12)
    mean = model.restore(lr, ids=["a", "b"]).image
    torch.testing.assert_close(mean, base.restore(lr, ids=["a", "b"]).image, atol=1e-5, rtol=0)
    assert model.steps(Sampling(realism=1)) == 5
    sample = model.restore(lr, ids=["a", "b"], sampling=Sampling(realism=1))
    assert (sample.image - mean).abs().max() > 1e-3
    torch.testing.assert_close(project(sample.mean, lr, model.degradation), mean, atol=1e-5, rtol=0)
    with pytest.raises(OptionError, match="factor is 2, its own 4"):
        fitted(made(tmp_path / "other", autoencoder="haar-2"), tmp_path / "other-factor", **options)


def test_other_degradations_are_trained_on_and_told(cache: LatentCache, tmp_path: Path) -> None:
    options = {**TINY.model_dump(exclude={"conditions"}), "degradations": ("area:4", "bicubic:4,noise:0.05")}
    config = TrainConfig(**{**options, "steps": 4})
    assert config.conditions == ("pixels", "noise-level")
    out = fit_denoiser(cache, tmp_path / "several", config, device="cpu")
    model = SuperResolver.load(out, device="cpu")
    assert model.config.space.conditions == ("pixels", "noise-level")
    assert "LR of half of the crops | made by `area:4`, `bicubic:4,noise:0.05` |" in (out / "README.md").read_text()
    refined = fitted(cache, tmp_path / "refined", base=str(out), conditions=config.conditions, steps=2)
    lr = torch.rand(1, 1, 8, 8)
    noisy = SuperResolver.load(refined, device="cpu").undoing(parse_degradation("bicubic:4,noise:0.05"))
    assert noisy.restore(lr, ids=["a"], sampling=Sampling(realism=1)).image.isfinite().all()
    assert TrainConfig(degradations=("area:4",)).conditions == ("pixels",)


def test_what_a_base_lacks_is_normalised(cache: LatentCache, trained: Path) -> None:
    base = SuperResolver.load(trained, device="cpu")
    space = refined_space(cache, base.autoencoder, base, TINY)
    batch = {role: torch.from_numpy(np.array(cache.array("train", role))) for role in ("hr", *base.roles)}
    noise = torch.randn(batch["hr"][:1].shape, generator=torch.Generator().manual_seed(TINY.seed)).expand(3, -1, -1, -1)
    error = space.to_target(batch["hr"], base.estimated(batch, noise)[1]).transpose(0, 1).flatten(1)
    torch.testing.assert_close(error.mean(dim=1), torch.zeros(16), atol=1e-4, rtol=0)
    torch.testing.assert_close(error.std(dim=1), torch.ones(16), atol=1e-4, rtol=0)


def test_a_base_takes_latents_of_odd_sides_in_float32(
    made: Callable[..., LatentCache], trained: Path, tmp_path: Path
) -> None:
    """Nine latents a side, which its two levels cannot halve; in a training, whose autocast is not its own."""
    base, odd = SuperResolver.load(trained, device="cpu"), made(tmp_path, ("train",), side=36)
    assert all(math.isfinite(sd) for sd in refined_space(odd, base.autoencoder, base, TINY).target_statistics.sd)
    batch = {role: torch.from_numpy(np.array(odd.array("train", role)))[..., :8, :8] for role in base.roles}
    noise = torch.randn(3, 16, 8, 8)
    plain = base.estimated(batch, noise)[1]
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(base.estimated(batch, noise)[1], plain)


def test_a_base_must_be_of_the_same_kind(cache: LatentCache, trained: Path, tmp_path: Path) -> None:
    flow = {"objective": "flow", "schedule": "flow"}
    with pytest.raises(OptionError, match=r"conditions is \('latent-up',\), its own \('pixels',\)"):
        fitted(cache, tmp_path / "refined", base=str(trained), conditions=("latent-up",), **flow)
    epsilon = fitted(cache, tmp_path / "epsilon", objective="epsilon", steps=2, validate_every=2)
    with pytest.raises(OptionError, match="base epsilon: estimates no posterior mean"):
        fitted(cache, tmp_path / "refined", base=str(epsilon), **flow)
    with pytest.raises(OptionError, match="crop 3: expected a multiple of 2, as base tiny needs"):
        fitted(cache, tmp_path / "refined", base=str(trained), crop=3, channels=(8,), **flow)
    without_mean = SuperResolver.load(epsilon, device="cpu")
    without_mean.check(Calibrating(samples=2).sampling(without_mean.realism))  # leaves the dial where it must be
    with pytest.raises(ValueError, match="base with published"):
        TrainConfig(base="a", normalise=False)
