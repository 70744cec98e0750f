"""`latentsr train`: trains a denoiser."""

from pathlib import Path
from typing import Annotated

import typer

from latentsr import terminal
from latentsr.commands.options import Device, Out, config_option, numbers, options_of

Preset = Annotated[
    str | None,
    typer.Option(help="published: network, noise table, sampler and training of arXiv 2604.12152; flags override it."),
]
Init = Annotated[str | None, typer.Option(help="Model to fine-tune: a folder, or the name of a shipped one.")]
Steps = Annotated[int | None, typer.Option(help="Steps to train; more than before extend a finished training.")]
BandWeights = Annotated[
    str | None, typer.Option(help="Weights of the error's Haar bands, finest first, the rest last, such as 4,2,1.")
]
Minutes = Annotated[
    float | None, typer.Option(help="Stop after this many minutes, calibration included, if before the steps.")
]


def train(
    cache: Annotated[Path, typer.Argument(help="Folder made by 'encode', which keeps its autoencoder.")],
    out: Out,
    config: Annotated[Path | None, config_option("latentsr.training.denoiser:TrainConfig")] = None,
    preset: Preset = None,
    init: Init = None,
    family: Annotated[
        str | None, typer.Option(help="diffusion, or a regression network to compare it with.", metavar="NAME")
    ] = None,
    target: Annotated[str | None, typer.Option(help="latent, or residual to the enlarged LR.")] = None,
    condition: Annotated[list[str] | None, typer.Option(help="latent-up, latent-native or pixels; repeatable.")] = None,
    objective: Annotated[str | None, typer.Option(help="x0, epsilon, v or flow.")] = None,
    schedule: Annotated[str | None, typer.Option(help="cosine, linear or flow.")] = None,
    channels: Annotated[str | None, typer.Option(help="Channels of each level, such as 48,64,96.")] = None,
    crop: Annotated[int | None, typer.Option(help="Side of the training crops in latent pixels.")] = None,
    batch: Annotated[int | None, typer.Option(help="Crops a step, on each device.")] = None,
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
    base = published_preset(open_cache(cache)) if preset else {}
    options = options_of(TrainConfig, config, flags, base)
    fit_denoiser(
        open_cache(cache), out, options, device=device, devices=devices, modalities=tuple(modality or ()),
        progress=terminal.progress,
    )  # fmt: skip
    terminal.show(f"model in {out}; its run in {out}.run")
