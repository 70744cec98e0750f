"""`latentsr fit-vae`, `encode` and `train`: an autoencoder, the latent cache and a denoiser."""

from pathlib import Path
from typing import Annotated

import typer

from latentsr import terminal
from latentsr.commands.options import (
    Cluster,
    Datasets,
    Defaults,
    Degradation,
    Device,
    Out,
    Processes,
    config_option,
    numbers,
    options_of,
)  # fmt: skip

VaePreset = Annotated[
    str | None,
    typer.Option(help="published: the adaptation of the study arXiv 2604.12152; give --init with it. Flags override."),
]


def fit_vae(
    datasets: Datasets,
    out: Out,
    config: Annotated[Path | None, config_option("latentsr.training.autoencoder:FitVaeConfig")] = None,
    preset: VaePreset = None,
    architecture: Annotated[
        str | None, typer.Option(help="small (default), or kl: full size, as published.", metavar="small|kl")
    ] = None,
    init: Annotated[str | None, typer.Option(help="Autoencoder to go on from: a name or a folder.")] = None,
    domain: Annotated[str | None, typer.Option(help="What the images are: medical (default) or natural.")] = None,
    factor: Annotated[int | None, typer.Option(help="Image side over latent side: 4 or 8.")] = None,
    latent_channels: Annotated[int | None, typer.Option(help="Channels of the latent.")] = None,
    crop: Annotated[int | None, typer.Option(help="Side of the training crops in pixels.")] = None,
    batch: Annotated[int | None, typer.Option(help="Crops a step.")] = None,
    steps: Annotated[int | None, typer.Option(help="Steps to train.")] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Passes over the training images, instead of steps.")
    ] = None,
    minutes: Annotated[float | None, typer.Option(help="Stop after this many minutes, if before the steps.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Peak learning rate.")] = None,
    kl_weight: Annotated[float | None, typer.Option(help="Weight of the KL divergence, a sum.")] = None,
    gradient_weight: Annotated[float | None, typer.Option(help="Weight of the gradient term.")] = None,
    frequency_weight: Annotated[float | None, typer.Option(help="Weight of the frequency term.")] = None,
    keep: Annotated[
        str | None, typer.Option(help="best: what scored highest on validation images.", metavar="best|last")
    ] = None,
    validate_every: Annotated[int | None, typer.Option(help="Steps between checkpoints and validations.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of crops and weights.")] = None,
    devices: Annotated[int | None, typer.Option(help="How many GPUs.")] = None,
    device: Device = "auto",
) -> None:
    """Trains or fine-tunes a KL autoencoder; run the same command again to go on after a kill."""
    given = dict(locals())
    from latentsr.data.records import read_dataset
    from latentsr.errors import OptionError
    from latentsr.training.autoencoder import FitVaeConfig, fit_autoencoder, published_preset

    if preset not in (None, "published"):
        raise OptionError(f"preset {preset}: expected published")
    flags = {name: value for name, value in given.items() if name in FitVaeConfig.model_fields}
    base = published_preset([read_dataset(folder) for folder in datasets]) if preset else None
    options = options_of(FitVaeConfig, config, flags, base)
    data = [read_dataset(folder) for folder in datasets]
    fit_autoencoder(data, out, options, device=device, progress=terminal.progress)
    terminal.show(f"autoencoder in {out}")


def encode(
    datasets: Datasets,
    out: Out,
    vae: Annotated[
        str, typer.Option(help="Autoencoder: a folder, or a name; published files get theirs by 'models import'.")
    ] = "haar",
    degradation: Degradation = "bicubic:4",
    condition: Annotated[
        list[str] | None,
        typer.Option(help="What to keep of LR: latent-up, latent-native, pixels (default: latent-up and pixels)."),
    ] = None,
    draw: Annotated[
        int | None, typer.Option(min=0, help="Keep one draw from each posterior, by this seed, instead of its mean.")
    ] = None,
    released: Annotated[
        Path | None,
        typer.Option("--import", help="Folder of latents as the study released them, not to encode.", metavar="DIR"),
    ] = None,
    batch: Annotated[
        int, typer.Option(min=1, help="Images at a time; a network's latents differ by it in the last bits of float32.")
    ] = 16,
    device: Device = "auto",
    workers: Processes = None,
    ray: Cluster = None,
    config: Defaults = None,
) -> None:
    """Fills the latent cache; run the same command again to go on after a kill."""
    from latentsr.autoencoders import load_autoencoder
    from latentsr.data.latents import fill_cache
    from latentsr.data.records import read_dataset
    from latentsr.degrade import parse_degradation
    from latentsr.device import resolve_device
    from latentsr.workers import Workers

    crew, where = Workers(workers, ray, terminal.show_warning, terminal.show_stage), resolve_device(device)
    with terminal.progress("encode", resumes=True) as report:
        cache = fill_cache(
            [read_dataset(folder) for folder in datasets],
            load_autoencoder(vae, device=where),
            parse_degradation(degradation),
            out,
            conditions=condition or ("latent-up", "pixels"),
            batch=batch,
            device=where,
            draw=draw,
            released=released,
            workers=crew,
            progress=report,
        )
    counts = ", ".join(f"{split} {len(ids)}" for split, ids in cache.manifest["ids"].items())
    terminal.show(f"cache in {out}: {counts}")


