"""`latentsr models`: the known autoencoders and pretrained upscalers, their facts and weights."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import typer

from latentsr import terminal
from latentsr.commands.options import Defaults, Degradation, Json, Out, Overwrite

models_app = typer.Typer(
    help="The autoencoders and pretrained upscalers by name: facts, weights, where they are.", no_args_is_help=True
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="A name that 'models list' shows.")]

COLUMNS = ("name", "domain", "latent at 256", "factor", "licence", "dtype", "here")


@models_app.command("list", epilog="Example: latentsr models list")
def list_models(json: Json = False, config: Defaults = None) -> None:
    """All autoencoders and pretrained upscalers by name, and which of them can be used on this machine as it is."""
    from latentsr.autoencoders import SPECS
    from latentsr.upscalers import UPSCALERS, shipped_models
    from latentsr.upscalers.pretrained import KNOWN

    rows, upscalers = [_row(spec) for spec in SPECS.values()], [_upscaler(name) for name in KNOWN]
    if json:
        terminal.show_json([*rows, *upscalers])
        return
    columns = [
        (row["name"], row["domain"], row["latent"], str(row["factor"]), row["licence"], row["dtype"], row["here"])
        for row in rows
    ]
    terminal.show_table("autoencoders, for --vae", COLUMNS, columns)
    keys = ("name", "architecture", "scale", "licence", "here")
    cells = [[str(row[key]) for key in keys] for row in upscalers]
    terminal.show_table("pretrained upscalers, for --model and --method", keys, cells)
    terminal.show(f"--model takes {', '.join([*shipped_models(), *UPSCALERS])}, too, which come with the package")


@models_app.command("info", epilog="Example: latentsr models info medvae_4_3")
def info(name: Name, json: Json = False, config: Defaults = None) -> None:
    """All facts about one of them; its files with their SHA-256, or what to fetch, from where."""
    from latentsr.autoencoders import SPECS
    from latentsr.autoencoders.protocol import CATALOGUE
    from latentsr.autoencoders.store import find, how_to_get, imported_from
    from latentsr.config import sha256

    if _is_upscaler(name):
        facts = _upscaler(name)
    else:
        facts = _row(SPECS[name])
        if name in CATALOGUE:
            publication, place = CATALOGUE[name].publication, find(name)
            facts |= {"published": publication.where, "its files": list(publication.files)}
            if place is None:
                facts["to get it"] = how_to_get(name)
            else:
                facts["files"] = {str(path): sha256(path) for path in place.files.all if path.is_file()}
                facts |= {"made from": sources} if (sources := imported_from(name)) else {}
    if json:
        terminal.show_json(facts)
        return
    for key, value in facts.items():
        if isinstance(value, bool):
            lines = ["yes" if value else "no"]
        elif isinstance(value, dict):
            lines = [f"{path}  SHA-256 {digest}" for path, digest in value.items()]
        else:
            lines = value if isinstance(value, list) else [str(value)]
        for index, line in enumerate(lines):
            terminal.show(f"{key if index == 0 else '':<15} {line}")


@models_app.command("pull", epilog="Example: latentsr models pull sd-vae-ft-ema")
def pull(name: Name, overwrite: Overwrite = False, json: Json = False, config: Defaults = None) -> None:
    """Fetches an autoencoder's files from the hub into the store; needs a network, as nothing else does."""
    from latentsr.autoencoders.store import pull as fetch
    from latentsr.errors import ModelError
    from latentsr.upscalers.pretrained import how_to_get

    if _is_upscaler(name, weights=True):
        raise ModelError(f"{name}: is in no hub repository; {how_to_get(name)}")
    _show_stored(name, fetch(name, overwrite=overwrite), json=json)


@models_app.command(
    "import",
    epilog="Example: latentsr models import medvae_4_3 --weights vae_4x_3c_2D.ckpt --weights-config medvae_4x3.yaml",
)
def import_model(
    name: Name,
    weights: Annotated[
        list[Path], typer.Option(help="File of weights as published; taef2's encoder and decoder: give it twice.")
    ],
    weights_config: Annotated[
        Path | None, typer.Option(help="Their config; default: the published name beside the weights.")
    ] = None,
    overwrite: Overwrite = False,
    json: Json = False,
    config: Defaults = None,
) -> None:
    """Puts published files into the store: every tensor is checked, the SHA-256 of each file kept."""
    from latentsr.autoencoders.store import import_weights
    from latentsr.errors import OptionError
    from latentsr.upscalers.pretrained import import_pretrained

    if _is_upscaler(name, weights=True):
        if len(weights) != 1 or weights_config:
            raise OptionError(f"{name}: is one file; give it once as weights, and no config of weights")
        _show_stored(name, import_pretrained(name, weights[0], overwrite=overwrite), json=json)
    else:
        _show_stored(name, import_weights(name, weights, weights_config, overwrite=overwrite), json=json)


