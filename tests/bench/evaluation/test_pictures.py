"""Pictured images: which are chosen, and what run.json says of each, the spacing of its pixels among it."""

import json
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import torch

from latentsr.bench.evaluation import Comparison, compare
from latentsr.bench.pictures import chosen, chosen_by, zoom_box
from latentsr.data.records import Dataset, Record, write_dataset
from latentsr.io.raster import read_pixels, write_pixels


def test_the_best_the_median_and_the_worst(dataset: Dataset) -> None:
    psnr = {"mine": {"007": 30.0, "008": 33.0, "009": 31.0, "010": 29.0, "011": 32.0}}

    def cases(records: tuple[Record, ...], psnr: dict[str, dict[str, float]]) -> list[tuple[str, str]]:
        return [(one.id, reason["case"]) for one, reasons in chosen(records, psnr, "mine") for reason in reasons]

    assert cases(dataset.records, psnr) == [("008", "best"), ("009", "median"), ("010", "worst")]
    assert cases(dataset.records, {}) == [("007", "best"), ("009", "median"), ("011", "worst")]
    assert cases(dataset.records[:4], psnr) == [("008", "best"), ("009", "median"), ("010", "worst")]  # upper of two
    assert cases(dataset.records[:2], psnr) == [("008", "best"), ("007", "worst")]
    assert cases(dataset.records[:1], psnr) == [("007", "best")]


def test_the_worst_against_bicubic_of_each_method(dataset: Dataset) -> None:
    """Each image once, with all that it was chosen for; infinite values are no loss."""
    psnr = {
        "bicubic": {"007": 30.0, "008": 33.0, "009": 31.0, "010": 29.0, "011": 32.0},
        "mine": {"007": 31.0, "008": 34.0, "009": 33.0, "010": 28.0, "011": math.inf},
        "theirs": {"007": 24.0, "008": 34.0, "009": 33.0, "010": 30.0, "011": -math.inf},
    }
    found = chosen(dataset.records, psnr, "mine")
    assert [record.id for record, _ in found] == ["011", "009", "010", "007"]
    assert [(one["case"], one["method"]) for _, reasons in found[2:] for one in reasons] == [
        ("worst", "mine"), ("loss", "mine"), ("loss", "theirs"),
    ]  # fmt: skip


def test_the_zoom_box_is_where_two_methods_differ_most() -> None:
    error, other = torch.zeros(1, 1, 64, 64), torch.zeros(1, 1, 64, 64)
    error[..., 40:56, 8:24] = 0.5
    other[..., 0:16, 48:64] = 0.4
    assert zoom_box(error, other) == [40, 8, 16, 16]
    assert zoom_box(other, None) == [0, 48, 16, 16]
    assert zoom_box(error, error) == [40, 8, 16, 16]
    wide = torch.zeros(1, 1, 32, 96)
    wide[..., 16:24, 72:80] = 1
    assert zoom_box(wide, None) == [16, 72, 8, 8]
    assert zoom_box(wide.mT, None) == [72, 16, 8, 8]


def test_pictures_are_rounded_and_errors_white_from_a_tenth_on(dataset: Dataset, images: Path, tmp_path: Path) -> None:
    """Of HR with one grey level in one pixel: that pixel's error is 1/255 of a range whose tenth is white."""
    compare(
        [dataset.root],
        tmp_path / "out",
        Comparison(methods=(f"mine={images}",), metrics=("mae",), device="cpu", workers=0),
    )
    (case, *_) = json.loads((tmp_path / "out" / "run.json").read_text())["pictures"]["cases"]
    folder, number = tmp_path / "out" / "pictures" / case["image"], list(case["files"].values()).index("mine") - 2
    hr = read_pixels(dataset.root / dataset.records[0].file)
    np.testing.assert_array_equal(read_pixels(folder / "hr.png"), hr)
    np.testing.assert_array_equal(read_pixels(folder / f"{number}.png"), read_pixels(images / "007.png"))
    error = np.zeros_like(hr)
    error[0, 0] = 10
    np.testing.assert_array_equal(read_pixels(folder / f"{number}-error.png"), error)


def test_psnr_of_others_orders_nothing() -> None:
    plan, table = SimpleNamespace(chief="mine"), pd.DataFrame({"metric": ["psnr", "mae"], "method": ["hr", "mine"]})
    assert chosen_by(plan, table) == "id"
    assert chosen_by(plan, table.assign(method="mine")) == "psnr"


def test_a_case_bears_the_spacing_of_its_record(dataset: Dataset, tmp_path: Path) -> None:
    spacings = [(0.5, 0.25), None, (1.0, 1.0), (2.0, 1.0), (3.0, 3.0)]
    records = [replace(record, spacing=mm) for record, mm in zip(dataset.records, spacings, strict=True)]
    for record in records:
        write_pixels(tmp_path / "set" / record.file, read_pixels(dataset.root / record.file))
    spaced = write_dataset(tmp_path / "set", "abdomen", records, {})
    compare([spaced.root], tmp_path / "out", Comparison(methods=(), metrics=("mae",), device="cpu", workers=0))
    cases = json.loads((tmp_path / "out" / "run.json").read_text())["pictures"]["cases"]
    assert [case["spacing"] for case in cases] == [[0.5, 0.25], [1.0, 1.0], [3.0, 3.0]]
