"""A prepared dataset: a folder with `dataset.json`, `records.csv` and one grey PNG an image, perhaps with its mask."""

import csv
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from latentsr.atomic import replacing
from latentsr.config import read_json, sha256, sha256_json, write_json
from latentsr.degrade import Degradation
from latentsr.errors import InputError, OptionError
from latentsr.io.raster import read_pixels
from latentsr.names import first_few
from latentsr.stats.table import short_hash

SPLITS = ("train", "valid", "test")

COLUMNS = ("id", "patient", "split", "file", "rows", "columns", "sha256")
# Columns that are written where any record has them.
MORE_COLUMNS = (
    "row_mm", "column_mm", "mask", "mask_sha256", "from_rows", "from_columns", "lr", "lr_sha256", "slice_mm",
)  # fmt: skip
SLICE = re.compile(r"(?P<volume>.+)-s\d+")  # the id of a slice of a volume

LONGEST_PART, LONGEST_PATH = 240, 1024  # bytes that file systems take for a name, with room for an extension
LARGEST_DIGITS = 7  # of a number of rows or columns
UNPRINTABLE = ("Cc", "Cs", "Zl", "Zp")  # Unicode categories: control, half a surrogate pair, separators of lines


@dataclass(frozen=True)
class Record:
    """One HR image: `id` is unique in its dataset, `file` is relative to the dataset, `sha256` that of the file.

    `spacing` is (row, column) in mm, None where the source did not say. `mask` is the file of its region of interest
    (grey, of the image's size, not 0 inside), relative to the dataset, empty without one. `resized_from` is
    the source's (rows, columns) where the image was resized or padded, None where it is a part of the source's pixels.
    `lr` is the file of its LR image where that is one of its own and not a degraded HR, empty without one.
    `slice_mm` is where a slice of a volume lies along the normal, in mm from its first, None where that is not known.
    `attributes` are the columns of the user's own, such as scanner or view, by name; an empty text is no value.
    """

    id: str
    patient: str
    split: str
    file: str
    rows: int
    columns: int
    sha256: str
    spacing: tuple[float, float] | None = None
    mask: str = ""
    mask_sha256: str = ""
    resized_from: tuple[int, int] | None = None
    attributes: Mapping[str, str] = field(default_factory=dict, hash=False)
    lr: str = ""
    lr_sha256: str = ""
    slice_mm: float | None = None

    @property
    def volume(self) -> str:
        """What the ids of the slices of its volume begin with; empty where it is no slice with a known place."""
        found = None if self.slice_mm is None else SLICE.fullmatch(self.id)
        return found["volume"] if found else ""

    def __repr__(self) -> str:
        return f"Record({self.rows} x {self.columns}, {self.split})"  # ids and files may name a patient