@models_app.command("import-ldm", epilog="Example: latentsr models import-ldm medvae.ckpt --vae medvae_4_3 -o model/")
def import_ldm(
    file: Annotated[Path, typer.Argument(metavar="FILE.ckpt", help="A diffusion checkpoint as the study released.")],
    vae: Annotated[str, typer.Option(help="The autoencoder in whose latents it was trained: a name or a folder.")],
    out: Out,
    degradation: Degradation = "bicubic:4",
    weights: Annotated[
        str,
        typer.Option(
            help="plain weights, their moving average (ema), or as published: the average where it was used.",
            metavar="published|plain|ema",
        ),
    ] = "published",
    overwrite: Overwrite = False,
    config: Defaults = None,
) -> None:
    """Makes a model folder of a published diffusion checkpoint; it keeps the published sampler and raw latents."""
    from latentsr.autoencoders import load_autoencoder
    from latentsr.upscalers.ldm import import_ldm as convert

    for note in convert(
        file, load_autoencoder(vae), out, degradation=degradation, weights=weights, overwrite=overwrite
    ):
        terminal.show(f"note: {note}")
    terminal.show(f"model in {out}; give --steps 1000 or 100 (a flow's: 16), as published")


def _is_upscaler(name: str, *, weights: bool = False) -> bool:
    """Whether it is an upscaler's name; ModelError unless it is that or an autoencoder's, with weights if need be."""
    from latentsr.autoencoders import SPECS
    from latentsr.errors import ModelError, suggestion
    from latentsr.upscalers.pretrained import KNOWN

    valid = [*(one for one, spec in SPECS.items() if spec.has_weights or not weights), *KNOWN]
    if name not in valid and name in SPECS:
        raise ModelError(f"autoencoder '{name}': has no weights, it can be used as it is")
    if name not in valid:
        raise ModelError(f"model '{name}': expected one of {', '.join(valid)}{suggestion(name, valid)}")
    return name in KNOWN


def _row(spec: Any) -> dict[str, Any]:
    """The facts of an autoencoder, the latent's shape for an image of 256 px, and where it is."""
    from latentsr.autoencoders.store import find

    side = 256 // spec.factor
    place = find(spec.name) if spec.has_weights else None
    here = (place.kind if place else "no") if spec.has_weights else "built in"
    latent = f"{spec.latent_channels}x{side}x{side}"
    return {"kind": "autoencoder"} | dataclasses.asdict(spec) | {"latent": latent, "here": here}


def _upscaler(name: str) -> dict[str, Any]:
    """The facts of a pretrained upscaler, and whether its file is here and whole."""
    from latentsr.errors import ModelError
    from latentsr.upscalers.pretrained import KNOWN, how_to_get

    known = KNOWN[name]
    facts = {"kind": "upscaler", "name": name, "architecture": known.architecture, "scale": known.scale}
    facts |= {"licence": known.licence, "published": known.where, "its files": [known.file], "sha256": known.sha256}
    if not known.path.is_file():
        return facts | {"here": "no", "to get it": how_to_get(name)}
    try:
        known.check(known.path)
    except ModelError as error:
        return facts | {"here": "altered", "to get it": str(error)}
    return facts | {"here": "store", "files": {str(known.path): known.sha256}}


def _show_stored(name: str, place: Path, *, json: bool) -> None:
    """Where a name's files are now: the folder of an autoencoder, or the file of an upscaler."""
    from latentsr.autoencoders.store import imported_from
    from latentsr.config import sha256

    sources = {place.name: sha256(place)} if place.is_file() else imported_from(name)
    folder = place.parent if place.is_file() else place
    if json:
        terminal.show_json({"name": name, "folder": str(folder), "sources": sources})
        return
    for file, digest in sources.items():
        terminal.show(f"{file}: SHA-256 {digest}")
    terminal.show(f"{name} is in {folder}; every command takes it by its name")
