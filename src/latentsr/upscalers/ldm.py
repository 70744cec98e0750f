"""The study's released diffusion models: Lightning checkpoints that become model folders.

A checkpoint holds `state_dict` (`alphas`, `model.` + the UNet's own names, perhaps `model_ema.` + these names without
their dots) and `hyper_parameters`; a flow's have `num_sample_steps`, which a diffusion model's have not. The model
keeps the published time direction, noise table and sampler (`latentsr.diffusion.published`).

Source: github.com/sebasmos, released files of arXiv 2604.12152.
"""

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from latentsr import __version__
from latentsr.atomic import replacing
from latentsr.autoencoders import Autoencoder
from latentsr.autoencoders.weights import check_weights, read_checkpoint
from latentsr.config import Config, checked, sha256
from latentsr.degrade import parse_degradation
from latentsr.diffusion.denoiser import Denoiser, DenoiserSpec
from latentsr.diffusion.latents import LatentSpace, Statistics
from latentsr.diffusion.objective import ScheduleName
from latentsr.diffusion.published import PublishedSampling, published_alphas
from latentsr.errors import LatentSRError, ModelError, OptionError, StaleError
from latentsr.provenance import RESEARCH_USE
from latentsr.upscalers.model import refuse_foreign, save_model
from latentsr.upscalers.restorer import ModelConfig

GROUPS = 32  # of diffusers' UNet2DModel, which the published networks leave as it is
TABLE = 1e-6  # by which a checkpoint's noise table may differ from the formula
EMA = "model_ema."
WEIGHTS = ("published", "plain", "ema")


class HyperParameters(Config):
    """The hyper-parameters of a released checkpoint; the older ones lack some."""

    hr_channels: int = Field(ge=1, le=1024)
    hr_size: int = Field(ge=1, le=4096)
    lr_channels: int = Field(ge=1, le=1024)
    lr_size: int = Field(ge=1, le=4096)
    timesteps: int = Field(1000, ge=2, le=100_000)
    beta_schedule: Literal["cosine", "linear"] = "cosine"
    num_sample_steps: int | None = Field(None, ge=1)
    base_channels: int = Field(128, ge=1, le=2048)
    channel_mult: tuple[int, ...] = Field((1, 2, 4, 4), min_length=1, max_length=8)
    layers_per_block: int = Field(2, ge=1, le=16)
    attention_resolutions: tuple[int, ...] = (16,)
    zlr_init: bool = False
    use_ema: bool = False
    ema_decay: float = 0.9999
    use_snr_weighting: bool = False
    loss_type: str = "l1"
    learning_rate: float = 1e-4

    @property
    def table(self) -> ScheduleName:
        """The noise table, or `flow` for a rectified flow."""
        return self.beta_schedule if self.num_sample_steps is None else "flow"


def import_ldm(
    file: Path,
    autoencoder: Autoencoder,
    out: Path,
    *,
    degradation: str = "bicubic:4",
    weights: str = "published",
    overwrite: bool = False,
) -> list[str]:
    """Writes the model folder `out` of a released checkpoint; notes on what in it disagrees, empty mostly.

    Weights are kept in float32. Attention levels are those of the tensors, whatever the hyper-parameters say.

    Args:
        file: the checkpoint (.ckpt), with its hyper-parameters.
        autoencoder: the one in whose latents it was trained.
        out: the model's folder, whole or not at all.
        degradation: what the model undoes; its scale must be the ratio of the checkpoint's HR and LR latents.
        weights: the plain ones, their moving average, or as published: the average where `use_ema` is set.
        overwrite: replace an imported model.

    Raises:
        ModelError: no such checkpoint, one with other or unknown hyper-parameters or tensors, another autoencoder's.
        OptionError: a degradation of another scale, or averaged weights that do not exist.
        StaleError: `out` exists, and not `overwrite`; or it is no imported model, `overwrite` or not.
    """
    refuse_foreign(out, "published")
    if out.exists() and not overwrite:
        raise StaleError(f"{out}: exists; choose another output folder, or set the option overwrite to replace it")
    tensors, hyper = _read(file)
    spec, scale = autoencoder.spec, parse_degradation(degradation).scale
    if hyper.hr_channels != spec.latent_channels:
        raise ModelError(
            f"{file}: was trained in latents of {hyper.hr_channels} channels, autoencoder {spec.name} has "
            f"{spec.latent_channels}; name the one that it was trained with"
        )
    if hyper.hr_size != scale * hyper.lr_size:
        raise OptionError(
            f"degradation {degradation} reduces {scale} times: {file} has HR latents of {hyper.hr_size} and LR latents "
            f"of {hyper.lr_size}; set the degradation that it undoes"
        )
    denoiser, levels = _spec(tensors, hyper)
    network = Denoiser(denoiser)
    network.load_state_dict(_network_weights(tensors, network, hyper, weights, str(file)))
    config = _config(out.resolve().name, hyper, denoiser, autoencoder, parse_degradation(degradation).text)
    with tempfile.TemporaryDirectory() as temporary, replacing(out, over_folder=True) as fresh:
        if spec.has_weights:
            autoencoder.save(Path(temporary) / "autoencoder")
        save_model(
            fresh, config, network.state_dict(), card=_card(config, file), dtype=torch.float32,
            autoencoder=Path(temporary) / "autoencoder" if spec.has_weights else None,
        )  # fmt: skip
    said = [level for level in range(len(hyper.channel_mult)) if hyper.hr_size >> level in hyper.attention_resolutions]
    sides = ", ".join(f"{hyper.hr_size >> level}" for level in levels) or "none"
    wanted = ", ".join(map(str, hyper.attention_resolutions)) or "none"
    return (
        [] if said == levels else [f"attention at {sides}, as its tensors have it; its hyper-parameters say {wanted}"]
    )


