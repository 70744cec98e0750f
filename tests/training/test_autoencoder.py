import json
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file
from torch import nn

from latentsr.autoencoders import load_autoencoder
from latentsr.autoencoders.architectures import SmallKL
from latentsr.autoencoders.network import make_network, save_network
from latentsr.autoencoders.protocol import CATALOGUE, WEIGHTS
from latentsr.autoencoders.published import full_size_config
from latentsr.autoencoders.store import store_folder
from latentsr.config import read_yaml, sha256
from latentsr.data.records import Dataset, Record, write_dataset
from latentsr.errors import InputError, ModelError, OptionError, StaleError
from latentsr.io.raster import write_pixels
from latentsr.training.autoencoder import (
    FitVaeConfig,
    autoencoded,
    autoencoder_loss,
    ceiling,
    fit_autoencoder,
    frequency_distance,
    gradient_distance,
    kl_divergence,
    published_preset,
    starting_network,
)
from latentsr.training.crops import ImageCrops, WholeImages, images_of

TINY = FitVaeConfig(width=4, blocks=1, crop=16, batch=2, steps=8, validate_every=4, seed=3)
FULL = {"architecture": "kl", "width": 32, "blocks": 1}  # the published form, but for width and blocks


def made_dataset(root: Path, sizes: list[tuple[int, int]], valid: list[tuple[int, int]]) -> Dataset:
    generator = np.random.default_rng(0)
    records = []
    for split, shapes in (("train", sizes), ("valid", valid)):
        for n, (rows, columns) in enumerate(shapes):
            smooth = generator.normal(size=(rows, columns)).cumsum(0).cumsum(1)
            pixels = np.uint8(255 * (smooth - smooth.min()) / np.ptp(smooth))
            file = f"{split}{n}.png"
            write_pixels(root / file, pixels, None)
            records.append(Record(f"{split}{n}", f"p{split}{n}", split, file, rows, columns, sha256(root / file)))
    return write_dataset(root, "made", records, {})


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return made_dataset(tmp_path / "data", [(32, 32), (24, 40)], [(32, 24)] * 2)


def fitted(dataset: Dataset, out: Path, **options: object) -> Path:
    return fit_autoencoder([dataset], out, TINY.model_copy(update=options), device="cpu")


def test_a_fit_leaves_a_folder_that_loads_and_says_how_it_was_made(dataset: Dataset, tmp_path: Path) -> None:
    out = fitted(dataset, tmp_path / "vae", latent_channels=4, gradient_weight=0.1, frequency_weight=0.1)
    autoencoder = load_autoencoder(out)
    assert (autoencoder.spec.factor, autoencoder.spec.latent_channels, autoencoder.spec.domain) == (4, 4, "medical")
    facts = json.loads((out / "manifest.json").read_text())
    assert facts["steps"] == 8
    assert facts["data"] == {"made": dataset.hash}
    assert facts["ceiling_psnr"]["images"] == 2
    assert FitVaeConfig.model_validate(read_yaml(out / "fit.yaml")).learning_rate == 1e-3
    assert {path.name for path in (out / "pictures").iterdir()} == {"step_0000004.png", "step_0000008.png"}
    logged = (out / "logs" / "version_0" / "metrics.csv").read_text()
    assert "valid_psnr" in logged
    assert list((out / "logs" / "version_0").glob("events.out.tfevents.*"))


KILLED = """
import os, signal
from pathlib import Path
from latentsr.data.records import read_dataset
from latentsr.training import autoencoder, crops
data, out, options = arguments
draw = crops.ImageCrops.__getitem__
def draw_until_killed(self, n):
    if n == 13:
        os.kill(os.getpid(), signal.SIGKILL)
    return draw(self, n)
crops.ImageCrops.__getitem__ = draw_until_killed
config = autoencoder.FitVaeConfig.model_validate_json(options)
autoencoder.fit_autoencoder([read_dataset(data)], Path(out), config, device="cpu")
"""


