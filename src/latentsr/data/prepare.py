"""`prepare folder`: any folder of images or volumes becomes a dataset split by patient; its LR images as files."""

import os
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from latentsr.atomic import replacing
from latentsr.config import read_json, sha256, sha256_json
from latentsr.data.duplicates import REFUSE, Look, check_action, copies, leave_out_copies, look
from latentsr.data.masks import MisfitError, pair_masks
from latentsr.data.patients import (
    BY_FOLDER,
    SHARES,
    PatientRule,
    named_split,
    read_csv,
    split_records,
    table_keys,
    without_extension,
)
from latentsr.data.recipes import Case, Recipe, Sample
from latentsr.data.records import (
    SPLITS,
    Dataset,
    Record,
    is_attribute,
    is_printable,
    is_safe_path,
    low_resolution,
    read_dataset,
    write_dataset,
)
from latentsr.data.slices import TOP, Slice, read_slices
from latentsr.degrade import Degradation
from latentsr.errors import InputError, OptionError, StaleError, printable
from latentsr.io import Item, find
from latentsr.io.raster import write_pixels
from latentsr.names import first_few
from latentsr.volume import MAX_PIXELS

Columns = Mapping[str, Mapping[str, str]]  # by the first column's text, the values of the others by their names
SLICE = r"-s\d+$"  # what ends the id of a volume's slice


def read_columns(path: Path) -> Columns:
    """The rows of a CSV table by their first column, which has the id of an image or the path, name or stem of a file.

    InputError: no table in UTF-8, a column without a name of its own, a row that is too long or short, or given twice.
    """
    names, rows = read_csv(path, "images and their columns")
    key, own = names[:1], names[1:]
    if not key or not own or len(set(names)) < len(names) or not all(map(is_attribute, own)):
        raise InputError(
            f"{path}: expected a first column of ids or file names, and others with names that no record has, each once"
        )
    found: dict[str, dict[str, str]] = {}
    for line, row in enumerate(rows, start=2):
        if None in row or None in row.values() or not all(map(is_printable, row.values())):
            raise InputError(f"{path}: row {line}: expected {len(names)} values without control characters")
        if row[key[0]] in found:
            raise InputError(f"{path}: row {line}: a second one for the same image; keep one")
        found[row[key[0]]] = {name: row[name].strip() for name in own}
    return found


def check_columns(columns: Columns, files: Sequence[Path]) -> None:
    """InputError that lists the rows that belong to no file, or to several; `files` are paths below the source folder.

    A row of a slice, `ID-s007`, belongs to its volume's file, even if that slice is left out.
    """
    keys = {
        relative: (
            _id(relative),
            _id(Path(*(part for part in relative.parts if part != named_split(relative)))),
            *table_keys(relative),
        )
        for relative in files
    }
    known = {key for found in keys.values() for key in found}
    taken = Counter(next((key for key in found if key in columns), "") for found in keys.values())
    faults = {
        "of no file": [key for key in columns if not {key, re.sub(SLICE, "", key)} & known],
        "of several files": [key for key, count in taken.items() if key and count > 1],
    }
    if any(faults.values()):
        reasons = "; ".join(f"{fault}: {first_few(sorted(rows))}" for fault, rows in faults.items() if rows)
        raise InputError(
            f"the option columns has rows {reasons}; expected the id of an image or the path, name or stem of one file"
        )


def columns_of(columns: Columns | None, relative: Path, id: str) -> Mapping[str, str]:
    """The values of the image `id` of the file at `relative`; InputError, which names the file, where no row has it.

    Empty without a table.
    """
    if columns is None:
        return {}
    for key in (id, *table_keys(relative)):
        if key in columns:
            return columns[key]
    raise InputError(f"{relative}: not in the table of the option columns; expected a row, with empty cells if need be")


def _id(relative: Path) -> str:
    """The id of the image of a file, or of the slices of a volume but for their ends."""
    return without_extension(relative).replace("/", "__")


Progress = Callable[[int, int], None]