@dataclass(frozen=True)
class Dataset:
    """The records of a prepared folder, in the order of their ids."""

    root: Path
    name: str
    records: tuple[Record, ...]

    def __repr__(self) -> str:
        return f"Dataset({self.name}, {len(self.records)} images)"

    @cached_property
    def hash(self) -> str:
        """SHA-256 of `records.csv`, which holds the hash of every image."""
        return sha256(self.root / "records.csv")

    @property
    def attributes(self) -> tuple[str, ...]:
        """The names of the columns of the user's own, in the order of `records.csv`."""
        return tuple(dict.fromkeys(name for record in self.records for name in record.attributes))

    @property
    def folder_name(self) -> str:
        """What a job's folder of this dataset is called: the same wherever the dataset stands among others.

        A digest of name and records, as a name may be one that is no folder's.
        """
        return sha256_json([self.name, self.hash])[:16]

    def select(self, split: str) -> tuple[Record, ...]:
        """The records of one split, or an InputError that names the existing splits."""
        chosen = tuple(record for record in self.records if record.split == split)
        if not chosen:
            found = ", ".join(f"{name} ({n})" for name, n in Counter(r.split for r in self.records).items())
            raise InputError(f"{self.root}: no images in split '{split}'; there are {found or 'none'}")
        return chosen

    def pixels(self, record: Record) -> np.ndarray:
        """The image, uint8 or uint16 (rows, columns); InputError, which names it by its hash, if it cannot be read."""
        try:
            pixels = read_pixels(self.root / record.file)
        except (InputError, OSError):  # whose words are the file's path, and that may hold a patient's name
            pixels = None
        if pixels is None or pixels.shape != (record.rows, record.columns):
            raise InputError(
                f"dataset '{self.name}': image {short_hash(self.name, record.id)} is missing, cut off or of another "
                "size than its record says; prepare the dataset again"
            )
        return pixels

    def image(self, record: Record) -> np.ndarray:
        """The image, float32 (rows, columns) in [0, 1]; see `pixels`."""
        pixels = self.pixels(record)
        return pixels.astype(np.float32) / np.float32(np.iinfo(pixels.dtype).max)

    def lr_image(self, record: Record) -> np.ndarray:
        """The record's own LR image, float32 (rows, columns) in [0, 1]; InputError, by hash, if it cannot be read."""
        try:
            pixels = read_pixels(self.root / record.lr)
        except (InputError, OSError):
            raise InputError(
                f"dataset '{self.name}': the LR file of image {short_hash(self.name, record.id)} is missing or cut "
                "off; prepare the dataset again"
            ) from None
        return pixels.astype(np.float32) / np.float32(np.iinfo(pixels.dtype).max)

    def check(self, records: Iterable[Record]) -> None:
        """InputError unless each record's image, mask and LR file is what was prepared, by SHA-256; it names hashes."""
        given = tuple(records)
        self._check_files("image", {record.id: (record.file, record.sha256) for record in given})
        self._check_files("mask", {record.id: (record.mask, record.mask_sha256) for record in given if record.mask})
        self._check_files("LR", {record.id: (record.lr, record.lr_sha256) for record in given if record.lr})

    def _check_files(self, what: str, files: Mapping[str, tuple[str, str]]) -> None:
        changed = []
        for id, (file, digest) in files.items():
            path = self.root / file
            if not path.is_file() or sha256(path) != digest:
                changed.append(short_hash(self.name, id))
        if changed:
            raise InputError(
                f"dataset '{self.name}': {len(changed)} of {len(files)} {what} files are missing or changed since they "
                f"were prepared ({first_few(changed)}); prepare the dataset again"
            )


DatasetImage = tuple[Dataset, Record]


def is_safe_path(text: str) -> bool:
    """Whether a text is a relative POSIX path that stays below any folder it is joined to, and can be printed.

    No part of it is empty, `.`, `..` or longer than file systems take; it has no drive letter, no backslash and no
    control character.
    """
    parts = text.split("/")
    return (
        not any(part in ("", ".", "..") or len(part.encode(errors="replace")) > LONGEST_PART for part in parts)
        and len(text) <= LONGEST_PATH
        and "\\" not in text
        and not re.match("[A-Za-z]:", text)
        and is_printable(text)
    )


def is_printable(text: str) -> bool:
    """Whether a text holds no control character, no separator of lines and no half of a character."""
    return not any(unicodedata.category(character) in UNPRINTABLE for character in text)


def is_attribute(name: str) -> bool:
    """Whether a text can be the name of a column of the user's own: printable, and no name of a record's own column."""
    return bool(name.strip()) and is_printable(name) and name not in (*COLUMNS, *MORE_COLUMNS)


def read_dataset(root: str | Path) -> Dataset:
    """The dataset that `latentsr prepare` wrote to `root`.

    Whoever wrote its records decides no path outside: ids, files and the name are checked to stay below a folder they
    are joined to. Links that lead elsewhere are followed, as images may lie on another disk: a table of records makes
    no link, nothing is written through a dataset's files, and what is read must have the SHA-256 of its record.

    Raises:
        InputError: no dataset, or one whose files are broken or hold an unsafe path; it names the line, never a value,
            which may be an id in the wrong column.
    """
    root = Path(root)
    if not (root / "dataset.json").is_file():
        raise InputError(f"{root}: no dataset.json; expected a folder made by 'latentsr prepare'")
    facts = read_json(root / "dataset.json")
    if not isinstance(facts, dict) or "name" not in facts:
        raise InputError(f"{root / 'dataset.json'}: has no name of the dataset; run 'latentsr prepare' again")
    if not is_safe_path(name := str(facts["name"])):
        raise InputError(f"{root / 'dataset.json'}: has an unsafe name; expected one that can be a folder's")
    path = root / "records.csv"
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            names = tuple(reader.fieldnames or ())
            more = names[len(COLUMNS) :]
            own = [name for name in more if name not in MORE_COLUMNS]
            if names[: len(COLUMNS)] != COLUMNS or len(set(more)) < len(more) or not all(map(is_attribute, own)):
                raise ValueError(f"expected the columns {', '.join(COLUMNS)}, and any more each with a name of its own")
            records, lines = [], dict[str, int]()
            for row in reader:
                record, line = _record(row, reader.line_num), reader.line_num
                # Upper and lower case are one, as they are in the names of files on many disks.
                if (earlier := lines.setdefault(record.id.casefold(), line)) != line:
                    raise ValueError(f"lines {earlier} and {line} have the same id, whatever its case")
                records.append(record)
    except OSError as error:
        raise _unreadable(path, error.strerror or type(error).__name__) from error
    except UnicodeDecodeError:
        raise _unreadable(path, "is no UTF-8 text") from None
    except (ValueError, csv.Error) as error:
        raise _unreadable(path, str(error)) from error
    return Dataset(root=root, name=name, records=tuple(records))


