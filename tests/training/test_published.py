"""Training as published: its loss against a plain loop, its options, and the model that comes out."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pywt
import torch
import torch.nn.functional as F
from diffusers import UNet2DModel
from torch import Tensor

from latentsr.autoencoders import load_autoencoder
from latentsr.config import read_signed_json
from latentsr.data.latents import LatentCache, fill_cache
from latentsr.data.records import Dataset, read_dataset
from latentsr.degrade import parse_degradation
from latentsr.diffusion.published import published_alphas
from latentsr.errors import OptionError
from latentsr.training.denoiser import TrainConfig, haar_bands, latent_space, published_preset, resolved
from latentsr.training.fit_denoiser import fit_denoiser
from latentsr.upscalers import Sampling
from latentsr.upscalers.model import SuperResolver

SMALL: dict[str, Any] = {
    "channels": (32, 32), "layers": 1, "attention": (False, True), "groups": 32, "crop": 16, "batch": 2,
    "validate_every": 5, "seed": 3,
}  # fmt: skip


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory, make_dataset: Callable[..., Dataset]) -> LatentCache:
    root = tmp_path_factory.mktemp("published")
    pixels = [np.random.default_rng(n).integers(0, 256, (64, 64), dtype=np.uint8) for n in range(6)]
    dataset = make_dataset(root / "data", pixels, list("aabbcc"))
    text = (dataset.root / "records.csv").read_text().replace(",valid,", ",train,", 4)
    (dataset.root / "records.csv").write_text(text)
    conditions = ("latent-native",)
    given, operator = [read_dataset(dataset.root)], parse_degradation("bicubic:4")
    return fill_cache(given, load_autoencoder("haar"), operator, root / "cache", conditions=conditions)


def plain_losses(cache: LatentCache, steps: int, flow: bool) -> list[float]:
    """The published method as a plain loop: x0 under an unweighted L1 on the cosine table, or rectified flow."""
    hr, lr = (torch.from_numpy(np.array(cache.array("train", role))) for role in ("hr", "latent-native"))
    torch.manual_seed(SMALL["seed"])
    network = UNet2DModel(
        in_channels=2 * hr.shape[1], out_channels=hr.shape[1], block_out_channels=(32, 32), layers_per_block=1,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"), up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        norm_num_groups=32,
    )  # fmt: skip
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-4, weight_decay=0.01)
    epochs, of_epoch = 2, len(hr) // 2
    alphas, losses = published_alphas("cosine"), []
    for step in range(steps):
        for group in optimiser.param_groups:  # torch's CosineAnnealingLR, once an epoch
            group["lr"] = 1e-6 + (1e-4 - 1e-6) * (1 + np.cos(np.pi * (step // of_epoch) / epochs)) / 2
        rows, noise, times, turned = [], [], [], []
        for n in (2 * step, 2 * step + 1):  # the draws of a sample: image, two corners, noise, pure noise or not, time
            draw = np.random.default_rng([SMALL["seed"], n])
            rows.append(int(draw.integers(len(hr))))
            [draw.integers(1) for _ in range(2)]
            noise.append(torch.from_numpy(draw.standard_normal(hr.shape[1:], dtype=np.float32)))
            draw.random()
            times.append(int(draw.integers(1000)))
            turned.append([axis for axis in (1, 2) if flow and draw.random() < 0.5])
        x = torch.stack([hr[row].flip(axes) for row, axes in zip(rows, turned, strict=True)])
        condition = torch.stack([lr[row].flip(axes) for row, axes in zip(rows, turned, strict=True)])
        condition = F.interpolate(condition, size=x.shape[-2:], mode="bilinear", align_corners=False)
        noises, time = torch.stack(noise), torch.tensor(times)
        if flow:
            t = (time / 1000)[:, None, None, None]
            z, target, index = (1 - t) * noises + t * x, x - noises, (time / 1000 * 999).long()
        else:
            a = alphas[time][:, None, None, None]
            z, target, index = a.sqrt() * x + (1 - a).sqrt() * noises, x, time
        loss = (network(torch.cat([z, condition], dim=1), index).sample - target).abs().mean()
        losses.append(float(loss))
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
    return losses


@pytest.mark.parametrize("flow", [False, True])
def test_the_loss_of_the_first_steps_is_that_of_a_plain_loop(
    flow: bool, cache: LatentCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = {"objective": "flow", "schedule": "flow", "flips": True} if flow else {}
    config = TrainConfig(**published_preset(cache) | SMALL | kind | {"epochs": 2, "precision": "float32"})
    found: list[float] = []
    from latentsr.training.denoiser import DenoiserTraining

    whole = DenoiserTraining.loss

    def noted(self: DenoiserTraining, batch: dict[str, Tensor]) -> Tensor:
        loss = whole(self, batch)
        found.append(float(loss.detach()))
        return loss

    monkeypatch.setattr(DenoiserTraining, "loss", noted)
    fit_denoiser(cache, tmp_path / "model", config, device="cpu", validation_images=1)
    steps = 2 * (len(cache.ids("train")) // 2)
    assert found == pytest.approx(plain_losses(cache, steps, flow), abs=1e-5)
    model = SuperResolver.load(tmp_path / "model", device="cpu")
    assert model.config.published is not None
    assert model.config.published.table == ("flow" if flow else "cosine")
    assert not model.has_mean
    lr = torch.rand(1, 1, 16, 16)
    assert model.restore(lr, ids=["a"], sampling=Sampling(steps=3)).image.shape == (1, 1, 64, 64)


def test_the_preset_is_the_published_network(cache: LatentCache) -> None:
    config = TrainConfig(**published_preset(cache))
    assert (config.channels, config.layers, config.groups, config.batch) == ((128, 256, 512, 512), 2, 32, 8)
    assert config.attention == (True, False, False, False)  # latents of 16 x 16
    assert resolved(config.model_copy(update={"batch": 2, "epochs": 3}), cache).steps == 3 * (
        len(cache.ids("train")) // 2
    )
    with pytest.raises(OptionError, match="choose a smaller batch"):
        resolved(config.model_copy(update={"batch": 800}), cache)


def test_older_trainings_keep_their_key() -> None:
    assert not {"epochs", "published", "band_weights", "weights", "calibrate"} & set(TrainConfig().facts)
    assert TrainConfig(flips=True).facts["flips"] is True


def test_raw_latents_are_scaled_to_an_rms_and_back(cache: LatentCache) -> None:
    config = TrainConfig(**published_preset(cache) | {"latent_rms": 8.0})
    space, hr = latent_space(cache, config), torch.from_numpy(np.array(cache.array("train", "hr")))
    state = space.to_target(hr, None)
    assert float(state.square().mean().sqrt()) == pytest.approx(8, rel=1e-5)
    torch.testing.assert_close(space.from_target(state, None), hr)
    lr, unit = torch.from_numpy(np.array(cache.array("train", "latent-native"))), space.target_statistics.sd[0]
    torch.testing.assert_close(space.condition({"latent-native": lr}, lr.shape[-2:]), lr / unit)
    with pytest.raises(ValueError, match="normalise"):
        TrainConfig(latent_rms=8.0)
    assert "latent_rms" not in TrainConfig().facts


def test_weights_are_kept_in_float32_and_uncalibrated_where_asked(cache: LatentCache, tmp_path: Path) -> None:
    options = SMALL | {"conditions": ("latent-native",), "target": "latent", "steps": 2, "attention": (), "groups": 8}
    fit_denoiser(cache, tmp_path / "m", TrainConfig(**options, weights="float32", calibrate=False), device="cpu")
    model = SuperResolver.load(tmp_path / "m", device="cpu")
    assert model.config.spread is None
    names = read_signed_json(tmp_path / "m" / "config.json")
    assert "published" not in names
    from safetensors.torch import load_file

    assert {value.dtype for value in load_file(tmp_path / "m" / "denoiser.safetensors").values()} == {torch.float32}


def test_band_weights_weigh_the_bands_of_an_orthonormal_transform() -> None:
    error = torch.randn(2, 3, 16, 16, dtype=torch.float64)
    bands = haar_bands(error, (4.0, 2.0, 1.0))
    assert [weight for weight, _ in bands] == [4.0] * 3 + [2.0] * 3 + [1.0]
    assert sum(float(band.square().sum()) for _, band in bands) == pytest.approx(float(error.square().sum()))
    low, details = pywt.dwt2(error.numpy(), "haar")
    for (_, band), expected in zip(bands[:3], (details[0], details[1], details[2]), strict=True):
        np.testing.assert_allclose(band.abs(), np.abs(expected), atol=1e-12)
    np.testing.assert_allclose(bands[-1][1], pywt.dwt2(low, "haar")[0], atol=1e-12)


def test_lr_files_are_validated_on_and_a_file_goes_before_the_preset(tmp_path: Path, run: Callable[..., Any]) -> None:
    from latentsr.config import read_json

    root = tmp_path / "MRNet-v1.0"
    for split, numbers in (("train", range(3)), ("valid", range(1130, 1132))):
        (root / split / "sagittal").mkdir(parents=True)
        for number in numbers:
            pixels = np.random.default_rng(number).integers(0, 256, (5, 64, 64), dtype=np.uint8)
            np.save(root / split / "sagittal" / f"{number:04d}.npy", pixels)
    data, cached = tmp_path / "data", tmp_path / "cache"
    lr = ("--degradation", "blur:1,down:2,up:2")
    steps = (
        ("prepare", "mrnet", root, "--as-published", "-o", data),
        ("encode", data, "--condition", "latent-native", *lr, "-o", cached),
    )
    for command in steps:
        done = run(*command)
        assert done.status == 0, done.err
    (tmp_path / "small.yaml").write_text(
        "channels: [8]\nlayers: 1\nattention: [false]\nmiddle_attention: false\n"
        "groups: 4\nbatch: 2\nvalidate_every: 1\n"
    )
    done = run(
        "train", tmp_path / "cache", "--preset", "published", "--epochs", 1, "--config", tmp_path / "small.yaml",
        "-o", tmp_path / "model",
    )  # fmt: skip
    assert done.status == 0, done.err
    config = SuperResolver.load(tmp_path / "model", device="cpu").config
    assert config.denoiser.channels == (8,)
    assert config.published is not None
    record = next(record for record in read_dataset(tmp_path / "data").records if record.split == "valid")
    own = read_dataset(tmp_path / "data").lr_image(record)
    cache = fill_cache(
        [read_dataset(tmp_path / "data")], load_autoencoder("haar"), parse_degradation("blur:1,down:2,up:2"),
        tmp_path / "cache", conditions=("latent-native",),
    )  # fmt: skip
    np.testing.assert_array_equal(cache.array("valid", "lr")[cache.ids("valid").index(record.id), 0], own)
    assert "psnr" in read_json(tmp_path / "model.run" / "manifest.json")["validation"]


def test_the_first_of_flags_file_and_preset_says_how_long(
    cache: LatentCache, tmp_path: Path, run: Callable[..., Any]
) -> None:
    small = "channels: [8]\nlayers: 1\nattention: [false]\nmiddle_attention: false\ngroups: 4\nbatch: 2\n"
    for number, (text, flags, steps) in enumerate(
        (("epochs: 50\n", ("--steps", 3), 3), ("steps: 2\n", (), 2), ("epochs: 1\n", (), len(cache.ids("train")) // 2))
    ):
        (tmp_path / "options.yaml").write_text(small + text)
        done = run(
            "train", cache.root, "--preset", "published", "--config", tmp_path / "options.yaml", *flags, "-o",
            tmp_path / str(number),
        )  # fmt: skip
        assert done.status == 0, done.err
        assert f"| trained | {steps} steps" in (tmp_path / str(number) / "README.md").read_text()
