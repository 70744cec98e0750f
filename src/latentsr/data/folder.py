"""`prepare folder`: any folder of images or volumes becomes a dataset split by patient."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from latentsr.atomic import replacing
from latentsr.config import read_json, sha256, sha256_json
from latentsr.data.patients import PatientRule, shared_patients, split_patients, without_extension
from latentsr.data.records import SPLITS, Dataset, Record, read_dataset, write_dataset
from latentsr.errors import InputError, OptionError, StaleError
from latentsr.io import Item, find, read
from latentsr.io.raster import JPEG_SUFFIXES, PNG_SUFFIXES, read_pixels, write_pixels

Progress = Callable[[int, int], None]
BY_FOLDER = "folders"


@dataclass(frozen=True)
class FolderRecipe:
    """How a folder is prepared.

    `split` is three shares of the patients (train, valid, test), or "folders": the split is the folder named train,
    valid or test above each file. `size` crops the centre to a square of that many pixels; `slices` takes that many
    evenly spaced slices of each volume (0: all). `drop_shared`: where folders decide, leave out the images of a lower
    split (train, then valid) whose patient also stands in a higher one.
    """

    rule: PatientRule = PatientRule()
    split: tuple[float, ...] | str = (0.8, 0.1, 0.1)
    size: int | None = None
    slices: int = 0
    seed: int = 0
    drop_shared: bool = False
    grey: bool = False


def prepare_folder(
    source: Path, out: Path, recipe: FolderRecipe, *, name: str = "", progress: Progress = lambda done, total: None
) -> Dataset:
    """The dataset made at `out` from every image below `source`; nothing is left at `out` if it fails.

    A dataset that is there already is returned if source and recipe are the same, and refused otherwise.
    """
    items = find([source])
    if not items:
        raise InputError(f"{source}: no images; expected DICOM, NIfTI, PNG, TIFF or JPEG files")
    facts = {"recipe": recipe, "source": _listing(items)}
    key = sha256_json(facts)
    if out.exists():
        return _existing(out, key)
    with replacing(out) as partial:
        records = list(_images(items, partial, recipe, progress))
        kept = _without_dropped(partial, _split(records, recipe))
        write_dataset(partial, name or source.resolve().name, kept, {"key": key, "recipe": facts["recipe"]})
    return read_dataset(out)


def _existing(out: Path, key: str) -> Dataset:
    dataset = read_dataset(out)
    if read_json(out / "dataset.json").get("key") != key:
        raise StaleError(f"{out}: was prepared from other files or options; give another -o, or remove it first")
    return dataset


def _listing(items: Sequence[Item]) -> list[tuple[str, list[str]]]:
    """Each item's name and the hashes of its files: what a dataset was made from."""
    return [(item.relative.as_posix(), [_digest(path) for path in item.paths]) for item in items]


def _digest(path: Path) -> str:
    try:
        return sha256(path)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): check its permissions") from error


def _images(items: Sequence[Item], out: Path, recipe: FolderRecipe, progress: Progress) -> Iterator[Record]:
    """Writes each item's slices below `out` and yields their records, the split not yet decided."""
    taken: set[str] = set()
    for done, item in enumerate(items):
        progress(done, len(items))
        for suffix, whole, header in _slices(item, recipe):
            pixels = whole if recipe.size is None else _centre(whole, recipe.size, item.relative)
            record = _record(item.relative, suffix, pixels, recipe, header)
            if record.id in taken:
                raise InputError(f"{item.relative}: a second file of the name {record.id}; rename one of them")
            taken.add(record.id)
            write_pixels(out / record.file, pixels)
            yield replace(record, sha256=sha256(out / record.file))
    progress(len(items), len(items))