def _unreadable(path: Path, reason: str) -> InputError:
    return InputError(f"{path}: cannot be read as records ({reason}); run 'latentsr prepare' again")


def _record(row: dict[str, str], line: int) -> Record:
    if None in row or None in row.values():  # as csv marks what is too many and too few
        raise ValueError(f"line {line}: expected as many values as there are columns")
    id, patient, split, file, rows, columns, digest = (row[name] for name in COLUMNS)
    row_mm, column_mm, mask, mask_digest, from_rows, from_columns, lr, lr_digest, slice_mm = (
        row.get(name, "") for name in MORE_COLUMNS
    )
    for what, path in (("an id", id), ("a file", file), ("a mask", mask or file), ("an LR file", lr or file)):
        if not is_safe_path(path):
            raise ValueError(
                f"line {line}: expected {what} that is a relative path, without '..', backslashes, a drive letter or "
                f"control characters, of at most {LONGEST_PART} bytes a part"
            )
    attributes = {name: value for name, value in row.items() if name not in (*COLUMNS, *MORE_COLUMNS)}
    if not is_printable(patient + digest + mask_digest + lr_digest + "".join(attributes.values())):
        raise ValueError(f"line {line}: expected text without control characters")
    if split not in SPLITS:
        raise ValueError(f"line {line}: expected a split of {', '.join(SPLITS)}")
    spacing: tuple[float, float] | None = None
    if row_mm or column_mm:
        try:
            spacing = float(row_mm), float(column_mm)
        except ValueError:
            spacing = (math.nan, math.nan)
        if not all(0 < value < math.inf for value in spacing):
            raise ValueError(f"line {line}: expected row_mm and column_mm as two positive numbers, or neither")
    try:
        place = float(slice_mm) if slice_mm else None
    except ValueError:
        place = math.nan
    if place is not None and not math.isfinite(place):
        raise ValueError(f"line {line}: expected slice_mm as a number, or empty")
    resized_from = _size(from_rows, from_columns, line) if from_rows or from_columns else None
    size = _size(rows, columns, line)
    return Record(
        id,
        patient,
        split,
        file,
        *size,
        digest,
        spacing,
        mask,
        mask_digest,
        resized_from,
        attributes,
        lr,
        lr_digest,
        place,
    )


def _size(rows: str, columns: str, line: int) -> tuple[int, int]:
    for side in (rows, columns):
        if not (side.isascii() and side.isdigit() and len(side) <= LARGEST_DIGITS and int(side)):
            raise ValueError(f"line {line}: expected rows and columns as two whole numbers above 0")
    return int(rows), int(columns)


def write_dataset(root: Path, name: str, records: Iterable[Record], facts: dict[str, Any]) -> Dataset:
    """Writes `records.csv`, then `dataset.json`, whose presence says that the dataset is whole.

    Empty columns, such as the spacings of pictures, are not written: the hash stays that of older versions. Those of
    the user's own follow the others.
    """
    ordered = tuple(sorted(records, key=lambda record: record.id))
    made, rows = Dataset(root=root, name=name, records=ordered), list[dict[str, str]]()
    for record in ordered:
        row = {key: str(value) for key, value in asdict(record).items()} | dict(record.attributes)
        row["row_mm"], row["column_mm"] = (str(float(mm)) for mm in record.spacing) if record.spacing else ("", "")
        row["slice_mm"] = "" if record.slice_mm is None else f"{record.slice_mm:.6g}"
        row["from_rows"], row["from_columns"] = map(str, record.resized_from or ("", ""))
        rows.append(row)
    columns = [*COLUMNS, *(name for name in MORE_COLUMNS if any(row[name] for row in rows)), *made.attributes]
    with replacing(root / "records.csv") as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    write_json(root / "dataset.json", {"name": name, "images": len(ordered), **facts})
    return made


