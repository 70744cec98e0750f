"""What a reader is warned of: the truth given for a restoration, too few patients for tests, what has no value."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from latentsr.bench.cautions import cautions, joined, reference_cautions, size_cautions, value_cautions
from latentsr.bench.character import truth_facts
from latentsr.bench.evaluation import Comparison, compare
from latentsr.config import read_json, sha256
from latentsr.data.records import Dataset, write_dataset
from latentsr.io.raster import read_pixels, write_pixels
from latentsr.stats.table import COLUMNS

INF, NAN = float("inf"), float("nan")


def tidy(values: dict[str, list[float]], metric: str = "psnr") -> pd.DataFrame:
    """The tidy table of methods' values, an image a patient."""
    rows = [("set", f"i{n}", f"p{n}", name, metric, one) for name, row in values.items() for n, one in enumerate(row)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


class TestTheTruth:
    def test_its_identical_images_are_told_once(self) -> None:
        table = tidy({"given": [INF, INF], "partly": [INF, 30.0]})
        told = value_cautions(table, truth_facts(table))
        assert len(told) == 1
        assert told[0].startswith("1 image of method 'partly' on 'set' is identical to HR (PSNR infinite)")

    def test_an_evaluation_of_it_warns(self, dataset: Dataset, tmp_path: Path) -> None:
        for record in dataset.records:
            pixels = np.round(dataset.image(record) * 255).astype(np.uint8)
            write_pixels(tmp_path / "truth" / f"{record.id}.png", pixels)
        asked = Comparison(methods=(f"given={tmp_path / 'truth'}",), metrics=("psnr",), device="cpu", workers=0)
        compare([dataset.root], tmp_path / "out", asked)
        run = json.loads((tmp_path / "out" / "run.json").read_text())
        facts = {"images": 5, "of": 5, "exact": True, "changes": []}
        assert run["truth"] == [{"dataset": "abdomen", "method": "given", **facts}]
        assert run["warnings"][0].startswith("All 5 images of method 'given' on 'abdomen' are HR itself")


class TestFewPatients:
    def test_one_patient_is_told_by_number_alone(self) -> None:
        (told,) = size_cautions({"set": {"patients": 1, "images": 4, "block": None, "image_is_patient": False}})
        assert told.startswith("'set' has one patient: no interval, no test")

    @pytest.mark.parametrize(
        ("patients", "words"),
        [(2, "are not judged."), (5, "are not judged."), (6, "stay unseen."), (9, "stay unseen.")],
    )
    def test_below_ten_patients_are_few(self, patients: int, words: str) -> None:
        (told,) = size_cautions({"set": {"patients": patients, "images": 40, "block": None, "image_is_patient": False}})
        assert told.startswith(
            f"'set' has {patients} patients: intervals are wide, take patients' differences for normal"
        )
        assert told.endswith(words)
        assert size_cautions({"set": {"patients": 10, "images": 40, "block": None, "image_is_patient": False}}) == []

    def test_one_image_is_no_doubt_about_its_patient(self) -> None:
        blocks = {"set": {"patients": 30, "images": 300, "block": 20, "image_is_patient": False}}
        assert "blocks of 20 files in order count as patients" in size_cautions(blocks)[0]
        (told,) = size_cautions({"set": {"patients": 1, "images": 1, "block": None, "image_is_patient": True}})
        assert "has one patient" in told

    def test_an_image_without_value_counts_once_whatever_the_methods(self) -> None:
        (told,) = value_cautions(tidy({"bicubic": [NAN, 30.0, NAN], "mine": [NAN, 31.0, NAN]}))
        assert told.endswith("psnr (2).")

    def test_all_cautions_together_need_no_comparisons(self) -> None:
        facts = {"set": {"patients": 2, "images": 2, "block": None, "image_is_patient": True}}
        told = cautions(facts, {"table": tidy({"bicubic": [27.0, NAN]})}, [])
        assert [one.partition(" ")[0] for one in told] == ["'set'", "In", "No"]


def masked(dataset: Dataset, root: Path) -> Dataset:
    """The dataset again under another name, with a mask an image."""
    records = []
    for record in dataset.records:
        write_pixels(root / record.file, read_pixels(dataset.root / record.file))
        inside = np.zeros((record.rows, record.columns), np.uint8)
        inside[20:60, 20:60] = 1
        write_pixels(root / "masks" / f"{record.id}.png", inside)
        path = f"masks/{record.id}.png"
        records.append(replace(record, mask=path, mask_sha256=sha256(root / path)))
    return write_dataset(root, "masked", records, {})


def test_what_one_of_two_datasets_lacks_is_told_of_that_one(dataset: Dataset, tmp_path: Path) -> None:
    folders = [dataset.root, masked(dataset, tmp_path / "data").root]
    asked = Comparison(methods=(), metrics=("psnr", "roi_psnr", "roi_ssim", "hallucinated"), device="cpu", workers=0)
    compare(folders, tmp_path / "out", asked)
    told = read_json(tmp_path / "out" / "run.json")["not_measured"]
    assert [one for one in told if "region" in one] == [
        "Not measured on 'abdomen', since there are no masks of a region of interest (the option masks, here or of "
        "prepare): PSNR in the region, SSIM in the region."
    ]
    assert [one for one in told if "Hallucinated" in one] == [
        "Not measured, since no reference autoencoder gives a noise floor (the option reference_autoencoder): "
        "Hallucinated share."
    ]


def test_what_has_no_value_at_all_is_not_measured_and_no_caution(dataset: Dataset, tmp_path: Path) -> None:
    """MS-SSIM of images that are too small for it: said beside what else was not measured."""
    records = [replace(record, rows=32, columns=32) for record in dataset.records]
    for record in records:
        write_pixels(tmp_path / "small" / record.file, read_pixels(dataset.root / record.file)[:32, :32])
    hashed = [replace(record, sha256=sha256(tmp_path / "small" / record.file)) for record in records]
    small = write_dataset(tmp_path / "small", "small", hashed, {})
    asked = Comparison(methods=(), metrics=("psnr", "ms_ssim"), device="cpu", workers=0)
    compare([dataset.root, small.root], tmp_path / "out", asked)
    run = read_json(tmp_path / "out" / "run.json")
    told = "Not measured on 'small', since all images are too small for it, or hold nothing to measure: MS-SSIM."
    assert told in run["not_measured"]
    assert [one for one in run["cautions"] if "ms_ssim" in one] == [
        "No value for some images of 'abdomen' (too small for the measure, or nothing to measure): ms_ssim (1)."
    ]


class TestJoined:
    def test_sentences_that_differ_in_the_dataset_or_the_method_alone_are_one(self) -> None:
        told = [f"On '{dataset}' method '{method}' has 8 bits." for dataset in ("a", "b") for method in ("x", "y", "z")]
        assert joined(told, ["a", "b"], ["x", "y", "z"]) == ["On 'a' and 'b' methods 'x', 'y' and 'z' has 8 bits."]

    def test_what_stands_in_brackets_is_told_of_each(self) -> None:
        told = [f"Images of '{name}' are coarse ({number} px, 1 mm): look." for name, number in (("a", 3), ("b", 5))]
        assert joined(told, ["a", "b"], []) == [
            "Images of 'a' and 'b' are coarse ('a': 3 px, 1 mm; 'b': 5 px, 1 mm): look."
        ]
        alike = [one.replace("5 px", "3 px") for one in told]
        assert joined(alike, ["a", "b"], []) == ["Images of 'a' and 'b' are coarse (3 px, 1 mm): look."]
        twice = [f"{one} And (so on)." for one in told]
        assert joined(twice, ["a", "b"], []) == twice

    def test_others_stay_as_they_are_and_in_their_order(self) -> None:
        told = [
            "3 images of method 'x' on 'a' {}.",
            "Methods 'x' and 'y' are the same on 'a'.",
            "4 images of method 'x' on 'b'.",
        ]
        assert joined(told, ["a", "b"], ["x", "y"]) == told

    def test_datasets_of_as_many_patients_share_a_sentence(self) -> None:
        counts = {"a": 7, "b": 7, "c": 5}
        facts = {
            name: {"patients": n, "images": 9, "block": None, "image_is_patient": False} for name, n in counts.items()
        }
        few, fewer = size_cautions(facts)
        assert few.startswith("'a' and 'b' have 7 patients: intervals are wide")
        assert fewer.startswith("'c' has 5 patients: ")
        assert fewer.endswith("with fewer than 6, differences are not judged.")

    def test_methods_of_as_many_identical_images_share_a_sentence(self) -> None:
        (told,) = value_cautions(tidy({"bicubic": [30.0, 31.0], "mine": [INF, 31.0], "theirs": [INF, 30.0]}))
        assert told.startswith("1 image each of method 'mine' on 'set' and method 'theirs' on 'set' is identical to HR")

    def test_datasets_of_a_reference_that_errs_share_a_sentence(self) -> None:
        values = {"mae": 0.03, "noise_floor/1sigma": 0.05, "noise_floor/2sigma": 0.06}
        rows = [(name, "a", "p", "bicubic", metric, value) for name in "ab" for metric, value in values.items()]
        (told,) = reference_cautions(pd.DataFrame(rows, columns=list(COLUMNS)))
        assert told.startswith(
            "On 'a' (mean absolute error 0.040 against 0.030 of the range) and 'b' (mean absolute error 0.040 against "
            "0.030 of the range) the reference autoencoder errs as much as bicubic"
        )


@pytest.mark.parametrize(("floors", "warned"), [((0.05, 0.06), True), ((0.05, 0.08), False), ((0.05, 0.07), True)])
def test_a_reference_that_errs_as_much_as_bicubic_is_told(floors: tuple[float, float], warned: bool) -> None:
    values = {"mae": 0.03, "noise_floor/1sigma": floors[0], "noise_floor/2sigma": floors[1]}
    rows = [("set", "a", "p", "bicubic", metric, value) for metric, value in values.items()]
    found = reference_cautions(pd.DataFrame(rows, columns=list(COLUMNS)))
    assert bool(found) == warned
    assert all("the reference autoencoder errs as much as bicubic" in one for one in found)


def test_without_a_floor_nothing_is_said_of_the_reference() -> None:
    rows = [("set", "a", "p", "bicubic", "mae", 0.03)]
    assert reference_cautions(pd.DataFrame(rows, columns=list(COLUMNS))) == []