def _slices(item: Item, recipe: FolderRecipe) -> Iterator[tuple[str, np.ndarray, str | None]]:
    """(suffix of the id, uint8 or uint16 pixels, patient by the header) of each slice; constant slices are left out."""
    if item.paths[0].suffix.lower() in (*PNG_SUFFIXES, *JPEG_SUFFIXES):
        pixels = read_pixels(item.paths[0], grey=recipe.grey)
        if pixels.min() < pixels.max():
            yield "", pixels, None
        return
    volume = read(item.paths, grey=recipe.grey)
    stored = np.round(volume.window.apply(volume.pixels).clip(0, 1) * np.iinfo(np.uint16).max).astype(np.uint16)
    filled = [index for index, pixels in enumerate(stored) if pixels.min() < pixels.max()]
    for index in _evenly(filled, recipe.slices):
        yield f"-s{index:03d}" if len(stored) > 1 else "", stored[index], _header_patient(volume.source.header)


def _evenly(indices: Sequence[int], n: int) -> list[int]:
    if not n or n >= len(indices):
        return list(indices)
    return [indices[int((i + 0.5) * len(indices) / n)] for i in range(n)]


def _header_patient(header: object) -> str | None:
    """A short hash of DICOM's PatientID, or of the study without one: the id itself must not travel into datasets."""
    first = header[0] if isinstance(header, (tuple, list)) and header else header
    identity = str(getattr(first, "PatientID", "") or getattr(first, "StudyInstanceUID", "") or "")
    return hashlib.sha256(identity.encode()).hexdigest()[:12] if identity else None


def _record(relative: Path, suffix: str, pixels: np.ndarray, recipe: FolderRecipe, header: str | None) -> Record:
    split = _folder_split(relative) if recipe.split == BY_FOLDER else ""
    inner = Path(*(part for part in relative.parts if not (split and part == split)))
    id = without_extension(inner).replace("/", "__") + suffix
    pixels_file = f"images/{id}.png"
    rows, columns = pixels.shape
    return Record(id, recipe.rule.patient(inner, header), split, pixels_file, rows, columns, sha256="")


def _folder_split(relative: Path) -> str:
    named = [part for part in relative.parts[:-1] if part in SPLITS]
    if not named:
        raise InputError(f"{relative}: --split folders needs a folder train, valid or test above each file")
    return named[-1]


def _centre(pixels: np.ndarray, size: int, relative: Path) -> np.ndarray:
    rows, columns = pixels.shape
    if min(rows, columns) < size:
        raise InputError(f"{relative}: {rows}x{columns} px is smaller than --size {size}; give a smaller --size")
    top, left = (rows - size) // 2, (columns - size) // 2
    return pixels[top : top + size, left : left + size]


def _split(records: Sequence[Record], recipe: FolderRecipe) -> list[Record]:
    """The records with their split, no patient in two of them."""
    if not records:
        raise InputError("every slice is constant or empty; expected images with content")
    if isinstance(recipe.split, str):
        return _by_folder(records, recipe)
    split_of = split_patients((record.patient for record in records), recipe.split, recipe.seed)
    return [replace(record, split=split_of[record.patient]) for record in records]


def _by_folder(records: Sequence[Record], recipe: FolderRecipe) -> list[Record]:
    if recipe.split != BY_FOLDER:
        raise OptionError(f"--split {recipe.split}: expected 'folders' or three shares, such as 0.8,0.1,0.1")
    shared = shared_patients((record.patient, record.split) for record in records)
    if shared and not recipe.drop_shared:
        raise InputError(
            f"{len(shared)} patient(s) stand in more than one of the folders train, valid, test; "
            "move their images, or pass --drop-shared to leave out those of the lower split"
        )
    highest = {patient: max(splits, key=SPLITS.index) for patient, splits in shared.items()}
    return [record for record in records if highest.get(record.patient, record.split) == record.split]


def _without_dropped(root: Path, records: Sequence[Record]) -> Sequence[Record]:
    kept = {record.file for record in records}
    for path in (root / "images").rglob("*.png"):
        if path.relative_to(root).as_posix() not in kept:
            path.unlink()
    return records
