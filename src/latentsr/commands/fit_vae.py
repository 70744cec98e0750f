"""`latentsr fit-vae`: trains an autoencoder."""

from pathlib import Path
from typing import Annotated

import typer

from latentsr import terminal
from latentsr.commands.options import Datasets, Device, Out, config_option, options_of

Preset = Annotated[
    str | None,
    typer.Option(help="published: the adaptation of the study arXiv 2604.12152; give --init with it. Flags override."),
]


def fit_vae(
    datasets: Datasets,
    out: Out,
    config: Annotated[Path | None, config_option("latentsr.training.autoencoder:FitVaeConfig")] = None,
    preset: Preset = None,
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
