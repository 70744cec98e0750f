from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from latentsr.data.records import loaded, low_resolution, read_dataset
from latentsr.degrade import enlarge, parse_degradation
from latentsr.diffusion.published import PublishedSampling
from latentsr.metrics.fidelity import psnr
from latentsr.study.design import Design, read_design
from latentsr.study.nodes import Node, before, nodes_of
from latentsr.study.results import DEFECT_COLUMNS, SIGNAL_COLUMNS, signal, text_order, what_defects_cost, write_results
from latentsr.study.runner import DONE, run_study
from latentsr.training.trainer import silent
from latentsr.upscalers import Bicubic, Restored

SMOKE = Path(__file__).resolve().parents[2] / "studies" / "smoke.yaml"
ARMS = ("bicubic", "published", "rms-8")


@pytest.fixture(scope="module")
def made(sources: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Design, dict[str, Any], Path]:
    """The arms of the smoke study that show defects of one sampler, done, and their tables."""
    root, design = tmp_path_factory.mktemp("defects"), read_design(SMOKE, sources=sources)
    ends = {arm: last for arm, last in nodes_of(design).items() if arm in ARMS}
    outcomes = run_study(ends, root, device="cpu", progress=silent)
    assert {outcome.state for outcome in outcomes} == {DONE}
    write_results(design, ends, root)
    return design, ends, root


def test_each_defect_is_a_difference_of_means_over_patients(made: tuple[Design, dict[str, Any], Path]) -> None:
    _, ends, root = made
    defects = pd.read_csv(root / "defects.csv").set_index(["defect", "dataset", "metric"])
    images = pd.read_parquet(root / ends["published"][0].place / "table.parquet")
    means = images.groupby(["method", "metric"])["value"].mean()  # each patient has one image
    row = defects.loc["truncated-sampler", "a", "psnr"]
    assert (row["with"], row["without"]) == pytest.approx((means["few", "psnr"], means["more", "psnr"]))
    assert row["difference"] == pytest.approx(row["with"] - row["without"])
    assert row["low"] <= row["difference"] <= row["high"]
    row = defects.loc["self-score", "a", "psnr"]
    assert (row["with"], row["without"]) == pytest.approx((means["more", "self_psnr"], means["more", "psnr"]))
    assert set(defects.index.get_level_values("defect")) == {"truncated-sampler", "self-score", "mis-pairing"}
    assert list(pd.read_csv(root / "defects.csv").columns) == list(DEFECT_COLUMNS)


def test_mis_paired_images_are_scored_against_others(made: tuple[Design, dict[str, Any], Path]) -> None:
    _, ends, root = made
    node: Node = ends["bicubic"][0]
    dataset = read_dataset(root / node.needs[0].place)
    records = [record for record in dataset.records if record.split == "valid"]
    hr = loaded(dataset, records, "cpu")
    sr = enlarge(low_resolution(dataset, records, parse_degradation("bicubic:4"), hr), 4).clamp(0, 1)
    order = [int(text) for text in sorted(str(number) for number in range(len(records)))]
    defects = pd.read_csv(root / "defects.csv").set_index(["defect", "dataset"])
    row = defects.loc["mis-pairing", dataset.name]
    assert row["with"] == pytest.approx(float(psnr(sr, hr[order]).mean()), abs=1e-4)
    assert row["without"] == pytest.approx(float(psnr(sr, hr).mean()), abs=1e-4)


