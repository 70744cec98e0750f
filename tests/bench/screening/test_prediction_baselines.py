"""What is measured beside the expectation: bicubic and the shipped model, in tables and words."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import latentsr
from latentsr.bench import Screening, plan_screening
from latentsr.bench.prediction import find_baselines, measured_baseline
from latentsr.data.records import Dataset
from latentsr.degrade import parse_degradation
from latentsr.stats.table import read_table
from latentsr.upscalers import bicubic

BY_FOUR = parse_degradation("bicubic:4")


@pytest.fixture(autouse=True)
def _no_shipped_model() -> None:
    """Here the shipped model is measured."""


@pytest.fixture
def hr(windows: list[np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(np.stack(windows[:2]))[:, None].float() / 255


def psnr(sr: torch.Tensor, hr: torch.Tensor) -> list[float]:
    errors = (sr.clamp(0, 1) - hr).double().square().mean(dim=(1, 2, 3))
    return [-10 * math.log10(float(error)) for error in errors]


def test_the_shipped_model_is_measured_as_it_enhances(hr: torch.Tensor) -> None:
    interpolated, shipped = find_baselines(BY_FOUR, "cpu")
    assert (interpolated.name, shipped.name) == ("bicubic", "latentsr-tiny")
    model = latentsr.SuperResolver.load("latentsr-tiny", device="cpu")
    assert shipped.hash == model.hash
    assert shipped.about.endswith("trained on brain-mri, chest-xray, marked, marked1, marked2 and natural")
    lr = BY_FOUR.apply(hr)
    for one, sr in ((interpolated, bicubic(BY_FOUR).restore(lr, ["a", "b"]).image),
                    (shipped, model.restore(lr, ids=["a", "b"]).image)):  # fmt: skip
        found = measured_baseline(hr, ["a", "b"], one.method, BY_FOUR)
        assert list(found["values"][:, 0]) == pytest.approx(psnr(sr, hr), abs=1e-4)


@pytest.mark.parametrize("degradation", ["bicubic:2", "lanczos:4"])
def test_a_model_made_for_another_degradation_is_not_measured(degradation: str) -> None:
    assert [one.name for one in find_baselines(parse_degradation(degradation), "cpu")] == ["bicubic"]


def test_sides_that_the_scale_does_not_divide_are_cut_and_too_small_ones_have_no_value(hr: torch.Tensor) -> None:
    for one in find_baselines(BY_FOUR, "cpu"):
        odd = measured_baseline(hr[:1, :, :66, :99], ["a"], one.method, BY_FOUR)["values"]
        assert odd == pytest.approx(measured_baseline(hr[:1, :, :64, :96], ["a"], one.method, BY_FOUR)["values"])
        assert np.isnan(measured_baseline(hr[:1, :, :3, :9], ["a"], one.method, BY_FOUR)["values"]).all()


def test_tables_record_and_words_hold_what_was_measured(
    dataset: Dataset, pooling: type, tmp_path: Path, made: Callable, of: Callable
) -> None:
    told = made(dataset, of(pooling(2)), tmp_path)
    table = read_table(tmp_path / "table.parquet").set_index(["method", "metric"])["value"]
    rows = {row["method"]: row for row in told["baselines"]}
    assert list(rows) == ["bicubic", "latentsr-tiny"] == list(told["baseline_methods"])
    assert rows.keys() == set(read_table(tmp_path / "baselines.parquet")["method"])
    for name, row in rows.items():
        assert len(table[name, "psnr"]) == row["n"] == 5
        assert row["low"] < row["mean"] < row["high"]
    measured = next(text for text in told["verdict"] if text.startswith("Measured on the same images"))
    expected = told["expected"][0]["expected"]
    assert f"latentsr-tiny {rows['latentsr-tiny']['mean']:.1f} dB [" in measured
    assert f"({rows['latentsr-tiny']['mean'] - expected:+.1f} dB)" in measured


def test_another_model_or_degradation_is_another_screening(dataset: Dataset, pooling: type, of: Callable) -> None:
    plan = plan_screening([dataset], of(pooling(2)), Screening())
    interpolated, shipped = plan.baselines
    assert replace(plan, baselines=(interpolated, replace(shipped, hash="other"))).key != plan.key
    assert plan.images == 5 * 3
