"""Pictured images: which are chosen, and what run.json says of each, the spacing of its pixels among it."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import torch

from latentsr.data.records import Dataset, write_dataset
from latentsr.evaluation.job import Comparison, compare
from latentsr.evaluation.pictures import chosen, chosen_by, zoom_box
from latentsr.io.raster import read_pixels, write_pixels


def test_the_best_the_median_and_the_worst(dataset: Dataset) -> None:
    psnr = {"007": 30.0, "008": 33.0, "009": 31.0, "010": 29.0, "011": 32.0}
    assert [(case, record.id) for case, record in chosen(dataset.records, psnr)] == [
        ("best", "008"), ("median", "009"), ("worst", "010"),
    ]  # fmt: skip
    assert [record.id for _, record in chosen(dataset.records, {})] == ["007", "009", "011"]
    assert [record.id for _, record in chosen(dataset.records[:4], psnr)] == ["008", "009", "010"]  # upper of two
    assert [record.id for _, record in chosen(dataset.records[1:3], psnr)] == ["008", "009"]
    assert [case for case, _ in chosen(dataset.records[:2], psnr)] == ["best", "worst"]
    assert [case for case, _ in chosen(dataset.records[:1], psnr)] == ["best"]


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
        [dataset.root], tmp_path / "out", Comparison((f"mine={images}",), metrics=("mae",), device="cpu", workers=0)
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
    compare([spaced.root], tmp_path / "out", Comparison((), metrics=("mae",), device="cpu", workers=0))
    cases = json.loads((tmp_path / "out" / "run.json").read_text())["pictures"]["cases"]
    assert [case["spacing"] for case in cases] == [[0.5, 0.25], [1.0, 1.0], [3.0, 3.0]]
