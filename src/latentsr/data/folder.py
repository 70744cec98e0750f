"""`prepare folder`: any folder of images or volumes becomes a dataset split by patient."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from latentsr.atomic import replacing
from latentsr.config import read_json, sha256, sha256_json
from latentsr.data.masks import MisfitError, listed, pair_masks
from latentsr.data.patients import PatientRule, shared_patients, split_patients, without_extension
from latentsr.data.records import SPLITS, Dataset, Record, read_dataset, write_dataset
from latentsr.data.slices import Slice, read_slices
from latentsr.errors import InputError, OptionError, StaleError
from latentsr.io import Item, find
from latentsr.io.raster import write_pixels

Progress = Callable[[int, int], None]
BY_FOLDER = "folders"
IMAGES, MASKS = "images", "masks"
LEFT_OUT = "constant_left_out"  # of dataset.json


@dataclass(frozen=True)
class FolderRecipe:
    """How a folder is prepared.

    `split` is three shares of the patients (train, valid, test), or "folders": the split is the folder named train,
    valid or test above each file. `size` crops the centre to a square of that many pixels, `multiple` to the largest
    rows and columns that it divides; `slices` takes that many evenly spaced slices of each volume (0: all).
    `drop_shared`: where folders decide, leave out the images of a lower
    split (train, then valid) whose patient also stands in a higher one.
    """

    rule: PatientRule = PatientRule()
    split: tuple[float, ...] | str = (0.8, 0.1, 0.1)
    size: int | None = None
    slices: int = 0
    seed: int = 0
    drop_shared: bool = False
    grey: bool = False
    multiple: int | None = None

    def __post_init__(self) -> None:
        if self.multiple is not None and (self.multiple < 1 or self.size is not None):
            raise OptionError(f"--multiple {self.multiple}: expected 1 or more, and not beside --size")

    @property
    def facts(self) -> dict[str, Any]:
        """What decides the images, for key and dataset.json; without `multiple` where it is not asked for, so that
        datasets prepared before there was such an option are known again.
        """
        return {name: value for name, value in vars(self).items() if name != "multiple" or value is not None}


def prepare_folder(
    source: Path,
    out: Path,
    recipe: FolderRecipe,
    *,
    name: str = "",
    masks: Path | None = None,
    progress: Progress = lambda done, total: None,
) -> Dataset:
    """The dataset made at `out` from every image below `source`; nothing is left at `out` if it fails.

    A dataset that is there already is returned if source, masks and recipe are the same, and refused otherwise. Its
    dataset.json counts the constant images and slices that were left out.

    Args:
        source: a folder of images or volumes.
        out: the dataset's folder.
        recipe: how they are prepared.
        name: the dataset's; empty: the source folder's.
        masks: a folder of regions of interest that mirrors `source`, see `latentsr.data.masks`.
        progress: called with the numbers of files done and of all.
    """
    items = find([source])
    paired = None if masks is None else pair_masks(masks, source, items)
    facts: dict[str, Any] = {"recipe": recipe.facts, "source": _listing(items)}
    if paired is not None:
        facts["masks"] = _listing([paired.of(item) for item in items])
    key = sha256_json(facts)
    if out.exists():
        return _existing(out, key)
    with replacing(out) as partial:
        made = _Made(partial, recipe)
        for done, item in enumerate(items):
            progress(done, len(items))
            made.add(item, None if paired is None else paired.of(item))
        progress(len(items), len(items))
        made.check()
        kept = _without_dropped(partial, _split(made.records, recipe))
        told = {"key": key, "recipe": recipe.facts, LEFT_OUT: made.constant}
        write_dataset(partial, name or source.resolve().name, kept, told)
    return read_dataset(out)


def left_out(dataset: Dataset) -> int:
    """How many constant images and slices were left out when the dataset was prepared, as its dataset.json says."""
    return int(read_json(dataset.root / "dataset.json").get(LEFT_OUT, 0))


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


@dataclass
class _Made:
    """What has been written below `out` so far: the records, their split not yet decided, and what was left out."""

    out: Path
    recipe: FolderRecipe
    records: list[Record] = field(default_factory=list)
    constant: int = 0
    misfits: list[str] = field(default_factory=list)
    _taken: set[str] = field(default_factory=set)

    def add(self, item: Item, mask: Item | None) -> None:
        """Writes an item's slices with their masks."""
        recipe = self.recipe
        try:
            found, constant = read_slices(
                item, mask, size=recipe.size, slices=recipe.slices, grey=recipe.grey, multiple=recipe.multiple
            )
        except MisfitError as error:  # told with all others, at the end
            self.misfits.append(str(error))
            return
        self.constant += constant
        self.records += [self._written(item.relative, one) for one in found]

    def _written(self, relative: Path, one: Slice) -> Record:
        record = _record(relative, one, self.recipe)
        if record.id in self._taken:
            raise InputError(f"{relative}: a second file of the name {record.id}; rename one of them")
        self._taken.add(record.id)
        write_pixels(self.out / record.file, one.pixels)
        record = replace(record, sha256=sha256(self.out / record.file))
        if one.mask is None:
            return record
        mask = f"{MASKS}/{record.id}.png"
        write_pixels(self.out / mask, one.mask)
        return replace(record, mask=mask, mask_sha256=sha256(self.out / mask))

    def check(self) -> None:
        """InputError that lists the masks which do not fit their images."""
        if self.misfits:
            raise InputError(
                f"masks that do not fit their images: {listed(self.misfits)}; expected each on its image's grid, in "
                "grey, not 0 inside the region"
            )


def _record(relative: Path, one: Slice, recipe: FolderRecipe) -> Record:
    split = _folder_split(relative) if recipe.split == BY_FOLDER else ""
    inner = Path(*(part for part in relative.parts if not (split and part == split)))
    id = without_extension(inner).replace("/", "__") + one.suffix
    patient = recipe.rule.patient(inner, one.patient)
    rows, columns = one.pixels.shape
    return Record(id, patient, split, f"{IMAGES}/{id}.png", rows, columns, sha256="", spacing=one.spacing)


def _folder_split(relative: Path) -> str:
    named = [part for part in relative.parts[:-1] if part in SPLITS]
    if not named:
        raise InputError(f"{relative}: --split folders needs a folder train, valid or test above each file")
    return named[-1]


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
    kept = {file for record in records for file in (record.file, record.mask)}
    for folder in (IMAGES, MASKS):
        for path in (root / folder).rglob("*.png"):
            if path.relative_to(root).as_posix() not in kept:
                path.unlink()
    return records
