"""`latentsr prepare`: the images that a recipe finds become a dataset split by patient; its LR images as files."""

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from latentsr.atomic import replacing
from latentsr.config import sha256, sha256_json
from latentsr.data.duplicates import DROP, REFUSE, Look, copies, leave_out_copies, look
from latentsr.data.patients import BY_FOLDER, SHARES, image_id, shared_patients, split_records
from latentsr.data.recipes import RECIPES
from latentsr.data.recipes.recipe import Recipe, Sample, levels
from latentsr.data.records import SPLITS, Dataset, Record, is_safe_path, low_resolution, read_dataset, write_dataset
from latentsr.data.slices import CROP, NONE, PAD, Masks, MisfitError, Slice, read_slices
from latentsr.degrade import Degradation
from latentsr.errors import InputError, OptionError, StaleError, printable
from latentsr.io import Item
from latentsr.io.raster import write_pixels
from latentsr.job import JobFolder, Progress, silent
from latentsr.names import first_few
from latentsr.volume import MAX_PIXELS

READING = ("size", "slices", "grey", "multiple", "resize", "axis", "max_pixels")  # arguments of `read_slices`
ADDED = ("multiple", "axis", "max_pixels", "duplicates")  # that the first datasets were prepared without


@dataclass(frozen=True)
class Options:
    """The options that all recipes have.

    `split` is three shares of the patients (train, valid, test), or "folders": the splits that the recipe names. None:
    these, if there are at least two of them, all images have one and no patient several; else shares of 0.8, 0.1, 0.1.
    `size` makes squares of that many pixels; `resize` says how larger images fit in, "pad", "crop" or "none", see
    `latentsr.data.slices.read_slices`. `multiple` crops the centre to the largest rows and columns that it divides;
    `slices` takes that many evenly spaced slices of each volume (0: all). `drop_shared`: where the recipe's splits
    decide, leave out the images of a lower split (train, then valid) whose patient also stands in a higher one. `axis`
    and `max_pixels` are those of `latentsr.io.read`. `duplicates`: what is done with an image that also stands in a
    higher split or another dataset, "refuse" or "drop".
    """

    split: tuple[float, ...] | str | None = None
    size: int | None = None
    slices: int = 0
    seed: int = 0
    drop_shared: bool = False
    grey: bool = False
    multiple: int | None = None
    resize: str = PAD
    axis: int | None = None
    max_pixels: int = MAX_PIXELS
    duplicates: str = REFUSE

    def __post_init__(self) -> None:
        if self.duplicates not in (REFUSE, DROP):
            raise OptionError(f"the option duplicates is {self.duplicates}: expected {REFUSE} or {DROP}")
        if self.multiple is not None and (self.multiple < 1 or self.size is not None):
            raise OptionError(f"the option multiple is {self.multiple}: expected 1 or more, and not beside size")
        if self.size is not None and self.size < 2:
            raise OptionError(f"the option size is {self.size}: expected 2 or more")
        if self.resize not in (PAD, CROP, NONE):
            raise OptionError(f"the option resize is {self.resize}: expected {PAD}, {CROP} or {NONE}")
        if isinstance(self.split, str) and self.split != BY_FOLDER:
            raise OptionError(f"split {self.split}: expected 'folders' or three shares, such as 0.8,0.1,0.1")

    @property
    def facts(self) -> dict[str, Any]:
        """The options that decide the images, for key and dataset.json.

        Those that were added later are left out at their defaults, so that older datasets keep their key.
        """
        defaults = vars(Options())
        facts = {name: value for name, value in vars(self).items() if name not in ADDED or value != defaults[name]}
        if self.size is None or self.resize == NONE:
            del facts["resize"]
        elif self.resize == CROP:
            facts["resize"] = True  # as it was written when there was no other way
        return facts


class Labels(NamedTuple):
    """What a recipe knows of an image or slice: id, patient, split (empty: none) and further columns of its record."""

    id: str
    patient: str
    split: str = ""
    attributes: Mapping[str, str] = {}


