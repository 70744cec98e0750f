from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latentsr.data.patients import (
    PatientRule,
    read_patient_table,
    shared_patients,
    split_patients,
    without_extension,
)
from latentsr.data.records import SPLITS
from latentsr.errors import InputError, OptionError


@pytest.mark.parametrize(
    ("rule", "path", "header", "patient"),
    [
        (PatientRule(), "a/scan.png", None, "a/scan"),
        (PatientRule(), "a/scan.nii.gz", None, "a/scan"),
        (PatientRule(), "1.2.840.5", None, "1.2.840.5"),
        (PatientRule(), "a/scan.dcm", "4f1c", "4f1c"),
        (PatientRule(pattern=r"(?P<patient>sub-\d+)"), "sub-07/s1/x.png", "4f1c", "sub-07"),
        (PatientRule(block=10), "x/glioma-gg-0019.png", None, "glioma-gg-block1"),
        (PatientRule(block=10), "x/glioma-gg-0020.png", None, "glioma-gg-block2"),
        (PatientRule(block=5), "0004.png", None, "-block0"),
        (PatientRule(table={"a/b.png": "whole", "b.png": "name", "b": "stem"}), "a/b.png", None, "whole"),
        (PatientRule(table={"b.png": "name", "b": "stem"}), "a/b.png", None, "name"),
        (PatientRule(table={"b": "stem"}, pattern=r"(?P<patient>.)"), "a/b.png", None, "stem"),
        (PatientRule(table={"b": "stem"}), "a/b.nii.gz", None, "stem"),
    ],
)
def test_the_first_rule_that_is_given_decides(rule: PatientRule, path: str, header: str | None, patient: str) -> None:
    assert rule.patient(Path(path), header) == patient


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (PatientRule(table={"c": "p"}), "not in the patient table"),
        (PatientRule(pattern=r"(?P<patient>sub-\d+)"), "does not match its path"),
        (PatientRule(block=3), "the option block needs names that end in a number"),
    ],
)
def test_a_file_that_the_rule_does_not_fit_is_named(rule: PatientRule, message: str) -> None:
    with pytest.raises(InputError, match=rf"a/b\.png.*{message}"):
        rule.patient(Path("a/b.png"), "header")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pattern": r"\d+"}, "group named patient"),
        ({"pattern": "(?P<patient>"}, "regular"),
        ({"block": 0}, "the option block is 0"),
    ],
)
def test_bad_rules_are_refused(options: dict, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        PatientRule(**options)


@pytest.mark.parametrize(
    ("path", "stem"),
    [("a.b/c.png", "a.b/c"), ("x.nii.gz", "x"), ("1.2.840.10008", "1.2.840.10008"), ("1.2.dcm", "1.2"), ("x", "x")],
)
def test_extension_is_not_the_tail_of_a_uid(path: str, stem: str) -> None:
    assert without_extension(Path(path)) == stem


def test_table_is_two_columns_of_a_csv(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("﻿file,age,who\na.png,3,p1\nb.png,4,p2\n", encoding="utf-8")
    assert read_patient_table(path, "file", "who") == {"a.png": "p1", "b.png": "p2"}
    with pytest.raises(InputError, match="no column patient; it has file, age, who"):
        read_patient_table(path, "file", "patient")
    with pytest.raises(InputError, match="no such file"):
        read_patient_table(tmp_path / "none.csv", "a", "b")


@pytest.mark.parametrize("row", ["b.png,4", "b.png,4,", "a.png,5,p9"])
def test_a_table_that_does_not_say_one_patient_a_file_is_refused(tmp_path: Path, row: str) -> None:
    (tmp_path / "t.csv").write_text(f"file,age,who\na.png,3,p1\n{row}\n")
    with pytest.raises(InputError, match=r"t\.csv.*([ab]\.png|line 3: expected 3 values)"):
        read_patient_table(tmp_path / "t.csv", "file", "who")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"file;who\na.png;p1\n", "no column file, who; it has file;who"),
        (b"", "no column file, who"),
        (b"file,who\n\xff.png,p1\n", "cannot be read as a CSV table in UTF-8"),
        (b"file,who\na.png\n", "line 2: expected 2 values"),
    ],
)
def test_other_delimiters_encodings_and_rows_are_one_line(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(InputError, match=words) as error:
        read_patient_table(tmp_path / "t.csv", "file", "who")
    assert "\n" not in str(error.value)


shares = st.tuples(*[st.integers(0, 20)] * 3).filter(any)


@settings(max_examples=25)
@given(n=st.integers(3, 60), shares=shares, seed=st.integers(0, 99))
def test_split_gives_every_patient_one_split_and_every_share_its_part(n: int, shares: tuple, seed: int) -> None:
    patients = [f"p{i}" for i in range(n)]
    split = split_patients(patients + patients, shares, seed)
    counts = Counter(split.values())
    assert set(split) == set(patients)
    for name, share in zip(SPLITS, shares, strict=True):
        assert (counts[name] > 0) == (share > 0)
        assert abs(counts[name] - n * share / sum(shares)) <= 2
    assert split_patients(reversed(patients), shares, seed) == split


def test_the_seed_decides_and_one_more_patient_moves_few() -> None:
    patients = [f"p{i}" for i in range(100)]
    first, other = (split_patients(patients, (0.8, 0.1, 0.1), seed) for seed in (0, 1))
    more = split_patients([*patients, "new"], (0.8, 0.1, 0.1), 0)
    assert first != other
    assert sum(first[p] != more[p] for p in patients) <= 3


def test_fewer_patients_than_splits_is_an_error() -> None:
    with pytest.raises(InputError, match=r"1 patient\(s\) for 3 splits.*the split 1,0,0"):
        split_patients(["p"], (0.8, 0.1, 0.1), 0)
    assert split_patients(["p"], (1, 0, 0), 0) == {"p": "train"}


@pytest.mark.parametrize("shares", [(0.8, 0.2), (1, -1, 1), (0, 0, 0), (float("nan"), 0.5, 0.5)])
def test_bad_shares_are_refused(shares: tuple[float, ...]) -> None:
    with pytest.raises(OptionError, match="expected three shares"):
        split_patients(["p", "q", "r"], shares, 0)


def test_shared_patients_stand_in_several_splits() -> None:
    pairs = [("p", "train"), ("p", "test"), ("q", "train"), ("q", "train")]
    assert shared_patients(pairs) == {"p": {"train", "test"}}


@pytest.mark.parametrize(
    "path", ["sub-01/ses-1/sub-01_ses-1_T1w.nii.gz", "sub-01_ses-2_T1w.nii.gz", "site/sub-01/x.png"]
)
def test_sessions_of_a_bids_subject_are_one_patient(path: str) -> None:
    assert PatientRule().patient(Path(path), None) == "sub-01"
