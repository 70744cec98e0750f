"""MIMIC-CXR-JPG trees of the true layout: JPEG files and gzipped tables."""

import csv
import gzip
import io
import random
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from latentsr.config import read_json
from latentsr.data.prepare import prepare_cases
from latentsr.data.recipes.mimic_cxr import MimicCXR
from latentsr.errors import InputError, OptionError

#            subject     study      dicom  view       split       label
ROWS = (
    ("10000001", "50000001", "aaaaaaaa", "LATERAL", "train", "Edema"),
    ("10000001", "50000001", "bbbbbbbb", "PA", "train", "Edema"),
    ("10000001", "50000002", "cccccccc", "AP", "train", "No Finding"),
    ("10000002", "50000003", "dddddddd", "PA", "validate", "No Finding"),
    ("10000003", "50000004", "eeeeeeee", "AP", "test", "Pneumothorax"),
    ("10000004", "50000005", "ffffffff", "PA", "train", ""),
    ("10000005", "50000006", "99999999", "PA", "train", "No Finding"),
)
LABELS = ("Edema", "No Finding", "Pneumothorax")


def dicom_id(short: str) -> str:
    return "-".join([short] * 5)


def pixels(number: int) -> np.ndarray:
    """A smooth picture, taller than wide, whose corners are bright."""
    rows, columns = np.mgrid[0:1:300j, 0:1:240j]
    return np.round(100 + 60 * np.cos(5 * rows + number) + 60 * np.sin(7 * columns)).clip(0, 255).astype(np.uint8)