def test_resume_after_sigkill_equals_an_undisturbed_run(
    dataset: Dataset, tmp_path: Path, untrained: Callable[..., int]
) -> None:
    """The best weights, of the validation before the kill, are kept over it."""
    options = {"keep": "best", "learning_rate": 0.03, "decay": "none"}
    text = TINY.model_copy(update=options).model_dump_json()
    assert untrained(KILLED, dataset.root, tmp_path / "killed", text) == -signal.SIGKILL
    held = torch.load(tmp_path / "killed" / "checkpoints" / "last.ckpt", weights_only=True)
    assert held["global_step"] == 4
    assert not (tmp_path / "killed" / "manifest.json").exists()
    resumed, undisturbed = (fitted(dataset, tmp_path / name, **options) for name in ("killed", "undisturbed"))
    assert json.loads((resumed / "manifest.json").read_text())["kept_step"] == 4
    assert (resumed / WEIGHTS).read_bytes() == (undisturbed / WEIGHTS).read_bytes()
    ends = [torch.load(out / "checkpoints" / "last.ckpt", weights_only=True) for out in (resumed, undisturbed)]
    assert ends[0]["global_step"] == ends[1]["global_step"] == 8
    for name, weights in ends[0]["state_dict"].items():
        assert torch.equal(weights, ends[1]["state_dict"][name])


def test_a_finished_fit_is_not_done_again_and_an_unfinished_one_not_with_other_options(
    dataset: Dataset, tmp_path: Path
) -> None:
    out = fitted(dataset, tmp_path / "vae")
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    assert fitted(dataset, out) == out
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before
    with pytest.raises(StaleError, match="other options"):
        fitted(dataset, out, seed=4)
    (out / "manifest.json").unlink()
    with pytest.raises(StaleError, match=r"last\.ckpt"):
        fitted(dataset, out, kl_weight=1e-3)
    assert FitVaeConfig.model_validate(read_yaml(out / "fit.yaml")).kl_weight == 1e-6 / TINY.crop**2


def test_several_datasets_train_as_one(dataset: Dataset, tmp_path: Path) -> None:
    other = replace(made_dataset(tmp_path / "other", [(48, 32)], [(32, 24)]), name="other")
    drawn = ImageCrops([dataset, other], crop=16, latent_shape=(1, 4, 4), seed=0)
    alone = ImageCrops([dataset], crop=16, latent_shape=(1, 4, 4), seed=0)
    assert [record.rows for _, record in drawn.images] == [32, 24, 48]
    assert not all(torch.equal(drawn[n]["image"], alone[n]["image"]) for n in range(20))
    out = fit_autoencoder([dataset, other], tmp_path / "vae", TINY, device="cpu")
    facts = json.loads((out / "manifest.json").read_text())
    assert facts["data"] == {"made": dataset.hash, "other": other.hash}
    assert facts["ceiling_psnr"]["images"] == 3
    with pytest.raises(InputError, match="different names"):
        fit_autoencoder([dataset, dataset], tmp_path / "twice", TINY, device="cpu")


def test_overfitting_one_image_raises_the_ceiling(tmp_path: Path) -> None:
    dataset = made_dataset(tmp_path / "data", [(32, 32)], [(32, 32)])
    image = torch.from_numpy(dataset.image(dataset.records[0]))[None, None] * 2 - 1

    def reached(autoencoder: object) -> float:
        return float(ceiling(autoencoder.decode(autoencoder.encode(image)), image))  # type: ignore[attr-defined]

    save_network(SmallKL(latent_channels=1, width=16, blocks=1), tmp_path / "start")
    options = {"latent_channels": 1, "width": 16, "steps": 60, "validate_every": 60, "ema": 0.8, "crop": 32}
    out = fitted(dataset, tmp_path / "vae", **options)
    assert reached(load_autoencoder(out)) > reached(load_autoencoder(tmp_path / "start")) + 1.5


def test_fine_tuning_a_diffusers_folder_keeps_its_form(dataset: Dataset, tmp_path: Path) -> None:
    config = {
        "in_channels": 3, "out_channels": 3, "latent_channels": 2, "block_out_channels": [4, 4], "norm_num_groups": 2,
        "down_block_types": ["DownEncoderBlock2D"] * 2, "up_block_types": ["UpDecoderBlock2D"] * 2,
    }  # fmt: skip
    save_network(make_network("AutoencoderKL", config), tmp_path / "start")
    init = {"init": str(tmp_path / "start"), "latent_channels": None}
    out = fitted(dataset, tmp_path / "tuned", steps=2, validate_every=2, **init)
    assert isinstance(AutoencoderKL.from_pretrained(out), nn.Module)
    assert FitVaeConfig.model_validate(read_yaml(out / "fit.yaml")).learning_rate == 1e-5
    before, after = load_file(tmp_path / "start" / WEIGHTS), load_file(out / WEIGHTS)
    assert before.keys() == after.keys()
    assert any(not torch.equal(before[name], after[name]) for name in before)


