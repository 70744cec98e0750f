"""What paths and tables say of images: the patient, the split that a patient goes to, and columns of the user's own."""

import csv
import gzip
import hashlib
import math
import re
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from latentsr.data.records import SPLITS, Record, is_attribute, is_printable
from latentsr.errors import InputError, OptionError, reason
from latentsr.names import first_few

EXTENSION = r"(\.nii)?\.[A-Za-z][A-Za-z0-9]{0,10}$"  # begins with a letter: the tail of a DICOM UID is none
BIDS_SUBJECT = r"(?:^|[/_])(?P<subject>sub-[A-Za-z0-9]+)"
BY_FOLDER, SHARES = "folders", (0.8, 0.1, 0.1)  # ways to split
SLICE = r"-s\d+$"  # what ends the id of a volume's slice
NUMBERED = r"^(?P<series>.*?)[-_ ]?(?P<number>\d+)$"

Columns = Mapping[str, Mapping[str, str]]  # by the first column's text, the values of the others by their names


@dataclass(frozen=True)
class PatientRule:
    """How the patient is found: first of `table` (file name to patient), `pattern`, `block`, the file's own header,
    a BIDS subject (`sub-01`) in the path; without any of these each file is a patient of its own.

    `pattern` is a regular expression with a group `patient`, searched in the path below the source folder; what its
    further named groups match becomes columns of the dataset, such as (?P<view>[a-z]+)-(?P<patient>[0-9]+). `block`
    takes that many neighbouring numbers of a series as one patient, for sets without patient ids.
    """

    table: Mapping[str, str] | None = None
    pattern: str | None = None
    block: int | None = None

    def __post_init__(self) -> None:
        if self.pattern and "patient" not in _compiled(self.pattern).groupindex:
            raise OptionError(f"patient pattern '{self.pattern}': expected a group named patient, (?P<patient>...)")
        if wrong := [name for name in self.attribute_names if not is_attribute(name)]:
            raise OptionError(
                f"patient pattern '{self.pattern}': group {', '.join(wrong)} has the name of a column that every "
                "dataset has; choose another"
            )
        if self.block is not None and self.block < 1:
            raise OptionError(f"the option block is {self.block}: expected a whole number of 1 or more")

    @property
    def attribute_names(self) -> tuple[str, ...]:
        """The further named groups of the pattern, whose texts become columns of the dataset."""
        return tuple(name for name in _compiled(self.pattern or "").groupindex if name != "patient")

    def attributes(self, relative: Path) -> dict[str, str]:
        """What these groups match in the path of a file, by name; an empty text for one that takes no part."""
        if not self.attribute_names:
            return {}
        return {name: self._match(relative)[name] or "" for name in self.attribute_names}

    def patient(self, relative: Path, header: str | None) -> str:
        """The patient of the file at `relative`; `header` is what the file itself says, if it says anything."""
        if self.table is not None:
            for key in table_keys(relative):
                if key in self.table:
                    return self.table[key]
            raise InputError(f"{relative}: not in the patient table; expected a row with its path, name or stem")
        if self.pattern:
            return str(self._match(relative)["patient"])
        if self.block:
            match = re.match(NUMBERED, without_extension(relative).rpartition("/")[2])
            if not match:
                raise InputError(
                    f"{relative}: the option block needs names that end in a number, such as series-0012.png"
                )
            return f"{match['series']}-block{int(match['number']) // (self.block or 1)}"
        subject = re.search(BIDS_SUBJECT, relative.as_posix())
        return header or (subject["subject"] if subject else without_extension(relative))

    def _match(self, relative: Path) -> re.Match[str]:
        match = _compiled(self.pattern or "").search(without_extension(relative))
        if not match:
            raise InputError(f"{relative}: the patient pattern '{self.pattern}' does not match its path")
        return match


def without_extension(relative: Path) -> str:
    """The path as text without its extension: `.nii.gz` is one, the last number of a UID is none."""
    return re.sub(EXTENSION, "", relative.as_posix())


def table_keys(relative: Path) -> tuple[str, str, str]:
    """The names by which a row of a table can mean a file: its path, name and stem."""
    return relative.as_posix(), relative.name, without_extension(Path(relative.name))


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise OptionError(f"patient pattern '{pattern}': {error}; expected a Python regular expression") from error


def read_patient_table(path: Path, file_column: str, patient_column: str) -> dict[str, str]:
    """File name to patient, from two columns of a CSV file."""
    _, rows = read_csv(path, "files and patients", needed=(file_column, patient_column))
    patients: dict[str, str] = {}
    for row in rows:
        file, patient = row[file_column], row[patient_column]
        if not patient or not is_printable(patient):
            raise InputError(f"{path}: no patient for {file}; expected one in every row, without control characters")
        if patients.setdefault(file, patient) != patient:
            raise InputError(f"{path}: two patients for {file}; expected one row a file")
    return patients


