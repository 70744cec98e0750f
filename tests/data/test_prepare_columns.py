"""Columns of the user's own: from a table or the patient pattern into the records, and what does not fit is told."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from latentsr.data.patients import PatientRule, check_columns
from latentsr.data.prepare import prepare
from latentsr.data.records import Dataset, Record, read_dataset, write_dataset
from latentsr.errors import InputError, OptionError, StaleError
from latentsr.io.raster import write_pixels

ONE_SPLIT = (1.0, 0.0, 0.0)
BY_PATTERN = r"(?P<view>[a-z]+)-(?P<patient>\d+)(?:-(?P<side>[LR]))?"


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """Images whose names say their view, patient and, of one, their side."""
    rng = np.random.default_rng(0)
    for name in ("axial-1.png", "deep/coronal-1-L.png", "axial-2.png"):
        write_pixels(tmp_path / "in" / name, rng.integers(0, 255, (16, 16), np.uint8))
    return tmp_path / "in"


def prepared(scans: Path, out: str = "out", **options: object) -> Dataset:
    return prepare("folder", scans, scans.parent / out, **{"split": ONE_SPLIT, **options})


def table(scans: Path, *lines: str) -> Path:
    path = scans.parent / "columns.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_named_groups_of_the_pattern_become_columns(scans: Path) -> None:
    dataset = prepared(scans, patient_pattern=BY_PATTERN)
    assert dataset.attributes == ("view", "side")
    assert {r.id: (r.patient, dict(r.attributes)) for r in dataset.records} == {
        "axial-1": ("1", {"view": "axial", "side": ""}),
        "deep__coronal-1-L": ("1", {"view": "coronal", "side": "L"}),
        "axial-2": ("2", {"view": "axial", "side": ""}),
    }
    assert read_dataset(dataset.root) == dataset
    assert (dataset.root / "records.csv").read_text().splitlines()[0].endswith("sha256,view,side")
    plain = prepared(scans, "plain", patient_pattern=r"-(?P<patient>\d+)")
    assert plain.attributes == ()
    assert plain.hash != dataset.hash


@pytest.mark.parametrize("keys", [("axial-1", "deep__coronal-1-L"), ("axial-1.png", "deep/coronal-1-L.png")])
def test_a_table_names_images_by_id_path_or_name(scans: Path, keys: tuple[str, str]) -> None:
    rows = (f"{keys[0]},Acme,F", f"{keys[1]},Acme,", "axial-2.png,Other, M ")
    found = table(scans, "file,scanner,sex", *rows)
    dataset = prepared(scans, patient_pattern=BY_PATTERN, columns=found)
    assert dataset.attributes == ("view", "side", "scanner", "sex")
    assert [(r.attributes["scanner"], r.attributes["sex"]) for r in dataset.records] == [
        ("Acme", "F"), ("Other", "M"), ("Acme", ""),
    ]  # fmt: skip
    assert read_dataset(dataset.root) == dataset


def test_slices_of_a_volume_have_rows_of_their_own_or_one(scans: Path) -> None:
    files = [Path("a/b.nii.gz"), Path("train/c.nii")]
    check_columns({"a__b-s000": {}, "a__b-s117": {}, "c": {}}, files)
    check_columns({"b": {}, "train__c-s001": {}}, files)
    with pytest.raises(InputError, match=r"rows of no file: a__b-x, d-s000; expected"):
        check_columns({"a__b-x": {}, "d-s000": {}, "c": {}}, files)


def test_other_columns_are_another_dataset(scans: Path) -> None:
    rows = ("axial-1,A", "coronal-1-L,A", "axial-2,B")
    given = {"patient_pattern": BY_PATTERN, "columns": table(scans, "id,scanner", *rows)}
    first = prepared(scans, **given)
    assert prepared(scans, **given) == first
    with pytest.raises(StaleError, match="of other files or options"):
        prepared(scans, **given | {"columns": table(scans, "id,scanner", *rows[:2], "axial-2,A")})
    assert prepared(scans, "other", patient_pattern=BY_PATTERN).hash != first.hash


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (("file", "axial-1"), "expected a first column of ids or file names, and others"),
        (("file,a,a", "axial-1,1,2"), "others with names that no record has, each once"),
        (("file,patient", "axial-1,1"), "names that no record has"),
        (("file,mask", "axial-1,1"), "names that no record has"),
        (("file,", "axial-1,1"), "names that no record has"),
        (("file,a", "axial-1,1,2"), "line 2: expected 2 values"),
        (("file,a,b", "axial-1,1"), "line 2: expected 3 values"),
        (("file,a", "axial-1,\x07"), "row 2: expected values without control characters"),
        (("file,a", "axial-1,1", "axial-1,2"), "row 3: a second one for the same image"),
        (("file,a", "axial-1,1", "axial-2,1"), r"deep/coronal-1-L\.png: not in the table of the option columns"),
        (
            ("file,a", "axial-1,1", "axial-2,1", "coronal-1-L,1", "axial-3,1", "z,1"),
            "has rows of no file: axial-3, z; expected the id",
        ),
    ],
)
def test_what_does_not_fit_is_one_line_and_nothing_is_written(scans: Path, lines: tuple[str, ...], told: str) -> None:
    with pytest.raises(InputError, match=told) as caught:
        prepared(scans, columns=table(scans, *lines))
    assert "\n" not in str(caught.value)
    assert not (scans.parent / "out").exists()


def test_a_name_that_several_files_have_is_told(scans: Path) -> None:
    write_pixels(scans / "other" / "axial-1.png", np.eye(16, dtype=np.uint8))
    rows = ("axial-1.png,A", "axial-2,B", "coronal-1-L,A")
    found = table(scans, "file,scanner", *rows)
    with pytest.raises(InputError, match=r"has rows of several files: axial-1\.png; expected"):
        prepared(scans, columns=found)
    found = table(scans, "file,scanner", *rows, "other/axial-1.png,C")
    assert {r.id: r.attributes["scanner"] for r in prepared(scans, columns=found).records}["other__axial-1"] == "C"


@pytest.mark.parametrize("group", ["split", "file", "mask", "row_mm"])
def test_a_group_with_the_name_of_a_records_column_is_refused(group: str) -> None:
    with pytest.raises(OptionError, match=f"group {group} has the name of a column that every dataset has"):
        PatientRule(pattern=rf"(?P<patient>\d)(?P<{group}>.)")


def test_a_column_of_pattern_and_table_is_refused(scans: Path) -> None:
    with pytest.raises(OptionError, match="column view: both of the patient pattern and of the table"):
        prepared(scans, patient_pattern=BY_PATTERN, columns=table(scans, "id,view", "axial-1,axial"))


RECORD = Record("a", "p", "valid", "a.png", 4, 6, "1" * 64, attributes={"sex": "F", "scanner": 'A "1", B'})


def test_columns_of_the_user_are_kept_beside_all_others(tmp_path: Path) -> None:
    full = replace(RECORD, spacing=(0.5, 0.5), mask="m.png", mask_sha256="2" * 64, resized_from=(8, 12))
    dataset = write_dataset(tmp_path / "full", "full", [full], {})
    assert read_dataset(dataset.root).records == (full,)
    other = write_dataset(tmp_path / "other", "full", [replace(full, attributes={**full.attributes, "sex": "M"})], {})
    assert other.hash != dataset.hash
    assert "F" not in repr(dataset.records[0])


@pytest.mark.parametrize(
    ("header", "values", "told"),
    [
        ("sex,sex", "F,F", "any more each with a name of its own"),
        ("mask,mask", "m,m", "any more each with a name of its own"),
        ("patient", "F", "any more each with a name of its own"),
        (" ", "F", "any more each with a name of its own"),
        ("sex", "\x07", "line 2: expected text without control characters"),
    ],
)
def test_hostile_columns_are_refused(tmp_path: Path, header: str, values: str, told: str) -> None:
    dataset = write_dataset(tmp_path / "set", "set", [replace(RECORD, attributes={})], {})
    first, second = (dataset.root / "records.csv").read_text().splitlines()
    (dataset.root / "records.csv").write_text(f"{first},{header}\n{second},{values}\n")
    with pytest.raises(InputError, match=told):
        read_dataset(dataset.root)