@pytest.fixture
def known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of an autoencoder of the catalogue, which is in the store with made-up weights of a small width."""
    monkeypatch.setenv("LATENTSR_HOME", str(tmp_path / "home"))
    torch.manual_seed(0)
    network = make_network("AutoencoderKL", full_size_config(factor=4, latent_channels=3, width=32, blocks=1))
    save_network(network, store_folder("kl-f4"), CATALOGUE["kl-f4"].spec)
    return "kl-f4"


def test_a_training_begins_with_the_outputs_of_its_init(known: str) -> None:
    image, autoencoder = torch.rand(1, 1, 16, 16) * 2 - 1, load_autoencoder(known)
    for init in (known, str(store_folder(known))):
        network, config, start = starting_network(FitVaeConfig(init=init))
        assert torch.equal(autoencoded(network, image), autoencoder.decode(autoencoder.encode(image)))
        assert all(parameter.requires_grad for parameter in network.parameters())
        assert (config.architecture, config.factor, config.width, config.blocks) == ("kl", 4, 32, 1)
        assert (config.kl_weight, config.learning_rate) == (1e-8, 1e-5)
        assert start["init"] == {"name": known, "hash": autoencoder.hash, "licence": "MIT"}


@pytest.mark.parametrize(("form", "factor", "channels"), [("kl-f4", 4, 3), ("sd-vae-ft-mse", 8, 4)])
def test_the_full_size_network_has_the_published_form(form: str, factor: int, channels: int) -> None:
    network, config, _ = starting_network(FitVaeConfig(architecture="kl", factor=factor, latent_channels=channels))
    spec = CATALOGUE[form].spec
    assert (config.factor, config.latent_channels, config.image_channels) == (
        spec.factor, spec.latent_channels, spec.image_channels,
    )  # fmt: skip
    million = sum(parameter.numel() for parameter in network.parameters()) / 1e6
    assert million == pytest.approx({"kl-f4": 55.3, "sd-vae-ft-mse": 83.7}[form], abs=0.05)


def test_the_loss_is_l1_and_the_weighted_sum_of_the_divergence() -> None:
    network, config, _ = starting_network(FitVaeConfig(**FULL, kl_weight=1e-3))
    batch = {"image": torch.rand(2, 1, 16, 16) * 2 - 1, "noise": torch.randn(2, 3, 4, 4)}
    loss, _ = autoencoder_loss(network, batch, config)  # type: ignore[arg-type]
    grey = batch["image"].repeat(1, 3, 1, 1)
    posterior = network.kl.encode(grey).latent_dist  # type: ignore[attr-defined]
    decoded = network.kl.decode(posterior.mean + posterior.std * batch["noise"]).sample  # type: ignore[attr-defined]
    expected = (decoded - grey).abs().mean() + 1e-3 * posterior.kl().mean()
    assert torch.allclose(loss, expected, rtol=1e-5)


def test_the_published_adaptation_equals_a_plain_loop(known: str, tmp_path: Path) -> None:
    dataset = made_dataset(tmp_path / "data", [(16, 16)] * 9, [(16, 16)] * 3)
    network = load_autoencoder(known).network.requires_grad_(True).train()  # type: ignore[attr-defined]
    samples = ImageCrops([dataset], crop=16, latent_shape=(3, 4, 4), seed=0, flips=False)
    optimiser = torch.optim.Adam(network.parameters(), lr=0.01, betas=(0.5, 0.9))
    valid = torch.stack(list(WholeImages(images_of([dataset], "valid"))))  # type: ignore[call-overload]
    found = []
    for step in range(1, 7):
        drawn = [samples[n] for n in range(4 * step - 4, 4 * step)]
        image, noise = (torch.stack([sample[key] for sample in drawn]) for key in ("image", "noise"))
        mean, logvar = network.moments(image.expand(-1, 3, -1, -1))
        loss = (network.reconstruct(mean + (logvar / 2).exp() * noise) - image).abs().mean()
        loss = loss + 1e-8 * (0.5 * (mean.square() + logvar.exp() - 1 - logvar).sum(dim=(1, 2, 3)).mean())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step % 2 == 0:
            with torch.no_grad():
                psnr = float(ceiling(autoencoded(network, valid), valid).mean())
            found.append((psnr, step, {name: value.clone() for name, value in network.state_dict().items()}))
    for keep, (_, step, weights) in {"best": max(found, key=lambda one: one[0]), "last": found[-1]}.items():
        options = published_preset([dataset]) | {"init": known, "epochs": 3, "learning_rate": 0.01, "keep": keep}
        out = fit_autoencoder([dataset], tmp_path / keep, FitVaeConfig(**options), device="cpu")
        facts = json.loads((out / "manifest.json").read_text())
        assert (facts["steps"], facts["kept_step"], facts["init"]["name"]) == (6, step, known)
        for name, value in load_autoencoder(out).network.state_dict().items():  # type: ignore[attr-defined]
            assert torch.allclose(value, weights[name], atol=1e-5), name


def test_the_first_of_flags_file_and_preset_says_how_long(known: str, run: Callable[..., Any], tmp_path: Path) -> None:
    dataset = made_dataset(tmp_path / "data", [(16, 16)] * 4, [(16, 16)])
    (tmp_path / "options.yaml").write_text("steps: 2\n")
    common = ("fit-vae", dataset.root, "--preset", "published", "--init", known)
    for number, (flags, steps) in enumerate(
        ((("--config", tmp_path / "options.yaml"), 2), (("--config", tmp_path / "options.yaml", "--epochs", 3), 3))
    ):
        done = run(*common, *flags, "-o", tmp_path / str(number))
        assert done.status == 0, done.err
        assert json.loads((tmp_path / str(number) / "manifest.json").read_text())["steps"] == steps
    assert run(*common[:3], "published-too", "-o", tmp_path / "x").status == 2


def test_an_autoencoder_without_a_posterior_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    save_network(make_network("Taef2", {"width": 8, "latent_channels": 4}), tmp_path / "start")
    with pytest.raises(ModelError, match="without a posterior"):
        fitted(dataset, tmp_path / "tuned", init=str(tmp_path / "start"))


def test_minutes_end_a_training(dataset: Dataset, tmp_path: Path) -> None:
    out = fitted(dataset, tmp_path / "vae", steps=None, minutes=0.01)
    assert json.loads((out / "manifest.json").read_text())["seconds"] < 10


@pytest.mark.parametrize(
    ("sizes", "valid", "options", "error", "message"),
    [
        ([(32, 32), (12, 40)], [(32, 32)], {}, InputError, "side of 12 px; expected at least crop, 16"),
        ([(32, 32)], [(32, 32), (32, 40)], {}, InputError, "2 sizes.*prepare"),
        ([(32, 32)], [(30, 32)], {}, InputError, "30x32 px, expected sides in multiples of 4.*option size"),
        ([(32, 32)], [], {}, InputError, "no images in split 'valid'"),
        ([(32, 32)], [(32, 32)], {"crop": 18}, OptionError, "crop is 18: expected a multiple"),
        ([(32, 32)], [(32, 32)], {"steps": None}, OptionError, "by the option steps or minutes"),
        ([(32, 32)], [(32, 32)], {"latent_channels": 17}, OptionError, "1 to 16 at factor 4"),
        ([(32, 32)], [(32, 32)], {"init": "nowhere"}, ModelError, "nowhere"),
        ([(32, 32)], [(32, 32)], {"init": "haar"}, ModelError, "without a posterior"),
        ([(32, 32)], [(32, 32)], {"epochs": 3}, OptionError, "1 images with batches of 2"),
        ([(32, 32)], [(32, 32)], FULL | {"factor": 2}, OptionError, "factor is 2: expected 4 or 8"),
        ([(32, 32)], [(32, 32)], FULL | {"width": 20}, OptionError, "width is 20: expected a multiple of 32"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(
    tmp_path: Path, sizes: list, valid: list, options: dict, error: type[Exception], message: str
) -> None:
    dataset = made_dataset(tmp_path / "data", sizes, valid)
    with pytest.raises(error, match=message) as caught:
        fitted(dataset, tmp_path / "vae", **options)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "vae").exists()


def test_images_that_changed_since_they_were_prepared_are_refused(dataset: Dataset, tmp_path: Path) -> None:
    write_pixels(dataset.root / "train0.png", np.zeros((32, 32), np.uint8), None)
    with pytest.raises(InputError, match=r"'made': 1 of 4 image files are missing or changed since"):
        fitted(dataset, tmp_path / "vae")
    assert not (tmp_path / "vae").exists()


def test_kl_divergence_is_that_of_torch() -> None:
    mean, logvar = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    ours = torch.distributions.Normal(mean, torch.exp(0.5 * logvar))
    theirs = torch.distributions.kl_divergence(ours, torch.distributions.Normal(0.0, 1.0)).sum(dim=(1, 2, 3)).mean()
    assert torch.allclose(kl_divergence(mean, logvar), theirs, rtol=1e-4)


def test_gradient_distance_ignores_a_constant_and_frequency_distance_a_shift() -> None:
    image = torch.rand(1, 1, 16, 16)
    assert gradient_distance(image + 0.3, image) < 1e-6
    assert frequency_distance(image.roll((3, 5), (-2, -1)), image) < 1e-5
    assert frequency_distance(image + 0.3, image) > 1e-3