def test_mis_paired_images_are_restored_once_for_what_decides_them(
    made: tuple[Design, dict[str, Any], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    design, ends, root = made
    restored: list[str] = []
    restore = Bicubic.restore

    def counted(upscaler: Bicubic, lr: torch.Tensor, *, ids: Sequence[str], **given: Any) -> Restored:
        restored.extend(ids)
        return restore(upscaler, lr, ids=ids, **given)

    def defects(**of_second: Any) -> pd.DataFrame:
        first, second = ends["bicubic"]
        nodes = {"bicubic": [first, replace(second, options={**second.options, **of_second})]}
        return what_defects_cost(one, nodes, {"bicubic": images}, root).set_index("dataset")

    monkeypatch.setattr(Bicubic, "restore", counted)
    one = design.model_copy(update={"defects": {"mis-pairing": ("bicubic:mean",)}})
    tables = [pd.read_parquet(root / node.place / "table.parquet") for node in ends["bicubic"]]
    images = pd.concat(tables, ignore_index=True).replace({"method": {"bicubic": "mean"}})
    kept = pd.read_csv(root / "defects.csv").query("defect == 'mis-pairing'").set_index("dataset")
    pd.testing.assert_series_equal(defects()["with"], kept["with"])
    assert restored == []  # since `made` wrote its tables
    changed = defects(degradation="lanczos:4")["with"]
    assert {name[0] for name in restored} == {"b"}
    assert (changed["a"], changed["b"] != kept["with"]["b"]) == (kept["with"]["a"], True)
    next((root / "mis-pairing").glob(f"{ends['bicubic'][0].name}-*.json")).write_text('{"psnr": []}')
    pd.testing.assert_series_equal(defects()["with"], kept["with"])  # altered: made again
    assert {name[0] for name in restored} == {"a", "b"}


def test_images_as_patients_narrow_the_interval() -> None:
    generator, rows = np.random.default_rng(0), []
    for patient in range(8):
        shift = generator.normal()
        for number in range(6):
            value, own = generator.normal(30), (f"{patient}-{number}", str(patient))
            rows.append(("d", *own, "x", "psnr", value + shift + generator.normal(scale=0.1)))
            rows.append(("d", *own, "y", "psnr", value))
    images = {"one": pd.DataFrame(rows, columns=["dataset", "id", "patient", "method", "metric", "value"])}
    design = Design.model_validate({
        "name": "d", "datasets": {"d": {}}, "defects": {"images-as-patients": ["one:x", "one:y"]},
        "arms": {"one": {"datasets": ["d"], "upscaler": "bicubic", "samplings": {"x": {}, "y": {}}}},
    })  # fmt: skip
    found = what_defects_cost(design, {}, images, Path()).set_index("metric")
    assert list(found.index) == ["psnr width of interval", "psnr p"]
    assert 1.5 < found.loc["psnr width of interval", "without"] / found.loc["psnr width of interval", "with"] < 4
    assert list(found["n_patients"]) == [8, 8]
    assert what_defects_cost(design, {}, {}, Path()).empty


@pytest.mark.parametrize(("steps", "snr"), [(16, 0.0005), (50, 0.006), (100, 0.024), (250, 0.17), (500, 0.97)])
def test_the_signal_where_the_cosine_table_is_left(steps: int, snr: float) -> None:
    alpha = PublishedSampling(table="cosine").last_alpha(steps)
    assert alpha / (1 - alpha) == pytest.approx(snr, rel=0.2)


def test_the_signal_of_scaled_latents(made: tuple[Design, dict[str, Any], Path]) -> None:
    _, ends, root = made
    measured = {arm: ends[arm] for arm in ARMS}
    table = signal(measured, root).set_index(["arm", "sampling"])
    assert list(signal(measured, root).columns) == list(SIGNAL_COLUMNS)
    assert set(table.index) == {(arm, sampling) for arm in ("published", "rms-8") for sampling in ("few", "more")}
    raw, scaled = table.loc["published", "more"], table.loc["rms-8", "more"]
    assert scaled["latent_rms"] == pytest.approx(8)
    assert scaled["snr"] / raw["snr"] == pytest.approx((8 / raw["latent_rms"]) ** 2)
    cache = next(node for node in before(ends["published"]) if node.step == "encode")
    latents = np.concatenate([np.load(path).ravel() for path in (root / cache.place / "train").glob("hr*.npy")])
    assert raw["latent_rms"] == pytest.approx(float(np.sqrt(np.mean(latents.astype(float) ** 2))), rel=1e-4)


def test_names_without_zeros_are_paired_in_the_order_of_text() -> None:
    assert text_order(10) == list(range(10))
    assert [f"hr_{number}.png" for number in text_order(21)] == sorted(f"hr_{number}.png" for number in range(21))
    assert text_order(21)[:4] == [0, 1, 10, 11]