@dataclass(frozen=True)
class Source:
    """What a recipe found.

    Attributes:
        root: where it looked.
        items: the files and series; those that hold no image are skipped.
        labels: of a slice of the item at a path below the root; called for what could be read.
        facts: all that decides the labels, for the dataset's key and dataset.json.
        masks: of the items' regions of interest, None without.
        names_splits: whether the labels have splits.
    """

    root: Path
    items: Sequence[Item]
    labels: Callable[[Path, Slice], Labels]
    facts: Mapping[str, Any]
    masks: Masks | None = None
    names_splits: bool = False


def prepare(
    recipe: str,
    source: Path,
    out: Path,
    *,
    name: str = "",
    apart_from: Sequence[Dataset] = (),
    strict: bool = False,
    progress: Progress = silent,
    **options: Any,
) -> Dataset:
    """The dataset made at `out` of the images that a recipe finds; nothing is left at `out` if it fails.

    An existing dataset is returned if source, options and `apart_from` are the same, and refused otherwise. Its
    dataset.json lists the files that were skipped, since they are no images, cannot be read or are too small, the
    images that occur twice, and counts what was left out.

    Args:
        recipe: a name of RECIPES.
        source: where the recipe looks, such as a folder of images.
        out: the dataset's folder.
        name: the dataset's; empty: the source's.
        apart_from: datasets none of whose images may be in this one, such as a model's training set.
        strict: raises the error of the first file that would be skipped.
        progress: called with the numbers of files done and of all.
        options: the fields of Options, and the recipe's own.
    """
    if not is_safe_path(name := name or source.resolve().name):
        raise OptionError("the dataset's name cannot be a folder's: choose one by the option name")
    chosen = Options(**{one.name: options.pop(one.name) for one in fields(Options) if one.name in options})
    find = RECIPES[recipe]
    if isinstance(find, type):
        raise OptionError(f"recipe {recipe}: makes the images itself; call prepare_cases with its options")
    found = find(source, chosen, **options)
    if chosen.split is None and not found.names_splits:
        chosen = replace(chosen, split=SHARES)
    facts: dict[str, Any] = {"recipe": {**chosen.facts, **found.facts}, "source": _listing(found.items)}
    if found.masks is not None:
        facts["masks"] = _listing([mask for item in found.items if (mask := found.masks.of(item))])
    if apart_from:
        facts["apart_from"] = sorted(other.hash for other in apart_from)
    key = _claimed(out, source, facts)
    if out.exists():
        return read_dataset(out)
    with replacing(out) as partial:
        records, looks, left_out = _written(found, chosen, partial, strict, progress)
        try:
            records, split = split_records(records, chosen.split, seed=chosen.seed, drop_shared=chosen.drop_shared)
        except InputError as error:  # nothing, or too few patients, perhaps since files were skipped
            if not (skipped := left_out["skipped"]):
                raise
            first = f"of {left_out['files']} files were skipped, the first: {skipped[0]['reason']}"
            raise InputError(f"{error}; {len(skipped)} {first}") from error
        records, twice = leave_out_copies(records, looks, apart_from, chosen.duplicates)
        kept = {partial / file for record in records for file in (record.file, record.mask)}
        for path in set(partial.rglob("*.png")) - kept:
            path.unlink()
        more = {"key": key, "recipe": facts["recipe"], **split, **left_out, "duplicates": twice}
        write_dataset(partial, name, records, more)
    return read_dataset(out)


def _claimed(out: Path, source: Path, facts: Mapping[str, Any]) -> str:
    """The key of a dataset that these facts decide; an error where `out` holds another, or lies in its own source."""
    if source.resolve() in (out.resolve(), *out.resolve().parents):
        raise OptionError(f"{out}: lies in {source}, whose images it is made of; choose an output folder outside")
    if out.is_dir() and not any(out.iterdir()):
        out.rmdir()
    if out.exists() and not (out / "dataset.json").is_file():
        raise StaleError(f"{out}: exists and is no dataset; choose another output folder")
    key = sha256_json(facts)
    JobFolder(out, "dataset", "dataset.json", frozenset(), "files or options", shared=True, fix="remove it").claim(key)
    return key


