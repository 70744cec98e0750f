"""Pictured images: which are chosen, and what run.json says of each, the spacing of its pixels among it."""

import json
from dataclasses import replace
from pathlib import Path

import torch

from latentsr.data.records import Dataset, write_dataset
from latentsr.evaluation.job import Comparison, compare
from latentsr.evaluation.pictures import chosen, zoom_box
from latentsr.io.raster import read_pixels, write_pixels


def test_the_best_the_median_and_the_worst(dataset: Dataset) -> None:
    psnr = {"007": 30.0, "008": 33.0, "009": 31.0, "010": 29.0, "011": 32.0}
    assert [(case, record.id) for case, record in chosen(dataset.records, psnr)] == [
        ("best", "008"), ("median", "009"), ("worst", "010"),
    ]  # fmt: skip
    assert [record.id for _, record in chosen(dataset.records, {})] == ["007", "009", "011"]
    assert [case for case, _ in chosen(dataset.records[:2], psnr)] == ["best", "worst"]
    assert [case for case, _ in chosen(dataset.records[:1], psnr)] == ["best"]


def test_the_zoom_box_is_where_two_methods_differ_most() -> None:
    error, other = torch.zeros(1, 1, 64, 64), torch.zeros(1, 1, 64, 64)
    error[..., 40:56, 8:24] = 0.5
    other[..., 0:16, 48:64] = 0.4
    assert zoom_box(error, other) == [40, 8, 16, 16]
    assert zoom_box(other, None) == [0, 48, 16, 16]


def test_a_case_bears_the_spacing_of_its_record(dataset: Dataset, tmp_path: Path) -> None:
    spacings = [(0.5, 0.25), None, (1.0, 1.0), (2.0, 1.0), (3.0, 3.0)]
    records = [replace(record, spacing=mm) for record, mm in zip(dataset.records, spacings, strict=True)]
    for record in records:
        write_pixels(tmp_path / "set" / record.file, read_pixels(dataset.root / record.file))
    spaced = write_dataset(tmp_path / "set", "abdomen", records, {})
    compare([spaced.root], tmp_path / "out", Comparison((), metrics=("mae",), device="cpu", workers=0))
    cases = json.loads((tmp_path / "out" / "run.json").read_text())["pictures"]["cases"]
    assert [case["spacing"] for case in cases] == [[0.5, 0.25], [1.0, 1.0], [3.0, 3.0]]
