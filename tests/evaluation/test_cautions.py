"""What a reader is warned of: the truth given for a restoration, too few patients for tests, what has no value."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from latentsr.config import read_json, sha256
from latentsr.data.records import Dataset, write_dataset
from latentsr.evaluation.cautions import (
    cautions,
    reference_cautions,
    size_cautions,
    value_cautions,
)
from latentsr.evaluation.character import truth_facts
from latentsr.evaluation.job import Comparison, compare
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
        asked = Comparison((f"given={tmp_path / 'truth'}",), metrics=("psnr",), device="cpu", workers=0)
        compare([dataset.root], tmp_path / "out", asked)
        run = json.loads((tmp_path / "out" / "run.json").read_text())
        facts = {"images": 5, "of": 5, "exact": True, "changes": []}
        assert run["truth"] == [{"dataset": "abdomen", "method": "given", **facts}]
        assert run["warnings"][0].startswith("All 5 images of method 'given' on 'abdomen' are HR itself")


class TestFewPatients:
    def test_one_patient_is_told_by_number_alone(self) -> None:
        (told,) = size_cautions({"set": {"patients": 1, "images": 4, "image_is_patient": False}})
        assert told.startswith("'set' has one patient: no interval, no test")

    @pytest.mark.parametrize(
        ("patients", "words"),
        [(2, "are not judged."), (5, "are not judged."), (6, "stay unseen."), (9, "stay unseen.")],
    )
    def test_below_ten_patients_are_few(self, patients: int, words: str) -> None:
        (told,) = size_cautions({"set": {"patients": patients, "images": 40, "image_is_patient": False}})
        assert told.startswith(
            f"'set' has {patients} patients: intervals are wide, take patients' differences for normal"
        )
        assert told.endswith(words)
        assert size_cautions({"set": {"patients": 10, "images": 40, "image_is_patient": False}}) == []

    def test_one_image_is_no_doubt_about_its_patient(self) -> None:
        (told,) = size_cautions({"set": {"patients": 1, "images": 1, "image_is_patient": True}})
        assert "has one patient" in told

    def test_an_image_without_value_counts_once_whatever_the_methods(self) -> None:
        (told,) = value_cautions(tidy({"bicubic": [NAN, 30.0, NAN], "mine": [NAN, 31.0, NAN]}))
        assert told.endswith("psnr (2).")

    def test_all_cautions_together_need_no_comparisons(self) -> None:
        facts = {"set": {"patients": 2, "images": 2, "image_is_patient": True}}
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
    asked = Comparison((), metrics=("psnr", "roi_psnr", "roi_ssim", "hallucinated"), device="cpu", workers=0)
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
