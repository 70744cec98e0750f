"""`latentsr prepare`: the images that a recipe finds become a dataset split by patient; its LR images as files."""

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from latentsr.atomic import replacing
from latentsr.config import read_json, sha256, sha256_json
from latentsr.data.duplicates import REFUSE, Look, check_action, copies, leave_out_copies, look
from latentsr.data.masks import Masks, MisfitError
from latentsr.data.patients import BY_FOLDER, SHARES, image_id, shared_patients, split_records
from latentsr.data.recipes import RECIPES
from latentsr.data.recipes.recipe import Case, Recipe, Sample
from latentsr.data.records import SPLITS, Dataset, Record, is_safe_path, low_resolution, read_dataset, write_dataset
from latentsr.data.slices import CROP, NONE, PAD, TOP, Slice, read_slices
from latentsr.degrade import Degradation
from latentsr.errors import InputError, OptionError, StaleError, printable
from latentsr.io import Item
from latentsr.io.raster import write_pixels
from latentsr.job import JobFolder
from latentsr.names import first_few
from latentsr.volume import MAX_PIXELS

Progress = Callable[[int, int], None]
IMAGES, MASKS, LR = "images", "masks", "lr"
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
        check_action(self.duplicates)
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
    progress: Progress = lambda done, total: None,
    **options: Any,
) -> Dataset:
    """The dataset made at `out` of the images that a recipe finds; nothing is left at `out` if it fails.

    An existing dataset is returned if source, options and `apart_from` are the same, and refused otherwise. Its
    dataset.json lists the files that were skipped, since they are no images, cannot be read or are too small, the
    images that occur twice, and counts what was left out: see `preparation`.

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
    name = name or source.resolve().name
    if not is_safe_path(name):
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
    key = sha256_json(facts)
    JobFolder(out, "dataset", "dataset.json", frozenset(), "files or options", shared=True, fix="remove it").claim(key)
    if out.exists():
        return read_dataset(out)
    with replacing(out) as partial:
        made = _Made(partial, found, chosen, strict)
        for done, item in enumerate(found.items):
            progress(done, len(found.items))
            made.add(item)
        progress(len(found.items), len(found.items))
        records, split_facts = made.split()
        records, twice = leave_out_copies(records, made.looks, apart_from, chosen.duplicates)
        kept = {partial / file for record in records for file in (record.file, record.mask)}
        for path in set(partial.rglob("*.png")) - kept:
            path.unlink()
        more = {"key": key, "recipe": facts["recipe"], **split_facts, **made.left_out, "duplicates": twice}
        write_dataset(partial, name, records, more)
    return read_dataset(out)


def prepare_cases(
    name: str, recipe: Recipe, source: Path, out: Path, *, progress: Progress = lambda done, total: None
) -> Dataset:
    """The dataset that a recipe of RECIPES makes at `out` of a public dataset; nothing is left at `out` if it fails.

    An existing dataset is returned if the files (by name and size) and options are the same, and refused otherwise. Its
    dataset.json has the recipe, its notes, the cases that tables of the source lack, images that stand in two splits
    and, where the published choices are such, the patients in several.

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
        raise InputError(
            f"{source}: {shared} patient(s) stand in several splits, by its folders or tables; remove their files from "
            "all but one"
        )
    files = [(str(path.relative_to(source)), path.stat().st_size) for case in cases for path in case.files]
    key = sha256_json({"recipe": name, "options": asdict(recipe), "files": files})
    JobFolder(out, "dataset", "dataset.json", frozenset(), "files or options", shared=True, fix="remove it").claim(key)
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
                records.append(_stored(partial, sample, case))
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
        resize: how large images became squares, "pad", "crop" or "none".
        split_by: "folders", "shares", or empty of older datasets.
        folders_unused: why folders named train, valid or test did not decide the split; empty if they did or do not
            exist.
        duplicates: what `leave_out_copies` says, None of datasets made by older versions, which did not look.
    """

    files: int | None
    skipped: tuple[tuple[str, str], ...]
    constant: int
    warnings: Mapping[str, int]
    resize: str
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
        resize={True: CROP, None: NONE}.get(resize := facts["recipe"].get("resize"), resize),
        split_by=facts.get("split_by", ""),
        folders_unused=facts.get("folders_unused", ""),
        duplicates=facts.get("duplicates"),
    )


def _listing(items: Sequence[Item]) -> list[tuple[str, list[str]]]:
    """Each item's name and the hashes of its files: what a dataset was made from."""

    def digest(path: Path) -> str:
        try:
            return sha256(path)
        except OSError:  # such a file is skipped when its turn comes
            return ""

    return [(item.relative.as_posix(), [digest(path) for path in item.paths]) for item in items]


@dataclass
class _Made:
    """What has been written below `out` so far: the records, their split not yet decided, and what was left out."""

    out: Path
    source: Source
    options: Options
    strict: bool
    records: list[Record] = field(default_factory=list)
    looks: dict[str, Look] = field(default_factory=dict)
    files: int = 0
    skipped: list[dict[str, str]] = field(default_factory=list)
    constant: int = 0
    warnings: Counter[str] = field(default_factory=Counter)
    misfits: list[str] = field(default_factory=list)
    taken: set[str] = field(default_factory=set)

    def add(self, item: Item) -> None:
        """Writes an item's slices with their masks; one that cannot be used is skipped."""
        self.files += 1
        mask = None if self.source.masks is None else self.source.masks.of(item)
        try:
            if not is_safe_path(image_id(item.relative) + "-s000"):
                raise InputError(
                    f"{item.relative}: its path is too long for a name, or holds backslashes, control "
                    "characters or bytes that are no UTF-8; rename it"
                )
            options = {name: getattr(self.options, name) for name in READING}
            slices = read_slices(item, mask, **options)
        except MisfitError as error:  # reported with all others, at the end
            self.misfits.append(str(error))
        except InputError as error:
            if self.strict:
                raise
            root = self.source.root
            reason = str(error).removeprefix(f"{root}: ").replace(f"{root}{os.sep}", "")
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
        """The record of a slice whose image and mask are written."""
        id, patient, split, attributes = self.source.labels(relative, one)
        if self.options.split == BY_FOLDER and not split:
            raise InputError(f"{relative}: the split 'folders' needs a folder train, valid or test above each file")
        if self.options.split not in (None, BY_FOLDER):
            split = ""
        if id.casefold() in self.taken:
            raise InputError(f"{relative}: a second file of the name {id}, whatever its case; rename one of them")
        self.taken.add(id.casefold())
        self.looks[id] = look(printable(relative) + (f" ({one.suffix[1:]})" if one.suffix else ""), one.pixels)
        rows, columns = one.pixels.shape
        file, mask, mask_digest = f"{IMAGES}/{id}.png", "", ""
        write_pixels(self.out / file, one.pixels)
        if one.mask is not None:
            mask = f"{MASKS}/{id}.png"
            write_pixels(self.out / mask, one.mask)
            mask_digest = sha256(self.out / mask)
        return Record(
            id, patient, split, file, rows, columns, sha256(self.out / file), one.spacing, mask, mask_digest,
            one.resized_from, attributes,
        )  # fmt: skip

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
            options = self.options
            return split_records(self.records, options.split, seed=options.seed, drop_shared=options.drop_shared)
        except InputError as error:  # nothing, or too few patients, perhaps since files were skipped
            if not self.skipped:
                raise
            skipped = f"{len(self.skipped)} of {self.files} files were skipped, the first: {self.skipped[0]['reason']}"
            raise InputError(f"{error}; {skipped}") from error


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
