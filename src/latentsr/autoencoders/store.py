"""The store of fetched weights, and where the files of an autoencoder of the catalogue are on this machine."""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from latentsr.atomic import replacing
from latentsr.autoencoders.network import read_manifest, save_network
from latentsr.autoencoders.protocol import CATALOGUE, CONFIG, WEIGHTS, Published, Weights
from latentsr.autoencoders.published import Files, given_files, read_published
from latentsr.config import home, sha256
from latentsr.errors import ModelError, StaleError, reason


@dataclass(frozen=True)
class Place:
    """Where an autoencoder's files are: a folder in the store, or files in the hub's cache."""

    kind: str
    files: Files


def store_folder(name: str) -> Path:
    """Where `models import` and `models pull` put an autoencoder."""
    return home() / "autoencoders" / name


def new_folder(name: str, *, overwrite: bool) -> Path:
    """The `store_folder`; StaleError if it exists, unless `overwrite`."""
    folder = store_folder(name)
    if folder.exists() and not overwrite:
        raise StaleError(f"{folder}: {name} is in the store already; set the option overwrite to replace it")
    return folder


def find(name: str) -> Place | None:
    """Where all files of an autoencoder of the catalogue are on this machine; None where they are not."""
    folder = store_folder(name)
    if folder.is_dir():  # whole or not: a broken one is reported, not skipped
        return Place("store", Files((folder / WEIGHTS,), folder / CONFIG))
    publication = CATALOGUE[name].publication
    if not publication.repository:
        return None
    from huggingface_hub import try_to_load_from_cache  # half a second, and most calls do not need it

    paths = []
    for file in publication.files:
        path = try_to_load_from_cache(publication.repository, file)
        if not isinstance(path, str):
            return None
        paths.append(Path(path))
    count = len(publication.weights)
    return Place("hub cache", Files(tuple(paths[:count]), paths[count] if publication.config else None))


def import_weights(name: str, weights: Weights, config: Path | str | None = None, *, overwrite: bool = False) -> Path:
    """The folder in the store, with the converted weights, their SHA-256 and that of each file they came from.

    Whole or not at all; an existing one raises StaleError unless `overwrite`.
    """
    published, folder = CATALOGUE[name], new_folder(name, overwrite=overwrite)
    files = given_files(published, weights, config)
    network = read_published(published, files)
    sources = {path.name: sha256(path) for path in files.all}
    with replacing(folder) as partial:
        save_network(network, partial, published.spec, facts={"sources": sources})
        if folder.exists():
            shutil.rmtree(folder)
    return folder


def pull(name: str, *, overwrite: bool = False) -> Path:
    """The folder in the store, made from the files that the catalogue names, fetched from the hub."""
    published = CATALOGUE[name]
    if not published.publication.repository:
        raise ModelError(f"{name}: is in no hub repository; {how_to_get(name)}")
    folder = new_folder(name, overwrite=overwrite)
    downloads = home() / "downloads" / name  # kept if it is cut off, so that the next call resumes
    try:
        paths = {file: _fetched(published, file, downloads) for file in published.publication.files}
    finally:  # the hub's own locks and records alone are worth nothing
        kept = (path for path in downloads.rglob("*") if path.is_file())
        if not any(path.suffix == ".incomplete" or ".cache" not in path.relative_to(downloads).parts for path in kept):
            shutil.rmtree(downloads, ignore_errors=True)
            if downloads.parent.is_dir() and not any(downloads.parent.iterdir()):
                downloads.parent.rmdir()
    weights = [paths[file] for file in published.publication.weights]
    import_weights(name, weights, paths.get(published.publication.config), overwrite=overwrite)
    shutil.rmtree(downloads)
    return folder


def how_to_get(name: str, *, by_hand: bool = False) -> str:
    """What to fetch, from where, and where to put it, on one line; `by_hand`: without a network here."""
    publication = CATALOGUE[name].publication
    other = f" (or {' and '.join(publication.aliases)})" if publication.aliases else ""
    command = f"latentsr models import {name} --weights FILE{' --weights-config FILE' if publication.config else ''}"
    pulled = f"'latentsr models pull {name}', or " if publication.repository and not by_hand else ""
    return (
        f"fetch {' and '.join(publication.files)}{other} from {publication.where}: {pulled}"
        f"'{command}' puts them into {store_folder(name)}"
    )


def imported_from(name: str) -> dict[str, str]:
    """The SHA-256 of each file that an autoencoder in the store was made from, by file name; empty for others."""
    sources = read_manifest(store_folder(name)).get("sources")
    return dict(sources) if isinstance(sources, dict) else {}


def check_cached(files: Files) -> None:
    """Raises ModelError if a file in the hub's cache is not the one that it is named by (large ones, by SHA-256)."""
    for path in files.all:
        name = path.resolve().name
        if re.fullmatch(r"[0-9a-f]{64}", name) and sha256(path) != name:
            raise ModelError(
                f"{path}: cut off or altered, its SHA-256 is not {name[:12]}...; remove it and fetch again"
            )


def _fetched(published: Published, file: str, downloads: Path) -> Path:
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
    from huggingface_hub.errors import EntryNotFoundError, HTTPError  # type: ignore[attr-defined]
    from huggingface_hub.utils import logging

    repository, before = published.publication.repository, logging.get_verbosity()
    logging.set_verbosity_error()  # what matters in its warnings is in the error
    try:
        get_hf_file_metadata(hf_hub_url(repository, file))  # one try: a download would ask for half a minute
        return Path(hf_hub_download(repository, file, local_dir=downloads))
    except (EntryNotFoundError, HTTPError, OSError) as error:
        name = published.spec.name
        fix = f"with no network, {how_to_get(name, by_hand=True)}"
        raise ModelError(f"{name}: {file} of {repository} cannot be fetched ({reason(error)}); {fix}") from error
    finally:
        logging.set_verbosity(before)
