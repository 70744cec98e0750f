"""`latentsr encode`: fills the latent cache."""

from pathlib import Path
from typing import Annotated

import typer

from latentsr import terminal
from latentsr.commands.options import Datasets, Defaults, Degradation, Device, Out


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
    config: Defaults = None,
) -> None:
    """Fills the latent cache; run the same command again to go on after a kill."""
    from latentsr.autoencoders import load_autoencoder
    from latentsr.data.latents import fill_cache
    from latentsr.data.records import read_dataset
    from latentsr.degrade import parse_degradation
    from latentsr.device import resolve_device

    where = resolve_device(device)
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
            progress=report,
        )
    counts = ", ".join(f"{split} {len(ids)}" for split, ids in cache.manifest["ids"].items())
    terminal.show(f"cache in {out}: {counts}")