def _written(
    found: Source, options: Options, out: Path, strict: bool, progress: Progress
) -> tuple[list[Record], dict[str, Look], dict[str, Any]]:
    """The records of the slices that are written below `out`, their Looks by id, and what was left out.

    Splits are those that the recipe names. InputError lists the masks that do not fit their images.
    """
    records: list[Record] = []
    looks: dict[str, Look] = {}
    skipped: list[dict[str, str]] = []
    misfits: list[str] = []
    constant, warnings, taken = 0, Counter[str](), set[str]()
    for done, item in enumerate(found.items):
        progress(done, len(found.items))
        relative, mask = item.relative, None if found.masks is None else found.masks.of(item)
        try:
            if not is_safe_path(image_id(relative) + "-s000"):
                raise InputError(
                    f"{relative}: its path is too long for a name, or holds backslashes, control characters or bytes "
                    "that are no UTF-8; rename it"
                )
            slices = read_slices(item, mask, **{name: getattr(options, name) for name in READING})
        except MisfitError as error:
            misfits.append(str(error))
            continue
        except InputError as error:
            if strict:
                raise
            reason = str(error).removeprefix(f"{found.root}: ").replace(f"{found.root}{os.sep}", "")
            skipped.append({"file": printable(relative), "reason": reason})
            continue
        constant += slices.constant
        warnings.update(slices.warnings)
        for one in slices.found:
            labels = found.labels(relative, one)
            if options.split == BY_FOLDER and not labels.split:
                raise InputError(f"{relative}: the split 'folders' needs a folder train, valid or test above each file")
            split = labels.split if options.split in (None, BY_FOLDER) else ""
            if labels.id.casefold() in taken:
                raise InputError(
                    f"{relative}: a second file of the name {labels.id}, whatever its case; rename one of them"
                )
            taken.add(labels.id.casefold())
            sample = Sample(labels.id, one.pixels, None, one.mask, one.spacing, one.resized_from, one.slice_mm)
            records.append(_record(out, sample, labels.patient, split, labels.attributes))
            file = printable(relative) + (f" ({one.suffix[1:]})" if one.suffix else "")
            looks[labels.id] = look(file, one.pixels)
    progress(len(found.items), len(found.items))
    if misfits:
        raise InputError(
            f"masks that do not fit their images: {first_few(sorted(misfits))}; expected each on its image's grid, in "
            "grey, not 0 inside the region"
        )
    left_out = {"files": len(found.items), "skipped": skipped, "constant_left_out": constant}
    return records, looks, left_out | {"warnings": dict(warnings)}


def _record(out: Path, sample: Sample, patient: str, split: str, attributes: Mapping[str, str]) -> Record:
    """The record of an image that is written below `out`, with its mask and LR image if it has them."""
    written: dict[str, tuple[str, str]] = {}
    for folder, pixels in (("images", sample.hr), ("masks", sample.mask), ("lr", sample.lr)):
        if pixels is not None:
            file = f"{folder}/{sample.id}.png"
            write_pixels(out / file, np.ascontiguousarray(pixels))
            written[folder] = file, sha256(out / file)
    rows, columns = sample.hr.shape
    return Record(
        sample.id, patient, split, written["images"][0], rows, columns, written["images"][1], sample.spacing,
        *written.get("masks", ("", "")), sample.resized_from, attributes, *written.get("lr", ("", "")), sample.slice_mm,
    )  # fmt: skip