def write_low_resolution(
    dataset: Dataset, degradation: Degradation, split: str, out: Path, *, progress: Progress = lambda done, total: None
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
            lr = low_resolution(dataset, [record], degradation, hr).clamp(0, 1)[0, 0]
            write_pixels(partial / f"{record.id}.png", np.round(lr.numpy() * TOP).astype(np.uint16))
            progress(done, len(records))
    return len(records)


IMAGES, MASKS, LR = "images", "masks", "lr"
ADDED = ("multiple", "axis", "max_pixels", "duplicates", "columns")  # that the first datasets were prepared without


@dataclass(frozen=True)
class FolderRecipe:
    """How a folder is prepared.

    `split` is three shares of the patients (train, valid, test), or "folders": the split is the folder named train,
    valid or test above each file. None: these folders, if there are at least two of them, all images lie in them and
    no patient in several; else shares of 0.8, 0.1, 0.1. `size` keeps a square of that many pixels: large images are
    resized (unless `resize` is false), then the centre is cropped. `multiple` crops the centre to the largest rows and
    columns that it divides; `slices` takes that many evenly spaced slices of each volume (0: all).
    `drop_shared`: where folders decide, leave out the images of a lower split (train, then valid) whose patient also
    stands in a higher one. `axis` and `max_pixels` are those of `latentsr.io.read`.
    `duplicates`: what is done with an image that also stands in a higher split or another dataset, "refuse" or "drop".
    `columns` are further columns of the records, what `latentsr.data.prepare.read_columns` gives; those of the rule's
    pattern come before them.
    """

    rule: PatientRule = PatientRule()
    split: tuple[float, ...] | str | None = None
    size: int | None = None
    slices: int = 0
    seed: int = 0
    drop_shared: bool = False
    grey: bool = False
    multiple: int | None = None
    resize: bool = True
    axis: int | None = None
    max_pixels: int = MAX_PIXELS
    duplicates: str = REFUSE
    columns: Columns | None = None

    def __post_init__(self) -> None:
        check_action(self.duplicates)
        if twice := {name for row in (self.columns or {}).values() for name in row} & set(self.rule.attribute_names):
            raise OptionError(
                f"column {', '.join(sorted(twice))}: both of the patient pattern and of the table; keep one"
            )
        if self.multiple is not None and (self.multiple < 1 or self.size is not None):
            raise OptionError(f"the option multiple is {self.multiple}: expected 1 or more, and not beside size")
        if self.size is not None and self.size < 2:
            raise OptionError(f"the option size is {self.size}: expected 2 or more")
        if isinstance(self.split, str) and self.split != BY_FOLDER:
            raise OptionError(f"split {self.split}: expected 'folders' or three shares, such as 0.8,0.1,0.1")

    @property
    def facts(self) -> dict[str, Any]:
        """The options that decide the images, for key and dataset.json.

        Those that were added later are left out at their defaults, so that older datasets keep their key.
        """
        defaults = vars(FolderRecipe())
        facts = {name: value for name, value in vars(self).items() if name not in ADDED or value != defaults[name]}
        if self.size is None or not self.resize:
            del facts["resize"]
        if self.rule.attribute_names:  # which earlier versions left aside
            facts["pattern_columns"] = self.rule.attribute_names
        return facts


def prepare_folder(
    source: Path,
    out: Path,
    recipe: FolderRecipe,
    *,
    name: str = "",
    masks: Path | None = None,
    apart_from: Sequence[Dataset] = (),
    strict: bool = False,
    progress: Progress = lambda done, total: None,
) -> Dataset:
    """The dataset made at `out` from every image below `source`; nothing is left at `out` if it fails.

    An existing dataset is returned if source, masks, recipe and `apart_from` are the same, and refused otherwise. Its
    dataset.json lists the files that were skipped, since they are no images, cannot be read or are too small, the
    images that occur twice, and counts what was left out: see `preparation`.

    Args:
        source: a folder of images or volumes.
        out: the dataset's folder.
        recipe: how they are prepared.
        name: the dataset's; empty: the source folder's.
        masks: a folder of regions of interest that mirrors `source`, see `latentsr.data.masks`.
        apart_from: datasets none of whose images may be in this one, such as a model's training set.
        strict: raises the error of the first file that would be skipped.
        progress: called with the numbers of files done and of all.
    """
    name = name or source.resolve().name
    if not is_safe_path(name):
        raise OptionError("the dataset's name cannot be a folder's: choose one by the option name")
    items = find([source])
    check_columns(recipe.columns or {}, [item.relative for item in items])
    if recipe.split is None and not any(named_split(item.relative) for item in items):
        recipe = replace(recipe, split=SHARES)
    paired = None if masks is None else pair_masks(masks, source, items, max_pixels=recipe.max_pixels)
    facts: dict[str, Any] = {"recipe": recipe.facts, "source": _listing(items)}
    if paired is not None:
        facts["masks"] = _listing([mask for item in items if (mask := paired.of(item))])
    if apart_from:
        facts["apart_from"] = sorted(other.hash for other in apart_from)
    key = sha256_json(facts)
    if out.exists():
        dataset = read_dataset(out)
        if read_json(out / "dataset.json").get("key") != key:
            raise StaleError(
                f"{out}: was prepared from other files or options; choose another output folder, or remove it first"
            )
        return dataset
    with replacing(out) as partial:
        made = _Made(partial, source, recipe, strict)
        for done, item in enumerate(items):
            progress(done, len(items))
            made.add(item, None if paired is None else paired.of(item))
        progress(len(items), len(items))
        records, split_facts = made.split()
        records, twice = leave_out_copies(records, made.looks, apart_from, recipe.duplicates)
        _remove_other_files(partial, records)
        described = {"key": key, "recipe": recipe.facts, **split_facts, **made.left_out, "duplicates": twice}
        write_dataset(partial, name, records, described)
    return read_dataset(out)


def prepare_recipe(
    name: str, recipe: Recipe, source: Path, out: Path, *, progress: Progress = lambda done, total: None
) -> Dataset:
    """The dataset that a recipe of RECIPES makes at `out` of a public dataset; nothing is left at `out` if it fails.

    An existing dataset is returned if the files (by name and size) and options are the same, and refused otherwise. Its
    dataset.json has the recipe, its notes, images that stand in two splits and, if any, the patients in several.

    Args:
        name: of the recipe, and of the dataset.
        recipe: its options.
        source: the public dataset's folder.
        out: the dataset's folder.
        progress: called with the numbers of cases done and of all.

    Raises:
        InputError: a tree of another layout, or a file that cannot be read: nothing is skipped.
        OptionError: options that do not go together.
        StaleError: `out` holds another dataset.
    """
    cases = recipe.cases(source)
    files = [(str(path.relative_to(source)), path.stat().st_size) for case in cases for path in case.files]
    facts = {"recipe": name, "options": recipe.model_dump(mode="json"), "files": files}
    key = sha256_json(facts)
    if out.exists():
        dataset = read_dataset(out)
        if read_json(out / "dataset.json").get("key") != key:
            raise StaleError(
                f"{out}: was prepared from other files or options; choose another output folder, or remove it first"
            )
        return dataset
    with replacing(out) as partial:
        records: list[Record] = []
        looks: dict[str, Look] = {}
        for done, case in enumerate(cases):
            progress(done, len(cases))
            for sample in case.samples():
                records.append(_stored(partial, sample, case))
                looks[sample.id] = look(sample.id, sample.hr)
        progress(len(cases), len(cases))
        if not records:
            raise InputError(f"{source}: no image with content in {len(cases)} cases")
        splits: dict[str, set[str]] = {}
        for record in records:
            splits.setdefault(record.patient, set()).add(record.split)
        shared = sum(len(found) > 1 for found in splits.values())
        groups = [[looks[one.id] for one in records if one.split == split] for split in SPLITS]
        described = {
            "key": key,
            "recipe": {"name": name, **recipe.model_dump(mode="json")},
            "notes": list(recipe.notes),
            "patients_in_several_splits": shared,
            "copies_in_several_splits": len(copies(groups)),
        }
        write_dataset(partial, name, records, described)
    return read_dataset(out)


def _stored(root: Path, sample: Sample, case: Case) -> Record:
    """The record of a sample, whose images are written below `root`."""
    if not is_safe_path(sample.id):
        raise InputError(f"{case.files[0]}: its name cannot be an image's; rename it")
    files = {IMAGES: sample.hr, MASKS: sample.mask, LR: sample.lr}
    digests = {}
    for folder, pixels in files.items():
        path = root / folder / f"{sample.id}.png"
        if pixels is not None:
            write_pixels(path, np.ascontiguousarray(pixels))
            digests[folder] = sha256(path)
    file, (rows, columns) = f"{IMAGES}/{sample.id}.png", sample.hr.shape
    record = Record(
        sample.id, case.patient, case.split, file, rows, columns, digests[IMAGES], sample.spacing,
        resized_from=sample.resized_from, attributes=case.attributes,
    )  # fmt: skip
    if MASKS in digests:
        record = replace(record, mask=f"{MASKS}/{sample.id}.png", mask_sha256=digests[MASKS])
    if LR in digests:
        record = replace(record, lr=f"{LR}/{sample.id}.png", lr_sha256=digests[LR])
    return record


@dataclass(frozen=True)
class Preparation:
    """How a dataset was prepared, from its dataset.json.

    Attributes:
        files: files and series that were found, None of datasets made by older versions.
        skipped: the place of each file that was left out, and why.
        constant: images and slices of one value that were left out.
        warnings: what the readers have to say of files, and of how many.
        split_by: "folders", "shares", or empty of older datasets.
        folders_unused: why folders named train, valid or test did not decide the split; empty if they did or do not
            exist.
        duplicates: what `leave_out_copies` says, None of datasets made by older versions, which did not look.
    """

    files: int | None
    skipped: tuple[tuple[str, str], ...]
    constant: int
    warnings: Mapping[str, int]
    split_by: str
    folders_unused: str
    duplicates: Mapping[str, Any] | None


def preparation(dataset: Dataset) -> Preparation:
    """How a dataset was prepared."""
    facts = read_json(dataset.root / "dataset.json")
    return Preparation(
        files=facts.get("files"),
        skipped=tuple((one["file"], one["reason"]) for one in facts.get("skipped", ())),
        constant=facts.get("constant_left_out", 0),
        warnings=facts.get("warnings", {}),
        split_by=facts.get("split_by", ""),
        folders_unused=facts.get("folders_unused", ""),
        duplicates=facts.get("duplicates"),
    )


def _listing(items: Sequence[Item]) -> list[tuple[str, list[str]]]:
    """Each item's name and the hashes of its files: what a dataset was made from."""
    return [(item.relative.as_posix(), [_digest(path) for path in item.paths]) for item in items]


def _digest(path: Path) -> str:
    """The SHA-256 of a file, empty for one that cannot be read: it is skipped when its turn comes."""
    try:
        return sha256(path)
    except OSError:
        return ""


@dataclass
class _Made:
    """What has been written below `out` so far: the records, their split not yet decided, and what was left out."""

    out: Path
    source: Path
    recipe: FolderRecipe
    strict: bool
    records: list[Record] = field(default_factory=list)
    looks: dict[str, Look] = field(default_factory=dict)
    files: int = 0
    skipped: list[dict[str, str]] = field(default_factory=list)
    constant: int = 0
    warnings: Counter[str] = field(default_factory=Counter)
    misfits: list[str] = field(default_factory=list)
    _taken: set[str] = field(default_factory=set)

    def add(self, item: Item, mask: Item | None) -> None:
        """Writes an item's slices with their masks; one that cannot be used is skipped."""
        self.files += 1
        recipe = self.recipe
        try:
            if not is_safe_path(_id(item.relative) + "-s000"):
                raise InputError(
                    f"{item.relative}: its path is too long for a name, or holds backslashes, control "
                    "characters or bytes that are no UTF-8; rename it"
                )
            slices = read_slices(
                item,
                mask,
                size=recipe.size,
                slices=recipe.slices,
                grey=recipe.grey,
                multiple=recipe.multiple,
                resize=recipe.resize,
                axis=recipe.axis,
                max_pixels=recipe.max_pixels,
            )
        except MisfitError as error:  # reported with all others, at the end
            self.misfits.append(str(error))
        except InputError as error:
            if self.strict:
                raise
            reason = str(error).removeprefix(f"{self.source}: ").replace(f"{self.source}{os.sep}", "")
            self.skipped.append({"file": printable(item.relative), "reason": reason})
        else:
            self.constant += slices.constant
            self.warnings.update(slices.warnings)
            self.records += [self._written(item.relative, one) for one in slices.found]

    @property
    def left_out(self) -> dict[str, Any]:
        """What dataset.json says of the files and of what did not become a record."""
        return {
            "files": self.files,
            "skipped": self.skipped,
            "constant_left_out": self.constant,
            "warnings": dict(self.warnings),
        }

    def _written(self, relative: Path, one: Slice) -> Record:
        split = "" if self.recipe.split not in (None, BY_FOLDER) else named_split(relative)
        inner = relative
        if self.recipe.split == BY_FOLDER:
            if not split:
                raise InputError(f"{relative}: the split 'folders' needs a folder train, valid or test above each file")
            inner = Path(*(part for part in relative.parts if part != split))
        id = _id(inner) + one.suffix
        patient = self.recipe.rule.patient(inner, one.patient)
        attributes = self.recipe.rule.attributes(inner) | dict(columns_of(self.recipe.columns, relative, id))
        rows, columns = one.pixels.shape
        file = f"{IMAGES}/{id}.png"
        if id.casefold() in self._taken:
            raise InputError(f"{relative}: a second file of the name {id}, whatever its case; rename one of them")
        self._taken.add(id.casefold())
        place = printable(relative) + (f" ({one.suffix[1:]})" if one.suffix else "")
        self.looks[id] = look(place, one.pixels)
        write_pixels(self.out / file, one.pixels)
        digest, resized_from = sha256(self.out / file), one.resized_from
        record = Record(
            id, patient, split, file, rows, columns, digest, one.spacing, resized_from=resized_from,
            attributes=attributes,
        )  # fmt: skip
        if one.mask is None:
            return record
        mask = f"{MASKS}/{id}.png"
        write_pixels(self.out / mask, one.mask)
        return replace(record, mask=mask, mask_sha256=sha256(self.out / mask))

    def split(self) -> tuple[Sequence[Record], dict[str, str]]:
        """The records with their split, no patient in two of them, and what dataset.json says of it.

        InputError lists the masks that do not fit their images, or says why nothing is left or cannot be split.
        """
        if self.misfits:
            raise InputError(
                f"masks that do not fit their images: {first_few(sorted(self.misfits))}; expected each on its image's "
                "grid, in grey, not 0 inside the region"
            )
        try:
            if not self.records:
                raise InputError(f"no image with content is left ({self.constant} images or slices of one value)")
            recipe = self.recipe
            return split_records(self.records, recipe.split, seed=recipe.seed, drop_shared=recipe.drop_shared)
        except InputError as error:  # nothing, or too few patients, perhaps since files were skipped
            if not self.skipped:
                raise
            skipped = f"{len(self.skipped)} of {self.files} files were skipped, the first: {self.skipped[0]['reason']}"
            raise InputError(f"{error}; {skipped}") from error


def _remove_other_files(root: Path, records: Sequence[Record]) -> None:
    kept = {file for record in records for file in (record.file, record.mask)}
    for folder in (IMAGES, MASKS):
        for path in (root / folder).rglob("*.png"):
            if path.relative_to(root).as_posix() not in kept:
                path.unlink()
