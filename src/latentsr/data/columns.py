"""Columns of the user's own, such as scanner, sex or view, from a CSV table: a row a file or image, by its name."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from latentsr.data.masks import listed
from latentsr.data.patients import named_split, read_csv, without_extension
from latentsr.data.records import is_attribute, is_printable
from latentsr.errors import InputError

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
    keys = {relative: (_id(relative), _id(_below_split(relative)), *_keys(relative)) for relative in files}
    there = {key for found in keys.values() for key in found}
    taken = Counter(next((key for key in found if key in columns), "") for found in keys.values())
    faults = {
        "of no file": [key for key in columns if not {key, re.sub(SLICE, "", key)} & there],
        "of several files": [key for key, count in taken.items() if key and count > 1],
    }
    if any(faults.values()):
        told = "; ".join(f"{fault}: {listed(rows)}" for fault, rows in faults.items() if rows)
        raise InputError(
            f"the option columns has rows {told}; expected the id of an image or the path, name or stem of one file"
        )


def columns_of(columns: Columns | None, relative: Path, id: str) -> Mapping[str, str]:
    """The values of the image `id` of the file at `relative`; InputError, which names the file, where no row has it.

    Nothing where there is no table.
    """
    if columns is None:
        return {}
    for key in (id, *_keys(relative)):
        if key in columns:
            return columns[key]
    raise InputError(f"{relative}: not in the table of the option columns; expected a row, with empty cells if need be")


def _keys(relative: Path) -> tuple[str, str, str]:
    return relative.as_posix(), relative.name, without_extension(Path(relative.name))


def _id(relative: Path) -> str:
    """The id of the image of a file, or of the slices of a volume but for their ends."""
    return without_extension(relative).replace("/", "__")


def _below_split(relative: Path) -> Path:
    """The path without the folder that names its split, as ids have it where folders decide."""
    return Path(*(part for part in relative.parts if part != named_split(relative)))