def prepare_cases(name: str, recipe: Recipe, source: Path, out: Path, *, progress: Progress = silent) -> Dataset:
    """The dataset that a recipe of RECIPES makes at `out` of a public dataset; nothing is left at `out` if it fails.

    An existing dataset is returned if the files (by name and size) and options are the same, and refused otherwise. Its
    dataset.json has the recipe and its notes, and counts cases that its tables lack and what is in two splits.

    Args:
        name: of the recipe, and of the dataset.
        recipe: its options.
        source: the public dataset's folder.
        out: the dataset's folder.
        progress: called with the numbers of cases done and of all.

    Raises:
        InputError: a tree of another layout, a file that cannot be read (nothing is skipped), or a patient in several
            splits, unless the choices are those published.
        OptionError: options that do not go together.
        StaleError: `out` holds another dataset.
    """
    cases = recipe.cases(source)
    shared = len(shared_patients((case.patient, case.split) for case in cases))
    if shared and not recipe.as_published:
        raise InputError(f"{source}: {shared} patient(s) stand in several splits; remove their files from all but one")
    files = [(str(path.relative_to(source)), path.stat().st_size) for case in cases for path in case.files]
    key = _claimed(out, source, {"recipe": name, "options": asdict(recipe), "files": files})
    if out.exists():
        return read_dataset(out)
    with replacing(out) as partial:
        records: list[Record] = []
        looks: dict[str, Look] = {}
        for done, case in enumerate(cases):
            progress(done, len(cases))
            for sample in case.samples():
                if sample.id in looks:
                    raise InputError(f"{case.files[0]}: a second image of the name {sample.id}; remove one of both")
                if not is_safe_path(sample.id):
                    raise InputError(f"{case.files[0]}: its name cannot be an image's; rename it")
                records.append(_record(partial, sample, case.patient, case.split, case.attributes))
                looks[sample.id] = look(sample.id, sample.hr)
        progress(len(cases), len(cases))
        if not records:
            raise InputError(f"{source}: no image with content in {len(cases)} cases")
        groups = [[looks[one.id] for one in records if one.split == split] for split in SPLITS]
        described = {
            "key": key,
            "recipe": {"name": name, **recipe.facts},
            "degradation": recipe.published_degradation if recipe.as_published else "",
            "notes": list(recipe.published_notes if recipe.as_published else recipe.notes),
            "cases": len(cases),
            "unlisted": dict(Counter(table for case in cases for table in case.unlisted)),
            "patients_in_several_splits": shared,
            "copies_in_several_splits": len(copies(groups)),
        }
        write_dataset(partial, name, records, described)
    return read_dataset(out)


def _listing(items: Sequence[Item]) -> list[tuple[str, list[str]]]:
    """Each item's name and the hashes of its files: what a dataset was made from."""

    def digest(path: Path) -> str:
        try:
            return sha256(path)
        except OSError:  # such a file is skipped when its turn comes
            return ""

    return [(item.relative.as_posix(), [digest(path) for path in item.paths]) for item in items]


def write_low_resolution(
    dataset: Dataset, degradation: Degradation, split: str, out: Path, *, progress: Progress = silent
) -> int:
    """How many LR images were written to the new folder `out`, whole or not at all: 16-bit PNG, `ID.png`.

    HR in [0, 1] is degraded in float64, as `evaluate` does, clamped to [0, 1] and rounded to 16 bit: 1e-5 of the range.

    Raises:
        InputError: no such split, HR files that changed, sides that the scale does not divide.
        StaleError: `out` exists.
    """
    if out.exists():
        raise StaleError(f"{out}: exists already; choose another output folder")
    records = dataset.select(split)
    dataset.check(records)
    with replacing(out) as partial:
        for done, record in enumerate(records, start=1):
            hr = torch.from_numpy(dataset.image(record)).double()[None, None]
            lr = low_resolution(dataset, [record], degradation, hr)[0, 0]
            write_pixels(partial / f"{record.id}.png", levels(lr.numpy()))
            progress(done, len(records))
    return len(records)
