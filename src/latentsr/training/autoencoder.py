"""Training of a KL autoencoder, from scratch or from a known one, to a folder that `load_autoencoder` takes."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import torch
from lightning.pytorch import LightningModule
from pydantic import Field
from torch import Tensor, nn
from torch.utils.data import DataLoader

from latentsr.autoencoders import load_autoencoder
from latentsr.autoencoders.architectures import MOST_BLOCKS, WIDEST, SmallKL
from latentsr.autoencoders.network import (
    MANIFEST,
    FrozenAutoencoder,
    KLNetwork,
    image_channels,
    make_network,
    save_network,
)
from latentsr.autoencoders.published import full_size_config
from latentsr.config import Count, manifest, sha256_json, write_yaml
from latentsr.data.records import Dataset, DatasetImage, check_names, common_size
from latentsr.device import resolve_device
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
    steps_an_epoch,
    train,
)

FORMS: Mapping[str, Mapping[str, Any]] = {  # of the network, where neither an option nor `init` says
    "small": {"factor": 4, "latent_channels": 3, "image_channels": 1, "width": 64, "blocks": 4},
    "kl": {"factor": 4, "latent_channels": 3, "image_channels": 3, "width": 128, "blocks": 2},
}


class FitVaeConfig(TrainingConfig):
    """The options of `fit-vae`.

    `architecture` "small" is SmallKL, "kl" the AutoencoderKL of Stable Diffusion, CompVis and MedVAE, by default
    kl-f4's and medvae_4_3's form (3x64x64 latents of 256x256 px); factor 8 with 4 latent channels is Stable
    Diffusion's. `init` is an autoencoder to go on from, a name or folder: architecture, `factor`, `latent_channels`,
    `image_channels`, `width` and `blocks` then come from it. Without it they are those of FORMS.

    The loss is the mean L1 distance + `kl_weight` x the KL divergence, summed over the latent and averaged over the
    batch, + `gradient_weight` x the L1 distance of finite differences + `frequency_weight` x that of Fourier
    magnitudes. `kl_weight` is 1e-8 if not given, of "small" 1e-6 over the values of a crop. `crop` is in pixels;
    `flips` turns it over at random.

    `epochs` decides `steps` and `validate_every`: so many passes over the training images, a validation after each.
    Validation is the PSNR over `valid_images`, and a picture; `keep` "best" saves the weights that scored highest.
    `learning_rate` is 1e-5 with `init`, else 1e-3, of "kl" 1e-4, if not given; `decay` "none" leaves it as it is.
    """

    architecture: Literal["small", "kl"] | None = None
    domain: Literal["none", "natural", "medical"] = "medical"
    factor: Literal[2, 4, 8, 16] | None = None
    latent_channels: Count | None = None
    image_channels: Literal[1, 3] | None = None
    width: int | None = Field(None, ge=1, le=WIDEST)
    blocks: int | None = Field(None, ge=1, le=MOST_BLOCKS)
    crop: int = Field(128, ge=16, le=65_536)
    flips: bool = True
    batch: Count = 8
    steps: Count | None = 20_000
    epochs: Count | None = None
    learning_rate: float | None = Field(None, gt=0, le=1000)
    decay: Literal["step", "none"] = "step"
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.9, 0.99)
    weight_decay: float = Field(0.0, ge=0, le=1e30)
    kl_weight: float | None = Field(None, ge=0)
    gradient_weight: float = Field(0.0, ge=0)
    frequency_weight: float = Field(0.0, ge=0)
    validate_every: Count = 250
    valid_images: Count = 32
    keep: Literal["best", "last"] = "last"
    devices: int = Field(1, ge=1, le=1024)


def published_preset(datasets: Sequence[Dataset]) -> dict[str, Any]:
    """The options by which the revision of arXiv 2604.12152 adapted kl-f4 to each of its sets.

    20 epochs of batches of 4 whole images, Adam 1.5e-5 with betas 0.5 and 0.9, L1 + 1e-8 x the KL divergence summed
    over the latent, best epoch kept. What it does not say is left out: averaged weights, clipping, flips, decay.
    """
    side = min(min(record.rows, record.columns) for _, record in images_of(datasets, "train"))
    return {
        "epochs": 20, "batch": 4, "crop": side, "learning_rate": 1.5e-5, "betas": (0.5, 0.9), "weight_decay": 0.0,
        "kl_weight": 1e-8, "keep": "best", "valid_images": len(images_of(datasets, "valid")), "decay": "none",
        "flips": False, "ema": 0.0, "clip": 0.0,
    }  # fmt: skip


class AutoencoderTraining(LightningModule):
    """The loss, the optimiser and the validation; batches are those of ImageCrops and WholeImages."""

    def __init__(self, network: nn.Module, config: FitVaeConfig, budget: Budget, pictures: Path) -> None:
        super().__init__()
        self.network = network
        self.config, self.budget, self.pictures = config, budget, pictures
        self.best: dict[str, Any] = {}  # `psnr`, `step` and `weights`

    def training_step(self, batch: Mapping[str, Tensor], index: int) -> Tensor:  # noqa: ARG002 (Lightning's)
        """The loss of one batch, which holds the images and the posterior's noise."""
        loss, parts = autoencoder_loss(cast(KLNetwork, self.network), batch, self.config)
        self.log_dict(parts, prog_bar=True)
        return loss

    def validation_step(self, batch: Tensor, index: int) -> None:
        """Logs the ceiling's PSNR and writes a picture of the first image."""
        decoded = autoencoded(self.network, batch)
        self.log("valid_psnr", ceiling(decoded, batch).mean(), batch_size=len(batch), prog_bar=True, sync_dist=True)
        if index == 0 and self.trainer.is_global_zero:
            write_picture(self.pictures / f"step_{self.trainer.global_step:07d}.png", batch[0, 0], decoded[0, 0])

    def on_validation_epoch_end(self) -> None:
        """Keeps the weights of the best validation; during one the averaged weights are in the network's place."""
        psnr = float(self.trainer.callback_metrics["valid_psnr"])
        if self.config.keep == "best" and not psnr <= self.best.get("psnr", -math.inf):
            weights = {name: value.detach().cpu().clone() for name, value in self.network.state_dict().items()}
            self.best = {"psnr": psnr, "step": self.trainer.global_step, "weights": weights}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the best weights, so that a resumed training equals an undisturbed one."""
        checkpoint["best"] = self.best

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Takes them up."""
        self.best = checkpoint.get("best", {})

    def configure_optimizers(self) -> Any:
        """AdamW (Adam without weight decay) with the budget's learning rate, or a constant one."""
        config = self.config
        optimiser = torch.optim.AdamW(
            self.network.parameters(), lr=cast(float, config.learning_rate), betas=config.betas,
            weight_decay=config.weight_decay,
        )  # fmt: skip
        return optimiser_with_schedule(
            optimiser, self.budget.learning_rate if config.decay == "step" else lambda _: 1.0
        )


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
    network, config, start = starting_network(config)
    if config.epochs:
        an_epoch = steps_an_epoch(len(images_of(datasets, "train")), config.batch * config.devices)
        config = config.model_copy(update={"steps": config.epochs * an_epoch, "validate_every": an_epoch})
    key = sha256_json({"options": config, "data": [d.hash for d in datasets], **start})
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
    samples = ImageCrops(datasets, crop=config.crop, latent_shape=latent_shape, seed=config.seed, flips=config.flips)
    checkpoint = LastCheckpoint(out / "checkpoints", {"key": key})
    budget, ema = Budget(config.steps, config.minutes), Ema(config.ema)
    module = AutoencoderTraining(network, config, budget, out / "pictures")
    some = valid[:: -(-len(valid) // config.valid_images)]
    loader = DataLoader(WholeImages(some), batch_size=config.batch)
    with progress("fit-vae", unit="steps", resumes=True) as report:
        trainer = make_trainer(
            out, config, budget, ema, checkpoint, report=report, device=device, devices=config.devices
        )
        if checkpoint.found() is None:
            write_yaml(config, out / "fit.yaml")
        train(trainer, module, samples, loader, checkpoint, config)
    network.load_state_dict(module.best.get("weights") or ema.weights())
    if trainer.is_global_zero:
        facts = {"key": key, "steps": trainer.global_step, "seconds": round(budget.elapsed(), 1), **start}
        facts |= {"kept_step": module.best.get("step", trainer.global_step)}
        _save(network.to(resolve_device(device)), out, config, datasets, valid, facts)
    return out


def autoencoder_loss(
    network: KLNetwork, batch: Mapping[str, Tensor], config: FitVaeConfig
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of images (batch, 1, rows, columns) with the posterior's noise, and its parts `l1` and `kl`."""
    images = in_channels_of(network, batch["image"])
    mean, logvar = network.moments(images)
    decoded = network.reconstruct(mean + torch.exp(0.5 * logvar) * batch["noise"])
    l1, loss = reconstruction_loss(decoded, images, config)
    kl = kl_divergence(mean.float(), logvar.float())
    return loss + cast(float, config.kl_weight) * kl, {"l1": l1, "kl": kl}


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


def starting_network(config: FitVaeConfig) -> tuple[nn.Module, FitVaeConfig, dict[str, Any]]:
    """The network at its start, the config with every option resolved, and what says where the weights came from.

    ModelError for an `init` that is no autoencoder with a posterior, OptionError for options that its form contradicts.
    """
    start: dict[str, Any] = {}
    given = config.model_dump(include={"architecture", *FORMS["kl"]}, exclude_none=True)
    if config.init is None:
        small = config.architecture != "kl"
        shape = {name: given.get(name, value) for name, value in FORMS["small" if small else "kl"].items()}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            network = SmallKL(**shape) if small else make_network("AutoencoderKL", full_size_config(**shape))
    else:
        autoencoder = load_autoencoder(config.init)
        if not isinstance(autoencoder, FrozenAutoencoder) or not hasattr(autoencoder.network, "moments"):
            raise ModelError(
                f"{config.init}: an autoencoder without a posterior; expected an AutoencoderKL or a SmallKL"
            )
        network, spec = autoencoder.network.requires_grad_(True).train(), autoencoder.spec
        start["init"] = {"name": spec.name, "hash": autoencoder.hash, "licence": spec.licence}
    kl = cast(KLNetwork, network)
    small, form = kl.kind == "SmallKL", {"architecture": "small", **kl.config}
    if not small:
        form = {"architecture": "kl", "factor": kl.factor, "image_channels": image_channels(kl)}
        form |= {"latent_channels": kl.config["latent_channels"], "blocks": kl.config["layers_per_block"]}
        form |= {"width": kl.config["block_out_channels"][0]}
    if other := [f"{name} is {value}, its own {form[name]}" for name, value in given.items() if value != form[name]]:
        raise OptionError(f"init {config.init}: {', '.join(other)}; leave out what comes from init")
    rate = config.learning_rate or (1e-5 if config.init else 1e-3 if small else 1e-4)
    by_default = 1e-6 / (form["image_channels"] * config.crop**2) if small else 1e-8
    kl_weight = by_default if config.kl_weight is None else config.kl_weight
    return network, config.model_copy(update={**form, "learning_rate": rate, "kl_weight": kl_weight}), start


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
    network, device = network.eval(), next(network.parameters()).device
    images = (image.to(device) for image in DataLoader(WholeImages(valid), batch_size=1))
    values = torch.cat([ceiling(autoencoded(network, image), image) for image in images])
    mean, sd = float(values.mean()), float(values.std()) if len(values) > 1 else 0.0
    facts = facts | {"ceiling_psnr": {"mean": mean, "sd": sd, "images": len(valid)}}
    facts |= manifest(options=config, data={dataset.name: dataset.hash for dataset in datasets})
    save_network(network, out, facts={"domain": config.domain, **facts})