def _read(file: Path) -> tuple[dict[str, Tensor], HyperParameters]:
    """The tensors and hyper-parameters of a checkpoint; ModelError for another file, or another noise table."""
    tensors, beside = read_checkpoint(file)
    if not isinstance(given := beside.get("hyper_parameters"), Mapping):
        raise ModelError(f"{file}: has no hyper_parameters; expected a Lightning checkpoint as the study released")
    try:
        hyper = checked(HyperParameters, dict(given), f"{file}, hyper_parameters")
    except LatentSRError as error:
        raise ModelError(f"{error}; expected a checkpoint as the study released") from error
    if "alphas" in tensors and hyper.table != "flow":
        expected = published_alphas(hyper.table, hyper.timesteps)
        if tensors["alphas"].shape != expected.shape or (tensors["alphas"] - expected).abs().max() > TABLE:
            raise ModelError(
                f"{file}: its noise table (alphas) is not the published {hyper.table} one; give a released checkpoint"
            )
    return tensors, hyper


def _config(
    name: str, hyper: HyperParameters, denoiser: DenoiserSpec, autoencoder: Autoencoder, degradation: str
) -> ModelConfig:
    """What the model is: raw latents, LR encoded as it is, the published table and sampler."""
    raw = Statistics(mean=(0.0,) * hyper.hr_channels, sd=(1.0,) * hyper.hr_channels)
    side = hyper.hr_size * autoencoder.spec.factor
    return ModelConfig(
        name=name,
        degradation=degradation,
        autoencoder="autoencoder" if autoencoder.spec.has_weights else autoencoder.spec.name,
        autoencoder_hash=autoencoder.hash,
        denoiser=denoiser,
        space=LatentSpace(conditions=("latent-native",), target="latent", statistics={"hr": raw, "latent-native": raw}),
        objective="flow" if hyper.table == "flow" else "x0",
        schedule=hyper.table,
        solver="published",
        size=(side, side),
        realism=1.0,
        published=PublishedSampling(table=hyper.table, timesteps=hyper.timesteps, zlr_init=hyper.zlr_init),
    )


def _spec(tensors: Mapping[str, Tensor], hyper: HyperParameters) -> tuple[DenoiserSpec, list[int]]:
    """The network's size, and the levels that have attention by the tensors."""
    found = (re.match(r"model\.down_blocks\.(\d+)\.attentions\.", name) for name in tensors)
    levels = sorted({int(match[1]) for match in found if match})
    spec = DenoiserSpec(
        latent_channels=hyper.hr_channels,
        condition_channels=hyper.lr_channels,
        channels=tuple(hyper.base_channels * factor for factor in hyper.channel_mult),
        layers=hyper.layers_per_block,
        attention=tuple(level in levels for level in range(len(hyper.channel_mult))),
        middle_attention=any(name.startswith("model.mid_block.attentions.") for name in tensors),
        groups=GROUPS,
    )
    return spec, levels


def _network_weights(
    tensors: Mapping[str, Tensor], network: Denoiser, hyper: HyperParameters, weights: str, origin: str
) -> dict[str, Tensor]:
    """The tensors under the network's own names; ModelError, which names it, for one that is missing or misshapen."""
    if weights not in WEIGHTS:
        raise OptionError(f"the option weights is {weights}: expected one of {', '.join(WEIGHTS)}")
    averaged = weights == "ema" or (weights == "published" and hyper.use_ema)
    if averaged:
        # Names of averaged weights have lost their dots, and with them where a level's number ends: ask by our names.
        names = {name: EMA + name.removeprefix("unet.").replace(".", "") for name in network.state_dict()}
        if not any(name.startswith(EMA) for name in tensors):
            raise OptionError(f"{origin}: holds no averaged weights (model_ema); set the option weights to plain")
    else:
        names = {name: f"model.{name.removeprefix('unet.')}" for name in network.state_dict()}
    own = {name: tensors[stored] for name, stored in names.items() if stored in tensors}
    known = {*names.values(), "alphas", f"{EMA}decay", f"{EMA}num_updates"}
    other = "model." if averaged else EMA
    own |= {name: tensor for name, tensor in tensors.items() if name not in known and not name.startswith(other)}
    check_weights(own, network, origin)
    return own


def _card(config: ModelConfig, file: Path) -> str:
    return f"""# {config.name}

**{RESEARCH_USE}** Part of what this model adds to an image is made up.

A latent diffusion model for medical image super-resolution, imported by latentsr {__version__} from `{file.name}`
(SHA-256 {sha256(file)}), a checkpoint of the study arXiv 2604.12152. It keeps that study's time direction, noise table
({config.schedule}) and sampler, with what is wrong in them; images come from `steps` of 1000 or 100 (a flow's of 16).

Not for: diagnosis; images unlike those that it was trained on; measuring lesions.
"""