Preset = Annotated[
    str | None,
    typer.Option(help="published: network, noise table, sampler and training of arXiv 2604.12152; flags override it."),
]
Init = Annotated[str | None, typer.Option(help="Model to fine-tune: a folder, or the name of a shipped one.")]
Base = Annotated[str | None, typer.Option(help="Model whose estimate this one refines: a folder or a name.")]
Adversarial = Annotated[
    float | None, typer.Option(help="Weight of a discriminator's loss in the training of a generator.")
]
Texture = Annotated[
    float | None, typer.Option(help="Weight of the distance of patches in the training of a generator.")
]
Family = Annotated[
    str | None,
    typer.Option(
        help="diffusion; regression, which estimates; or generator, which draws a base's error.", metavar="NAME"
    ),
]
Steps = Annotated[int | None, typer.Option(help="Steps to train; more than before extend a finished training.")]
BandWeights = Annotated[
    str | None, typer.Option(help="Weights of the error's Haar bands, finest first, the rest last, such as 4,2,1.")
]
Minutes = Annotated[
    float | None, typer.Option(help="Stop after this many minutes, calibration included, if before the steps.")
]


def train(
    cache: Annotated[Path, typer.Argument(metavar="CACHE", help="Folder made by 'encode'; it keeps the autoencoder.")],
    out: Out,
    config: Annotated[Path | None, config_option("latentsr.training.denoiser:TrainConfig")] = None,
    preset: Preset = None,
    init: Init = None,
    base: Base = None,
    adversarial: Adversarial = None,
    texture: Texture = None,
    family: Family = None,
    target: Annotated[str | None, typer.Option(help="latent, or residual to the enlarged LR.")] = None,
    condition: Annotated[list[str] | None, typer.Option(help="latent-up, latent-native or pixels; repeatable.")] = None,
    objective: Annotated[str | None, typer.Option(help="x0, epsilon, v or flow.")] = None,
    schedule: Annotated[str | None, typer.Option(help="cosine, linear or flow.")] = None,
    channels: Annotated[str | None, typer.Option(help="Channels of each level, such as 48,64,96.")] = None,
    crop: Annotated[
        int | None,
        typer.Option(help="Side of the training crops in latent pixels, 32; 0 (regression, generator): whole images."),
    ] = None,
    batch: Annotated[int | None, typer.Option(help="Crops a step, on each device; 16, or 4 whole images.")] = None,
    steps: Steps = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Passes over the training images, instead of steps.")
    ] = None,
    loss: Annotated[str | None, typer.Option(help="l1 or l2.", metavar="l1|l2")] = None,
    ema: Annotated[float | None, typer.Option(help="Decay of the averaged weights; 0: none.")] = None,
    snr_weight: Annotated[bool | None, typer.Option(help="Weigh the loss by snr / (snr + 1).")] = None,
    flips: Annotated[bool | None, typer.Option(help="Turn images over at random.")] = None,
    band_weights: BandWeights = None,
    calibrate: Annotated[bool | None, typer.Option(help="Calibrate the dial of realism at the end.")] = None,
    weights: Annotated[str | None, typer.Option(help="How weights are saved.", metavar="float16|float32")] = None,
    minutes: Minutes = None,
    learning_rate: Annotated[float | None, typer.Option(help="Peak learning rate.")] = None,
    validate_every: Annotated[int | None, typer.Option(help="Steps between checkpoints and validations.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of crops, noise and weights.")] = None,
    modality: Annotated[list[str] | None, typer.Option(help="DICOM modality of the images, such as MR.")] = None,
    devices: Annotated[int, typer.Option(min=1, help="How many GPUs.")] = 1,
    device: Device = "auto",
) -> None:
    """Trains a denoiser; run the same command again to go on after a kill."""
    given = dict(locals())
    from latentsr.data.latents import open_cache
    from latentsr.errors import OptionError
    from latentsr.training.denoiser import TrainConfig, published_preset
    from latentsr.training.fit_denoiser import fit_denoiser

    flags = {name: value for name, value in given.items() if name in TrainConfig.model_fields and value is not None}
    for name in {"channels", "band_weights"} & flags.keys():
        flags[name] = numbers(given[name], f"--{name.replace('_', '-')}")
    flags |= {"conditions": tuple(condition)} if condition else {}
    if preset not in (None, "published"):
        raise OptionError(f"preset {preset}: expected published")
    defaults = published_preset(open_cache(cache)) if preset else {}
    options = options_of(TrainConfig, config, flags, defaults)
    fit_denoiser(
        open_cache(cache), out, options, device=device, devices=devices, modalities=tuple(modality or ()),
        progress=terminal.progress,
    )  # fmt: skip
    terminal.show(f"model in {out}; its run in {out}.run")
