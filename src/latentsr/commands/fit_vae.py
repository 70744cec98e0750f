"""`latentsr fit-vae`: trains an autoencoder."""

from pathlib import Path
from typing import Annotated

import typer

from latentsr import terminal
from latentsr.commands.options import Datasets, Device, Out, config_option, options_of


def fit_vae(
    datasets: Datasets,
    out: Out,
    config: Annotated[Path | None, config_option("latentsr.training.autoencoder:FitVaeConfig")] = None,
    init: Annotated[str | None, typer.Option(help="Folder of an autoencoder to fine-tune.")] = None,
    domain: Annotated[str | None, typer.Option(help="What the images are: medical (default) or natural.")] = None,
    factor: Annotated[int | None, typer.Option(help="Image side over latent side: 4 or 8.")] = None,
    latent_channels: Annotated[int | None, typer.Option(help="Channels of the latent.")] = None,
    crop: Annotated[int | None, typer.Option(help="Side of the training crops in pixels.")] = None,
    batch: Annotated[int | None, typer.Option(help="Crops a step.")] = None,
    steps: Annotated[int | None, typer.Option(help="Steps to train.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Stop after this many minutes, if before the steps.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Peak learning rate.")] = None,
    gradient_weight: Annotated[float | None, typer.Option(help="Weight of the gradient term.")] = None,
    frequency_weight: Annotated[float | None, typer.Option(help="Weight of the frequency term.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of crops and weights.")] = None,
    devices: Annotated[int | None, typer.Option(help="How many GPUs.")] = None,
    device: Device = "auto",
) -> None:
    """Trains or fine-tunes a KL autoencoder; run the same command again to go on after a kill."""
    from latentsr.data.records import read_dataset
    from latentsr.training.autoencoder import FitVaeConfig, fit_autoencoder

    flags = {
        "init": init,
        "domain": domain,
        "factor": factor,
        "latent_channels": latent_channels,
        "crop": crop,
        "batch": batch,
        "steps": steps,
        "minutes": minutes,
        "learning_rate": learning_rate,
        "gradient_weight": gradient_weight,
        "frequency_weight": frequency_weight,
        "seed": seed,
        "devices": devices,
    }
    options = options_of(FitVaeConfig, config, flags)
    data = [read_dataset(folder) for folder in datasets]
    fit_autoencoder(data, out, options, device=device, progress=terminal.progress)
    terminal.show(f"autoencoder in {out}")
