"""Training of a KL autoencoder, from scratch or from a folder, to a folder that `load_autoencoder` takes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast

import torch
from lightning.pytorch import LightningModule
from pydantic import Field
from torch import Tensor, nn
from torch.utils.data import DataLoader

from latentsr.autoencoders.folder import read_folder
from latentsr.autoencoders.network import MANIFEST, KLNetwork, image_channels, save_network
from latentsr.autoencoders.small_kl import MOST_BLOCKS, WIDEST, SmallKL
from latentsr.config import Count, manifest, sha256_json, write_yaml
from latentsr.data.records import Dataset, DatasetImage, check_names, common_size
from latentsr.errors import InputError, ModelError, OptionError
from latentsr.io.raster import write_pixels
from latentsr.job import JobFolder
from latentsr.metrics.fidelity import psnr
from latentsr.training.crops import ImageCrops, WholeImages, images_of
from latentsr.training.trainer import (
    Budget,
    Ema,
    LastCheckpoint,
    Progress,
    TrainingConfig,
    make_trainer,
    optimiser_with_schedule,
    silent,
    train,
)


class FitVaeConfig(TrainingConfig):
    """The options of `fit-vae`.

    `init` is a folder to fine-tune; `factor`, `latent_channels`, `width` and `blocks` then come from it. `crop` is in
    pixels. `kl_weight` weighs the KL divergence summed over the latent, per pixel; `gradient_weight` the L1 distance of
    finite differences; `frequency_weight` the L1 distance of Fourier magnitudes. Validation is the PSNR over
    `valid_images`, and a picture. `learning_rate` is 1e-3 from scratch and 1e-5 from a folder if not given.
    """

    domain: Literal["none", "natural", "medical"] = "medical"
    factor: Literal[2, 4, 8, 16] = 4
    latent_channels: Count = 3
    width: int = Field(64, ge=1, le=WIDEST)
    blocks: int = Field(4, ge=1, le=MOST_BLOCKS)
    crop: int = Field(128, ge=16, le=65_536)
    batch: Count = 8
    steps: Count | None = 20_000
    learning_rate: float | None = Field(None, gt=0, le=1000)
    weight_decay: float = Field(0.0, ge=0, le=1e30)
    kl_weight: float = Field(1e-6, ge=0)
    gradient_weight: float = Field(0.0, ge=0)
    frequency_weight: float = Field(0.0, ge=0)
    validate_every: Count = 250
    valid_images: Count = 32
    devices: int = Field(1, ge=1, le=1024)


class AutoencoderTraining(LightningModule):
    """The loss, the optimiser and the validation; batches are those of ImageCrops and WholeImages."""

    def __init__(self, network: nn.Module, config: FitVaeConfig, budget: Budget, pictures: Path) -> None:
        super().__init__()
        self.network = network
        self.config, self.budget, self.pictures = config, budget, pictures

    def training_step(self, batch: Mapping[str, Tensor], index: int) -> Tensor:  # noqa: ARG002 (Lightning's)
        """The loss of one batch, which holds the images and the posterior's noise."""
        network = cast(KLNetwork, self.network)
        images = in_channels_of(network, batch["image"])
        mean, logvar = network.moments(images)
        decoded = network.reconstruct(mean + torch.exp(0.5 * logvar) * batch["noise"])
        l1, loss = reconstruction_loss(decoded, images, self.config)
        kl = kl_divergence(mean.float(), logvar.float()) / images[0].numel()
        self.log_dict({"l1": l1, "kl": kl}, prog_bar=True)
        return loss + self.config.kl_weight * kl

    def validation_step(self, batch: Tensor, index: int) -> None:
        """Logs the ceiling's PSNR and writes a picture of the first image."""
        decoded = autoencoded(self.network, batch)
        self.log("valid_psnr", ceiling(decoded, batch).mean(), batch_size=len(batch), prog_bar=True, sync_dist=True)
        if index == 0 and self.trainer.is_global_zero:
            write_picture(self.pictures / f"step_{self.trainer.global_step:07d}.png", batch[0, 0], decoded[0, 0])

    def configure_optimizers(self) -> Any:
        """AdamW with the budget's learning rate."""
        rate = cast(float, self.config.learning_rate)
        optimiser = torch.optim.AdamW(
            self.network.parameters(), lr=rate, betas=(0.9, 0.99), weight_decay=self.config.weight_decay
        )
        return optimiser_with_schedule(optimiser, self.budget.learning_rate)


