"""Subgroups of an evaluation by a column of the datasets: what is compared, what is refused, what run.json says."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from latentsr.bench.evaluation import Comparison, compare
from latentsr.bench.evaluation_plan import MOST, image_groups
from latentsr.config import read_json
from latentsr.data.records import Dataset, write_dataset
from latentsr.errors import OptionError, StaleError
from latentsr.stats.comparison import compare_subgroups

PAIR = ("bicubic+projection", "bicubic")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory, make_dataset: Callable[..., Dataset]) -> Dataset:
    """Fourteen images of patients of their own from two scanners; of one no scanner is known; the age is each one's."""
    root, rng = tmp_path_factory.mktemp("groups"), np.random.default_rng(0)
    images = [
        np.kron(rng.integers(40, 200, (4, 4), np.uint8), np.ones((8, 8), np.uint8))
        + rng.integers(0, 40, (32, 32), np.uint8)
        for _ in range(2 * MOST + 1)
    ]
    plain = make_dataset(root / "set", images, [f"p{n}" for n in range(len(images))], "blocks")
    scanners = ["", *("Acme", "Other") * MOST]
    records = [
        replace(record, attributes={"scanner": scanner, "age": str(number)}, split="valid" if number < 15 else "test")
        for number, (record, scanner) in enumerate(zip(plain.records, scanners, strict=True))
    ]
    return write_dataset(root / "set", "blocks", records, {})


def asked(by: str | None, **options: object) -> Comparison:
    metrics = ("psnr", "haarpsi", "ssim", "mae")
    return Comparison(
        methods=("bicubic+projection",), **{"metrics": metrics, "by": by, "device": "cpu", "workers": 0, **options}
    )


def test_the_main_measures_and_the_primary_one_are_compared_in_each_group(dataset: Dataset, tmp_path: Path) -> None:
    compare([dataset.root], tmp_path / "out", asked("scanner", primary="bicubic+projection:mae"))
    found, table = (pd.read_parquet(tmp_path / "out" / f"{name}.parquet") for name in ("subgroups", "table"))
    groups = image_groups(dataset.select("valid"), "scanner")
    chosen = table[table["metric"].isin(["psnr", "haarpsi", "mae"])]
    expected = compare_subgroups(chosen, {"blocks": groups}, pairs=[PAIR])
    pd.testing.assert_frame_equal(found, expected, check_dtype=False)
    assert found.groupby("group")["n"].unique().map(list).to_dict() == {"Acme": [7], "Other": [7]}
    run = read_json(tmp_path / "out" / "run.json")
    assert run["by"] == "scanner"
    assert run["datasets"]["blocks"]["ungrouped"] == 1
    assert run["datasets"]["blocks"]["shared_patients"] == 0
    assert "subgroups" in run["tables"]


def test_another_column_is_another_evaluation(dataset: Dataset, tmp_path: Path) -> None:
    compare([dataset.root], tmp_path / "out", asked(None))
    assert not (tmp_path / "out" / "subgroups.csv").exists()
    with pytest.raises(StaleError, match="another evaluation"):
        compare([dataset.root], tmp_path / "out", asked("scanner"))


def test_a_dataset_without_the_column_has_no_groups(
    dataset: Dataset, tmp_path: Path, make_dataset: Callable[..., Dataset]
) -> None:
    images = [np.random.default_rng(seed).integers(0, 255, (32, 32), np.uint8) for seed in range(2)]
    plain = make_dataset(tmp_path / "plain", images, ["p0", "p1"], "plain")
    compare([dataset, plain], tmp_path / "out", asked("scanner"))
    assert set(pd.read_parquet(tmp_path / "out" / "subgroups.parquet")["dataset"]) == {"blocks"}
    assert read_json(tmp_path / "out" / "run.json")["datasets"]["plain"]["ungrouped"] == 2


@pytest.mark.parametrize(
    ("by", "split", "told"),
    [
        ("sex", "valid", "the option by is sex: no such column in the datasets; there are scanner, age$"),
        (
            "age",
            "test",
            f"the option by is age: {2 * MOST + 1 - 15} values in dataset 'blocks'; expected groups, at most",
        ),
    ],
)
def test_a_column_that_makes_no_groups_is_refused_before_any_work(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str, split: str, told: str
) -> None:
    monkeypatch.setattr("latentsr.bench.evaluation_plan.parse_method", lambda *given, **options: pytest.fail("a model"))
    with pytest.raises(OptionError, match=told) as caught:
        compare([dataset.root], tmp_path / "out", asked(by, split=split))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()
