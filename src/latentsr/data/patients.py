"""Which patient an image belongs to, and which split a patient goes to."""

import csv
import hashlib
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from latentsr.data.records import SPLITS, is_printable
from latentsr.errors import InputError, OptionError

EXTENSION = r"(\.nii)?\.[A-Za-z][A-Za-z0-9]{0,10}$"  # begins with a letter: the tail of a DICOM UID is none
BIDS_SUBJECT = r"(?:^|[/_])(?P<subject>sub-[A-Za-z0-9]+)"
NUMBERED = r"^(?P<series>.*?)[-_ ]?(?P<number>\d+)$"


@dataclass(frozen=True)
class PatientRule:
    """How the patient is found: first of `table` (file name to patient), `pattern`, `block`, the file's own header,
    a BIDS subject (`sub-01`) in the path; without any of these each file is a patient of its own.

    `pattern` is a regular expression with a group `patient`, searched in the path below the source folder. `block`
    takes that many neighbouring numbers of a series as one patient, for sets without patient ids.
    """

    table: Mapping[str, str] | None = None
    pattern: str | None = None
    block: int | None = None

    def __post_init__(self) -> None:
        if self.pattern and "patient" not in _compiled(self.pattern).groupindex:
            raise OptionError(f"patient pattern '{self.pattern}': expected a group named patient, (?P<patient>...)")
        if self.block is not None and self.block < 1:
            raise OptionError(f"the option block is {self.block}: expected a whole number of 1 or more")

    def patient(self, relative: Path, header: str | None) -> str:
        """The patient of the file at `relative`; `header` is what the file itself says, if it says anything."""
        if self.table is not None:
            return _from_table(self.table, relative)
        if self.pattern:
            return self._from_pattern(relative)
        if self.block:
            return self._from_block(relative)
        subject = re.search(BIDS_SUBJECT, relative.as_posix())
        return header or (subject["subject"] if subject else without_extension(relative))

    def _from_pattern(self, relative: Path) -> str:
        match = _compiled(self.pattern or "").search(without_extension(relative))
        if not match:
            raise InputError(f"{relative}: the patient pattern '{self.pattern}' does not match its path")
        return match["patient"]

    def _from_block(self, relative: Path) -> str:
        match = re.match(NUMBERED, without_extension(relative).rpartition("/")[2])
        if not match:
            raise InputError(f"{relative}: the option block needs names that end in a number, such as series-0012.png")
        return f"{match['series']}-block{int(match['number']) // (self.block or 1)}"


def _from_table(table: Mapping[str, str], relative: Path) -> str:
    for key in (relative.as_posix(), relative.name, without_extension(Path(relative.name))):
        if key in table:
            return table[key]
    raise InputError(f"{relative}: not in the patient table; expected a row with its path, name or stem")


def without_extension(relative: Path) -> str:
    """The path as text without its extension: `.nii.gz` is one, the last number of a UID is none."""
    return re.sub(EXTENSION, "", relative.as_posix())


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise OptionError(f"patient pattern '{pattern}': {error}; expected a Python regular expression") from error


def read_patient_table(path: Path, file_column: str, patient_column: str) -> dict[str, str]:
    """File name to patient, from two columns of a CSV file."""
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected a CSV table of files and patients")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns, rows = list(reader.fieldnames or ()), list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as a CSV table in UTF-8 ({error}); save it as one") from error
    if missing := {file_column, patient_column} - set(columns):
        raise InputError(f"{path}: no column {', '.join(sorted(missing))}; it has {', '.join(columns)}")
    return _patient_of_each(path, [(row[file_column], row[patient_column]) for row in rows])


def _patient_of_each(path: Path, rows: Iterable[tuple[str, str | None]]) -> dict[str, str]:
    patients: dict[str, str] = {}
    for file, patient in rows:
        if not patient or not is_printable(patient):
            raise InputError(f"{path}: no patient for {file}; expected one in every row, without control characters")
        if patients.setdefault(file, patient) != patient:
            raise InputError(f"{path}: two patients for {file}; expected one row a file")
    return patients


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
    bounds = _bounds(len(ordered), [share for share in shares if share > 0])
    return {p: name for name, (a, b) in zip(wanted, bounds, strict=True) for p in ordered[a:b]}


def _bounds(n: int, shares: Sequence[float]) -> list[tuple[int, int]]:
    counts = [max(1, round(n * share / sum(shares))) for share in shares]
    counts[counts.index(max(counts))] += n - sum(counts)
    ends = [sum(counts[: i + 1]) for i in range(len(counts))]
    return list(zip([0, *ends[:-1]], ends, strict=True))


def shared_patients(assigned: Iterable[tuple[str, str]]) -> dict[str, set[str]]:
    """Patients that stand in more than one split, with those splits, from pairs (patient, split)."""
    splits: dict[str, set[str]] = defaultdict(set)
    for patient, split in assigned:
        splits[patient].add(split)
    return {patient: there for patient, there in splits.items() if len(there) > 1}