def fit_autoencoder(
    datasets: Sequence[Dataset], out: Path, config: FitVaeConfig, *, device: str = "auto", progress: Progress = silent
) -> Path:
    """The folder `out`, with the trained autoencoder: config.json, weights, fit.yaml, manifest.json, logs, pictures.

    A training that was killed goes on from its last checkpoint; one that is finished is returned as it is; `out` from
    other options or data raises StaleError, HR files that changed since they were prepared InputError. Several datasets
    serve as one: each image is drawn as often as any other.
    """
    out = Path(out)
    check_names(datasets)
    network, config = _network(config)
    key = sha256_json({"options": config, "data": [d.hash for d in datasets]})
    folder = JobFolder(out, "autoencoder", MANIFEST, frozenset(), "options or data", shared=True, fix="remove it first")
    folder.claim(key)
    if folder.whole:
        return out
    for dataset in datasets:
        dataset.check((*dataset.select("train"), *dataset.select("valid")))
    kl = cast(KLNetwork, network)
    if config.crop % kl.factor:
        raise OptionError(f"crop is {config.crop}: expected a multiple of the autoencoder's factor {kl.factor}")
    valid = images_of(datasets, "valid")
    rows, columns = common_size([record for _, record in valid])
    if rows % kl.factor or columns % kl.factor:
        fix = f"expected sides in multiples of {kl.factor}: run 'prepare' with the option size or multiple"
        raise InputError(f"{datasets[0].root}: images of {rows}x{columns} px, {fix}")
    latent_shape = kl.config["latent_channels"], config.crop // kl.factor, config.crop // kl.factor
    samples = ImageCrops(datasets, crop=config.crop, latent_shape=latent_shape, seed=config.seed)
    checkpoint = LastCheckpoint(out / "checkpoints", {"key": key})
    budget, ema = Budget(config.steps, config.minutes), Ema(config.ema)
    module = AutoencoderTraining(network, config, budget, out / "pictures")
    some = valid[:: -(-len(valid) // config.valid_images)]
    loader = DataLoader(WholeImages(some), batch_size=config.batch)
    with progress("fit-vae", unit="steps", resumes=True) as report:
        trainer = make_trainer(
            out, config, budget, ema, checkpoint, report=report, device=device, devices=config.devices
        )  # fmt: skip
        if checkpoint.found() is None:
            write_yaml(config, out / "fit.yaml")
        train(trainer, module, samples, loader, checkpoint, config)
    network.load_state_dict(ema.weights())
    if trainer.is_global_zero:
        facts = {"key": key, "steps": trainer.global_step, "seconds": round(budget.elapsed(), 1)}
        _save(network, out, config, datasets, valid, facts)
    return out


def reconstruction_loss(decoded: Tensor, images: Tensor, config: FitVaeConfig) -> tuple[Tensor, Tensor]:
    """The L1 distance alone, and with the gradient and frequency terms that the config weighs."""
    decoded, images = decoded.float(), images.float()
    l1 = (decoded - images).abs().mean()
    loss = l1
    if config.gradient_weight:
        loss = loss + config.gradient_weight * gradient_distance(decoded, images)
    if config.frequency_weight:
        loss = loss + config.frequency_weight * frequency_distance(decoded, images)
    return l1, loss


def gradient_distance(a: Tensor, b: Tensor) -> Tensor:
    """The mean absolute difference of the finite differences along rows and columns."""
    return sum(((a - b).diff(dim=dim).abs().mean() for dim in (-2, -1)), start=torch.zeros((), device=a.device))


def frequency_distance(a: Tensor, b: Tensor) -> Tensor:
    """The mean absolute difference of the magnitudes of the orthonormal 2-D Fourier transforms."""
    magnitudes = (torch.fft.rfft2(x, norm="ortho").abs() for x in (a, b))
    return (next(magnitudes) - next(magnitudes)).abs().mean()


def kl_divergence(mean: Tensor, logvar: Tensor) -> Tensor:
    """KL(N(mean, exp logvar) || N(0, 1)) in nats, summed over the latent and averaged over the batch."""
    return 0.5 * (mean.square() + logvar.exp() - 1 - logvar).sum(dim=(1, 2, 3)).mean()


def in_channels_of(network: KLNetwork, images: Tensor) -> Tensor:
    """Grey images (batch, 1, rows, columns) repeated to the network's channels."""
    return images.expand(-1, image_channels(network), -1, -1)


def autoencoded(network: nn.Module, images: Tensor) -> Tensor:
    """decode(encode(images)), posterior mean, grey (batch, 1, rows, columns) in [-1, 1]."""
    kl = cast(KLNetwork, network)
    return kl.reconstruct(kl.mean(in_channels_of(kl, images))).float().mean(dim=1, keepdim=True)


def ceiling(decoded: Tensor, images: Tensor) -> Tensor:
    """The PSNR of each decoded image, clipped to [0, 1], (batch,) in dB."""
    return psnr((decoded.clamp(-1, 1) + 1) / 2, (images + 1) / 2)


def write_picture(path: Path, image: Tensor, decoded: Tensor) -> None:
    """Writes image, decoded image and five times their absolute difference side by side, 8-bit PNG."""
    panels = torch.cat([(image + 1) / 2, (decoded + 1) / 2, 2.5 * (decoded - image).abs()], dim=1)
    write_pixels(path, (panels.clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy(), None)


def _network(config: FitVaeConfig) -> tuple[nn.Module, FitVaeConfig]:
    """The network at its start, and the config with every option resolved."""
    rate = config.learning_rate or (1e-5 if config.init else 1e-3)
    config = config.model_copy(update={"learning_rate": rate})
    if config.init:
        network, _ = read_folder(Path(config.init))
        if not hasattr(network, "moments"):
            raise ModelError(
                f"{config.init}: an autoencoder without a posterior; expected an AutoencoderKL or a SmallKL"
            )
        return network, config
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        options = config.model_dump(include={"factor", "latent_channels", "width", "blocks"})
        return SmallKL(**options), config


@torch.no_grad()
def _save(
    network: nn.Module,
    out: Path,
    config: FitVaeConfig,
    datasets: Sequence[Dataset],
    valid: Sequence[DatasetImage],
    facts: dict[str, Any],
) -> None:
    """Writes the folder, with the ceiling over all validation images; manifest.json is the last file."""
    network = network.cpu().eval()
    images = DataLoader(WholeImages(valid), batch_size=1)
    values = torch.cat([ceiling(autoencoded(network, image), image) for image in images])
    mean, sd = float(values.mean()), float(values.std()) if len(values) > 1 else 0.0
    facts = facts | {"ceiling_psnr": {"mean": mean, "sd": sd, "images": len(valid)}}
    facts |= manifest(options=config, data={dataset.name: dataset.hash for dataset in datasets})
    save_network(network, out, facts={"domain": config.domain, **facts})