def check_names(datasets: Sequence[Dataset]) -> None:
    """Raises InputError where two datasets have one name: tables and cards tell them apart by it."""
    names = [dataset.name for dataset in datasets]
    if len(set(names)) != len(names):
        raise InputError(
            f"datasets named {', '.join(names)}: expected different names; prepare one again with the option name"
        )


def common_size(records: Sequence[Record]) -> tuple[int, int]:
    """The (rows, columns) that all records share, or an InputError that says how to make them so."""
    sizes = Counter((record.rows, record.columns) for record in records)
    if len(sizes) != 1:
        named = ", ".join(f"{rows}x{columns} ({n})" for (rows, columns), n in sizes.most_common(4))
        raise InputError(
            f"images of {len(sizes)} sizes: {named}; expected one size: prepare again with the option size"
        )
    return next(iter(sizes))


def sizes(records: Iterable[Record]) -> list[str]:
    """The sizes of the images, such as "256x320", each once and in order."""
    return sorted({f"{record.rows}x{record.columns}" for record in records})


def spread(records: Sequence[Record], limit: int | None) -> tuple[Record, ...]:
    """The records; with a limit so many of them, evenly spread over the ids and so over the patients."""
    if limit is not None and limit < 1:
        raise OptionError(f"the option limit is {limit}: expected 1 image or more")
    if limit is None or limit >= len(records):
        return tuple(records)
    return tuple(records[index * len(records) // limit] for index in range(limit))


def batches(records: Sequence[Record], size: int, done: Collection[str] = ()) -> Iterator[tuple[Record, ...]]:
    """Records of one image size, at most `size` at a time; those whose id is in `done` are left out."""
    left = sorted((record for record in records if record.id not in done), key=_shape)
    for _, group in groupby(left, key=_shape):
        alike = tuple(group)
        for start in range(0, len(alike), size):
            yield alike[start : start + size]


def commonest(records: Sequence[Record]) -> tuple[Record, ...]:
    """The records of the image size that most have, the larger one if two are as common."""
    sizes = [_shape(record) for record in records]
    size = max(set(sizes), key=lambda one: (sizes.count(one), one))
    return tuple(record for record in records if _shape(record) == size)


def low_resolution(dataset: Dataset, records: Sequence[Record], degradation: Degradation, hr: Tensor) -> Tensor:
    """The LR images (batch, 1, rows, columns) of records, in HR's type: their own files, or HR degraded in float64.

    Noise follows from the id.

    InputError, which names it by its hash, for a file that is not of HR's size over the scale.
    """
    degraded = degradation.degrade(hr.double(), [record.id for record in records]).to(hr.dtype)
    if not any(record.lr for record in records):
        return degraded
    images = []
    for record, made in zip(records, degraded[:, 0], strict=True):
        lr = torch.from_numpy(dataset.lr_image(record)).to(hr) if record.lr else made
        if lr.shape != made.shape:
            made_by = read_json(dataset.root / "dataset.json").get("degradation") or "that the files were made by"
            sizes = [f"{image.shape[0]}x{image.shape[1]}" for image in (lr, made)]
            raise InputError(
                f"dataset '{dataset.name}': the LR file of image {short_hash(dataset.name, record.id)} has {sizes[0]} "
                f"px, {degradation.text} makes {sizes[1]}; set the degradation {made_by}"
            )
        images.append(lr)
    return stacked(images, hr.device)


def loaded(dataset: Dataset, records: Sequence[Record], device: str | torch.device) -> Tensor:
    """The images (batch, 1, rows, columns) in [0, 1] of records of one size, on a device."""
    return stacked([torch.from_numpy(dataset.image(record)) for record in records], device)


def padded(images: Tensor, factor: int) -> Tensor:
    """`images` with the last row and column repeated until both sides are multiples of `factor`."""
    down, right = (-side % factor for side in images.shape[-2:])
    return F.pad(images, (0, right, 0, down), mode="replicate") if down or right else images


def stacked(images: Sequence[torch.Tensor], device: str | torch.device) -> Tensor:
    """Images (rows, columns) of one size as a batch (batch, 1, rows, columns) on a device."""
    return torch.stack(list(images))[:, None].to(device)


def _shape(record: Record) -> tuple[int, int]:
    return record.rows, record.columns
