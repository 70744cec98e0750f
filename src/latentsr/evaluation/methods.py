"""Methods written as text: the baselines, a folder of SR images, or a model with options."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

import numpy as np
import torch
from torch import Tensor

from latentsr.baselines import BICUBIC, BICUBIC_PROJECTED, Method, bicubic
from latentsr.config import checked
from latentsr.data.records import Record
from latentsr.degrade import Degradation
from latentsr.errors import InputError, OptionError
from latentsr.io.raster import PNG_SUFFIXES, TIFF_SUFFIXES, read_pixels

if TYPE_CHECKING:
    from latentsr.restoration import Sampling
    from latentsr.superres import SuperResolver

NAMED = 5  # so many files are listed by name in an error, the rest is counted


def parse_method(text: str, *, records: Sequence[Record], degradation: Degradation, device: str = "auto") -> Method:
    """The method that `text` names, one of:

    - `bicubic` or `bicubic+projection`
    - `NAME=FOLDER`: a folder of SR images, one for each of `records`
    - `NAME=MODEL?steps=16&samples=4`: a model folder, or a model's name, with the options of its sampling

    Raises:
        OptionError: text of another form, an unknown option, a model of another scale.
        InputError: a folder of images that does not pair with the records.
        ModelError: a model that is missing or broken.
    """
    if text in (BICUBIC, BICUBIC_PROJECTED):
        return bicubic(degradation, projected=text == BICUBIC_PROJECTED)
    name, _, target = text.partition("=")
    place, _, query = target.partition("?")
    if not name or not place:
        raise OptionError(
            f"method '{text}': expected {BICUBIC}, {BICUBIC_PROJECTED}, NAME=FOLDER or NAME=MODEL?steps=1"
        )
    options = _options(query, origin=f"method '{name}'")
    if _holds_images(Path(place)):
        if options:
            raise OptionError(f"method '{name}': options {', '.join(options)} are for models, {place} holds images")
        return from_images(name, Path(place), records)
    # Imported here, since tables of baselines and image folders should not wait for diffusers.
    from latentsr.restoration import Sampling
    from latentsr.superres import SuperResolver

    sampling = checked(Sampling, options, f"method '{name}'")
    return from_model(name, SuperResolver.load(place, device=device), degradation, sampling)


def _holds_images(place: Path) -> bool:
    return place.is_dir() and not (place / "config.json").is_file()


def _options(query: str, origin: str) -> dict[str, str]:
    """What `key=value&key=value` sets, as texts."""
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError as error:
        raise OptionError(f"{origin}: options '{query}': expected key=value, joined by &") from error
    if twice := [key for key, count in Counter(key for key, _ in pairs).items() if count > 1]:
        raise OptionError(f"{origin}: option {', '.join(twice)} is given twice: keep one")
    return dict(pairs)


def from_model(name: str, model: "SuperResolver", degradation: Degradation, sampling: "Sampling") -> Method:
    """The model's image, the mean over its samples. OptionError if it enlarges by another scale.

    A model trained for another operator of the same scale is accepted: `lr_psnr` then shows what that costs.
    """
    if model.scale != degradation.scale:
        raise OptionError(
            f"method '{name}' enlarges {model.scale} times, the degradation {degradation.text} reduces "
            f"{degradation.scale} times: give --degradation {model.degradation.text}"
        )

    def restore(lr: Tensor, ids: Sequence[str]) -> Tensor:
        return model.restore(lr, ids=ids, sampling=sampling).image

    return Method(name, restore)


def from_images(name: str, folder: Path, records: Sequence[Record]) -> Method:
    """SR images from PNG or TIFF files anywhere below `folder`, each paired with the record whose id is its stem.

    8-bit and 16-bit files are scaled by their type's largest value, as HR is. InputError, which lists them, for
    missing, surplus, duplicated and wrongly sized files: nothing is paired by position and nothing left out.
    """
    files = _image_files(folder)
    _check_pairs(folder, files, records)
    paths = {path.stem: path for path in files}

    def restore(lr: Tensor, ids: Sequence[str]) -> Tensor:
        return torch.stack([_image(paths[name]) for name in ids])[:, None].to(lr)

    return Method(name, restore)


def _check_pairs(folder: Path, files: Sequence[Path], records: Sequence[Record]) -> None:
    """InputError unless the files are one image of HR's size for each record."""
    stems, wanted = Counter(path.stem for path in files), {record.id: record for record in records}
    faults = {
        "missing": sorted(wanted.keys() - stems.keys()),
        "surplus": sorted(stems.keys() - wanted.keys()),
        "duplicated": sorted(stem for stem, count in stems.items() if count > 1),
        "wrongly sized": sorted({p.stem for p in files if p.stem in wanted and not _fits(p, wanted[p.stem])}),
    }
    if any(faults.values()):
        told = "; ".join(f"{kind}: {_named(names)}" for kind, names in faults.items() if names)
        expected = f"one SR image of HR's size for each of {len(records)} records, named ID.png"
        raise InputError(f"{folder}: expected {expected} ({told})")


def _image_files(folder: Path) -> list[Path]:
    """The PNG and TIFF files below `folder`, hidden ones left out."""
    found = (path for path in folder.rglob("*") if path.suffix.lower() in (*PNG_SUFFIXES, *TIFF_SUFFIXES))
    visible = (p for p in found if not any(part.startswith(".") for part in p.relative_to(folder).parts))
    return sorted(path for path in visible if path.is_file())


def _fits(path: Path, record: Record) -> bool:
    return read_pixels(path).shape == (record.rows, record.columns)


def _image(path: Path) -> Tensor:
    pixels = read_pixels(path)
    return torch.from_numpy(pixels.astype(np.float32) / np.float32(np.iinfo(pixels.dtype).max))


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