def write_table(path: Path, header: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerows([header, *rows])
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.write(text.getvalue())


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "mimic-cxr-jpg"
    for number, (subject, study, short, *_) in enumerate(ROWS):
        if number == 6:  # a part of the tree is the rule
            continue
        path = root / "files" / f"p{subject[:2]}" / f"p{subject}" / f"s{study}" / f"{dicom_id(short)}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels(number)).save(path, quality=95)
    name = "mimic-cxr-2.0.0-"
    write_table(
        root / f"{name}split.csv.gz", ("dicom_id", "study_id", "subject_id", "split"),
        [(dicom_id(row[2]), row[1], row[0], row[4]) for row in ROWS],
    )  # fmt: skip
    write_table(
        root / f"{name}metadata.csv.gz", ("dicom_id", "subject_id", "study_id", "ViewPosition"),
        [(dicom_id(row[2]), row[0], row[1], row[3]) for row in ROWS],
    )  # fmt: skip
    studies = dict.fromkeys((row[0], row[1], row[5]) for row in ROWS)
    write_table(
        root / f"{name}chexpert.csv.gz", ("subject_id", "study_id", *LABELS),
        [(subject, study, *("1.0" if label == one else "" for one in LABELS)) for subject, study, label in studies],
    )  # fmt: skip
    return root


def test_frontal_views_in_the_official_split(tree: Path, tmp_path: Path) -> None:
    made = prepare_cases("mimic-cxr", MimicCXR(size=64), tree, tmp_path / "out")
    found = {record.id[:8]: (record.patient, record.split, record.attributes.get("view")) for record in made.records}
    assert found == {
        "bbbbbbbb": ("10000001", "train", "PA"),
        "cccccccc": ("10000001", "train", "AP"),
        "dddddddd": ("10000002", "valid", "PA"),
        "eeeeeeee": ("10000003", "test", "AP"),
        "ffffffff": ("10000004", "train", "PA"),
    }
    record = next(one for one in made.records if one.id.startswith("eeeeeeee"))
    assert record.attributes["pneumothorax"] == "1"
    assert (record.rows, record.columns, record.resized_from) == (64, 64, (300, 240))
    whole = np.pad(np.asarray(Image.fromarray(pixels(4)).resize((51, 64), Image.BICUBIC)), ((0, 0), (6, 7)))
    np.testing.assert_allclose(made.image(record) * 255, whole, atol=4)  # JPEG


def test_on_request_the_square_is_filled(tree: Path, tmp_path: Path) -> None:
    made = prepare_cases("mimic-cxr", MimicCXR(size=64, resize="crop"), tree, tmp_path / "out")
    record = next(one for one in made.records if one.id.startswith("eeeeeeee"))
    whole = Image.fromarray(pixels(4)).resize((64, 80), Image.BICUBIC)
    np.testing.assert_allclose(made.image(record) * 255, np.asarray(whole)[8:72], atol=4)  # JPEG


def test_studies_without_labels_are_kept_and_counted(tree: Path, tmp_path: Path) -> None:
    table = tree / "mimic-cxr-2.0.0-chexpert.csv.gz"
    rows = gzip.decompress(table.read_bytes()).decode().splitlines()
    table.write_bytes(gzip.compress("\n".join(row for row in rows if "50000002" not in row).encode()))
    made = prepare_cases("mimic-cxr", MimicCXR(size=64), tree, tmp_path / "out")
    assert len(made.records) == 5
    assert read_json(made.root / "dataset.json")["unlisted"] == {"chexpert": 1}


def test_shares_split_subjects_and_draws_are_seeded(tree: Path, tmp_path: Path) -> None:
    options = {"size": 64, "views": "all", "split": "0.5,0.25,0.25"}
    made = prepare_cases("mimic-cxr", MimicCXR(**options, seed=3), tree, tmp_path / "out")
    assert len(made.records) == 6
    of = {record.patient: record.split for record in made.records}
    assert all(of[record.patient] == record.split for record in made.records)
    few = prepare_cases("mimic-cxr", MimicCXR(**options, seed=3, train=1), tree, tmp_path / "few")
    assert sum(record.split == "train" for record in few.records) == 1


def test_as_published(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("latentsr.data.recipes.mimic_cxr.COUNTS", (2, 2, 2))
    made = prepare_cases("mimic-cxr", MimicCXR(as_published=True), tree, tmp_path / "out")
    # In the words of the study: the first image of each study; ill and well ones shuffled, half of each a split.
    ill, well = ["50000001", "50000004"], ["50000002", "50000003"]
    draw = random.Random(42)
    draw.shuffle(ill)
    draw.shuffle(well)
    expected, number = {}, 0
    first = {"50000001": 0, "50000002": 2, "50000003": 3, "50000004": 4}  # of the first study the lateral view
    for split in ("train", "valid", "test"):
        chosen = ill[:1] + well[:1]
        ill, well = ill[1:], well[1:]
        draw.shuffle(chosen)
        for study in chosen:
            expected[f"cxr_{number:05d}"] = (split, first[study])
            number += 1
    assert {record.id: record.split for record in made.records} == {id: split for id, (split, _) in expected.items()}
    for record in made.records:
        path = next((tree / "files").rglob(f"{dicom_id(ROWS[expected[record.id][1]][2])}.jpg"))
        square = Image.open(path).crop((0, 30, 240, 270))
        for file, side in ((record.file, 256), (record.lr, 64)):
            np.testing.assert_array_equal(
                np.asarray(Image.open(made.root / file)), np.asarray(square.resize((side, side), Image.LANCZOS))
            )
    subjects = {record.patient: set() for record in made.records}
    for record in made.records:
        subjects[record.patient].add(record.split)
    shared = sum(len(splits) > 1 for splits in subjects.values())
    assert read_json(made.root / "dataset.json")["patients_in_several_splits"] == shared


@pytest.mark.parametrize(
    "way", ["files", "images", "twice", "table", "cut", "delimiter", "row", "view", "short", "split", "splits", "views"]
)
def test_wrong_trees_and_options_are_one_line_and_leave_nothing(tree: Path, tmp_path: Path, way: str) -> None:
    recipe, kind = MimicCXR(size=64), InputError
    table = tree / f"mimic-cxr-2.0.0-{'metadata' if way == 'view' else 'split'}.csv.gz"
    content = gzip.decompress(table.read_bytes()).decode()
    if way == "files":
        (tree / "files").rename(tree / "images")
        words = "no folder 'files'"
    elif way == "images":
        (tree / "files").rename(tree / "other")
        (tree / "files").mkdir()
        words = "fetch some of the images"
    elif way == "table":
        table.unlink()
        words = "split.csv"
    elif way == "cut":
        table.write_bytes(table.read_bytes()[:-30])
        words = "cannot be read as a CSV table"
    elif way == "delimiter":
        table.write_bytes(gzip.compress(content.replace(",", ";").encode()))
        words = "no column dicom_id, split; it has dicom_id;study_id"
    elif way in ("row", "view"):
        table.write_bytes(gzip.compress("\n".join(content.splitlines()[:3]).encode()))
        words = f"images are not in the table {'split' if way == 'row' else 'metadata'}"
    elif way == "short":
        table.write_bytes(gzip.compress(content.replace(",test", "").encode()))
        words = "line 6: expected 4 values"
    elif way == "split":
        table.write_bytes(gzip.compress(content.replace(",test", ",other").encode()))
        words = "a split other"
    elif way == "splits":
        table.write_bytes(gzip.compress(content.replace("50000002,10000001,train", "50000002,10000001,test").encode()))
        words = r"1 patient\(s\) stand in several splits"
    elif way == "twice":
        path = next((tree / "files").rglob("bbbbbbbb*.jpg"))
        other = path.parents[2] / "p10000009" / "s59999999" / path.name
        other.parent.mkdir(parents=True)
        other.write_bytes(path.read_bytes())
        words = "the same image as files"
    elif way == "views":
        recipe, words, kind = MimicCXR(views="PA,FRONT"), "has FRONT: expected some of AP, LATERAL, PA", OptionError
    with pytest.raises(kind, match=words) as error:
        prepare_cases("mimic-cxr", recipe, tree, tmp_path / "out")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()