def read_csv(
    path: Path, what: str, *, needed: Sequence[str] = (), names: Sequence[str] | None = None
) -> tuple[list[str], list[dict[str, str]]]:
    """The columns' names and the rows of a CSV file of `what` in UTF-8, perhaps gzipped.

    `needed` are columns that it must have; `names` are those of a table without a header. InputError: no such file,
    one that is cut off or of another delimiter or encoding, or a row of too many or too few values.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected a CSV table of {what}")
    opened: Any = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, names)
            rows = [(reader.line_num, row) for row in reader]
            columns = list(reader.fieldnames or ())
    except (OSError, EOFError, UnicodeDecodeError, zlib.error, csv.Error) as error:
        raise InputError(
            f"{path}: cannot be read as a CSV table in UTF-8 ({reason(error)}); save it as one, or fetch it again"
        ) from error
    if missing := [name for name in needed if name not in columns]:
        raise InputError(
            f"{path}: no column {', '.join(missing)}; it has {', '.join(columns)}, expected columns joined by commas"
        )
    if wrong := [line for line, row in rows if None in row or None in row.values()]:
        raise InputError(f"{path}: line {wrong[0]}: expected {len(columns)} values joined by commas")
    return columns, [row for _, row in rows]


def named_split(relative: Path) -> str:
    """The split whose name the nearest folder above the file has; empty if none has."""
    return next((part for part in reversed(relative.parts[:-1]) if part in SPLITS), "")


def split_records(
    records: Sequence[Record], split: Sequence[float] | str | None, *, seed: int, drop_shared: bool
) -> tuple[list[Record], dict[str, str]]:
    """The records with their split, no patient in two of them, and what dataset.json says of it.

    That is `split_by`, "folders" or "shares", and `folders_unused`, why folders named as splits did not decide.

    Args:
        records: their `split` is that of the folders above them, empty where these name none.
        split: shares of train, valid and test, "folders", or None: the folders if they can decide, else `SHARES`.
        seed: of the shares.
        drop_shared: where folders decide, leaves out the images of a lower split (train, then valid) whose patient
            also stands in a higher one.

    Raises:
        InputError: no records, or fewer patients than splits; or "folders" and a patient in several, and not
            `drop_shared`.
    """
    if not records:
        raise InputError("no image with content is left")
    shared = shared_patients((record.patient, record.split) for record in records)
    counts = Counter(record.split for record in records)
    unused = ""  # why the folders cannot decide the split
    if split is None and (outside := counts.pop("", 0)):
        unused = f"{outside} of {len(records)} images lie in none of them"
    elif split is None and len(counts) == 1:
        unused = f"all images lie in '{next(iter(counts))}'"
    elif split is None and shared and not drop_shared:
        unused = f"{len(shared)} patient(s) stand in more than one of them"
    if not isinstance(split, str) and (split is not None or unused):
        split_of = split_patients((record.patient for record in records), SHARES if split is None else split, seed)
        divided = [replace(record, split=split_of[record.patient]) for record in records]
        return divided, {"split_by": "shares"} | ({"folders_unused": unused} if unused else {})
    if shared and not drop_shared:
        raise InputError(
            f"{len(shared)} patient(s) stand in more than one of the folders train, valid, test; "
            "move their images, or set the option drop_shared to leave out those of the lower split"
        )
    highest = {patient: max(splits, key=SPLITS.index) for patient, splits in shared.items()}
    kept = [record for record in records if highest.get(record.patient, record.split) == record.split]
    return kept, {"split_by": BY_FOLDER}


def split_patients(patients: Iterable[str], shares: Sequence[float], seed: int) -> dict[str, str]:
    """Patient to split, by `shares` of the patients in the order of SPLITS; every split asked for gets at least one.

    The order is that of a hash of (seed, patient), so that one more patient moves as few others as possible.
    """
    if len(shares) != len(SPLITS) or not all(0 <= share < math.inf for share in shares) or sum(shares) == 0:
        raise OptionError(f"split {','.join(f'{s:g}' for s in shares)}: expected three shares, such as 0.8,0.1,0.1")
    ordered = sorted(set(patients), key=lambda p: hashlib.sha256(f"{seed}:{p}".encode()).digest())
    wanted = [name for name, share in zip(SPLITS, shares, strict=True) if share > 0]
    if len(ordered) < len(wanted):
        raise InputError(f"{len(ordered)} patient(s) for {len(wanted)} splits; give more images, or the split 1,0,0")
    counts = [max(1, round(len(ordered) * share / sum(shares))) for share in shares if share > 0]
    counts[counts.index(max(counts))] += len(ordered) - sum(counts)
    splits = [name for name, count in zip(wanted, counts, strict=True) for _ in range(count)]
    return dict(zip(ordered, splits, strict=True))


def shared_patients(assigned: Iterable[tuple[str, str]]) -> dict[str, set[str]]:
    """Patients that stand in more than one split, with those splits, from pairs (patient, split)."""
    splits: dict[str, set[str]] = defaultdict(set)
    for patient, split in assigned:
        splits[patient].add(split)
    return {patient: found for patient, found in splits.items() if len(found) > 1}


def read_columns(path: Path) -> Columns:
    """The rows of a CSV table by their first column, which has the id of an image or the path, name or stem of a file.

    InputError: no table in UTF-8, a column without a name of its own, a row that is too long or short, or given twice.
    """
    names, rows = read_csv(path, "images and their columns")
    key, own = names[:1], names[1:]
    if not key or not own or len(set(names)) < len(names) or not all(map(is_attribute, own)):
        raise InputError(
            f"{path}: expected a first column of ids or file names, and others with names that no record has, each "
            "once, joined by commas"
        )
    found: dict[str, dict[str, str]] = {}
    for line, row in enumerate(rows, start=2):
        if not all(map(is_printable, row.values())):
            raise InputError(f"{path}: row {line}: expected values without control characters")
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
            image_id(relative),
            image_id(Path(*(part for part in relative.parts if part != named_split(relative)))),
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


def columns_of(columns: Columns, relative: Path, id: str) -> Mapping[str, str]:
    """The values of the image `id` of the file at `relative`; InputError, which names the file, where no row has it."""
    for key in (id, *table_keys(relative)):
        if key in columns:
            return columns[key]
    raise InputError(f"{relative}: not in the table of the option columns; expected a row, with empty cells if need be")


def image_id(relative: Path) -> str:
    """The id of the image of a file, or of the slices of a volume but for their ends."""
    return without_extension(relative).replace("/", "__")
