"""A prepared dataset: a folder with `dataset.json`, `records.csv` and one grey PNG an image."""

import csv
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from latentsr.atomic import replacing
from latentsr.config import read_json, sha256, write_json
from latentsr.errors import InputError
from latentsr.io.raster import read_pixels
from latentsr.stats.names import short_hash

SPLITS = ("train", "valid", "test")
LISTED = 10  # images that a message names, the rest is counted


@dataclass(frozen=True)
class Record:
    """One HR image: `id` is unique in its dataset, `file` is relative to the dataset, `sha256` that of the file."""

    id: str
    patient: str
    split: str
    file: str
    rows: int
    columns: int
    sha256: str


@dataclass(frozen=True)
class Dataset:
    """The records of a prepared folder, in the order of their ids."""

    root: Path
    name: str
    records: tuple[Record, ...]

    @cached_property
    def hash(self) -> str:
        """SHA-256 of `records.csv`, which holds the hash of every image."""
        return sha256(self.root / "records.csv")

    def select(self, split: str) -> tuple[Record, ...]:
        """The records of one split, or an InputError that names the splits there are."""
        chosen = tuple(record for record in self.records if record.split == split)
        if not chosen:
            there = ", ".join(f"{name} ({n})" for name, n in Counter(r.split for r in self.records).items())
            raise InputError(f"{self.root}: no images in split '{split}'; there are {there or 'none'}")
        return chosen

    def image(self, record: Record) -> np.ndarray:
        """The image, float32 (rows, columns) in [0, 1]."""
        pixels = read_pixels(self.root / record.file)
        if pixels.shape != (record.rows, record.columns):
            came, expected = ("x".join(map(str, size)) for size in (pixels.shape, (record.rows, record.columns)))
            raise InputError(f"{self.root / record.file}: {came} px, its record says {expected}; prepare it again")
        return pixels.astype(np.float32) / np.float32(np.iinfo(pixels.dtype).max)

    def check(self, records: Iterable[Record]) -> None:
        """InputError unless the file of each record is the one that was prepared, by its SHA-256; it names hashes."""
        given = tuple(records)
        if changed := [short_hash(self.name, record.id) for record in given if not self._is_as_prepared(record)]:
            more = f" and {len(changed) - LISTED} more" if len(changed) > LISTED else ""
            raise InputError(
                f"dataset '{self.name}': {len(changed)} of {len(given)} image files are missing or changed since they "
                f"were prepared ({', '.join(changed[:LISTED])}{more}); prepare the dataset again"
            )

    def _is_as_prepared(self, record: Record) -> bool:
        path = self.root / record.file
        return path.is_file() and sha256(path) == record.sha256


def read_dataset(root: str | Path) -> Dataset:
    """The dataset that `latentsr prepare` wrote to `root`."""
    root = Path(root)
    if not (root / "dataset.json").is_file():
        raise InputError(f"{root}: no dataset.json; expected a folder made by 'latentsr prepare'")
    facts = read_json(root / "dataset.json")
    if not isinstance(facts, dict) or "name" not in facts:
        raise InputError(f"{root / 'dataset.json'}: has no name of the dataset; run 'latentsr prepare' again")
    return Dataset(root=root, name=str(facts["name"]), records=_read_records(root / "records.csv"))


def _read_records(path: Path) -> tuple[Record, ...]:
    columns = [field.name for field in fields(Record)]
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            if reader.fieldnames != columns:
                raise ValueError(f"expected the columns {', '.join(columns)}")
            return tuple(_record(row) for row in reader)
    except (OSError, ValueError, TypeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as records ({error}); run 'latentsr prepare' again") from error


def _record(row: dict[str, str]) -> Record:
    return Record(**{**row, "rows": int(row["rows"]), "columns": int(row["columns"])})  # type: ignore[arg-type]


def write_dataset(root: Path, name: str, records: Iterable[Record], facts: dict[str, Any]) -> Dataset:
    """Writes `records.csv`, then `dataset.json`, whose presence says that the dataset is whole."""
    ordered = tuple(sorted(records, key=lambda record: record.id))
    with replacing(root / "records.csv") as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Record)])
        writer.writeheader()
        writer.writerows(asdict(record) for record in ordered)
    write_json(root / "dataset.json", {"name": name, "images": len(ordered), **facts})
    return Dataset(root=root, name=name, records=ordered)


def check_names(datasets: Sequence[Dataset]) -> None:
    """Raises InputError where two datasets have one name: tables and cards tell them apart by it."""
    names = [dataset.name for dataset in datasets]
    if len(set(names)) != len(names):
        raise InputError(f"datasets named {', '.join(names)}: expected different names; prepare one again with --name")


def common_size(records: Sequence[Record]) -> tuple[int, int]:
    """The (rows, columns) that all records share, or an InputError that says how to get there."""
    sizes = Counter((record.rows, record.columns) for record in records)
    if len(sizes) != 1:
        named = ", ".join(f"{rows}x{columns} ({n})" for (rows, columns), n in sizes.most_common(4))
        raise InputError(f"images of {len(sizes)} sizes: {named}; expected one size: run 'prepare' with --size")
    return next(iter(sizes))
