"""The study's own scores beside the corrected ones: one defect at a time, against formulas written out here."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import wilcoxon
from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

from latentsr.bench.evaluation import Comparison, compare
from latentsr.config import read_json
from latentsr.data.records import Dataset
from latentsr.degrade import parse_degradation
from latentsr.metrics.fidelity import self_ms_ssim
from latentsr.stats.comparison import compare_as_published
from latentsr.upscalers import Sampling
from latentsr.upscalers.model import SuperResolver

STEPS = "steps=3&consistency=false"


@pytest.fixture(scope="module")
def out(dataset: Dataset, lossy_model_folders: tuple[Path, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    few, _, many = lossy_model_folders
    out = tmp_path_factory.mktemp("published") / "out"
    methods = (f"few={few}?{STEPS}", f"many={many}?{STEPS}")
    compare([dataset.root], out, Comparison(methods=methods, metrics=("psnr",), device="cpu", protocol="published"))
    return out


def psnr(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(-10 * (a.double() - b.double()).square().mean().log10())


def test_scores_are_those_of_the_formulas(out: Path, dataset: Dataset, lossy_model_folders: tuple[Path, ...]) -> None:
    table = pd.read_parquet(out / "table.parquet").set_index(["method", "metric", "id"])["value"]
    model = SuperResolver.load(lossy_model_folders[2], device="cpu")
    autoencoder, operator = model.autoencoder, parse_degradation("bicubic:4")
    for record in dataset.records[:2]:
        hr = torch.from_numpy(dataset.image(record))[None, None]
        lr = operator.apply(hr.double()).float()
        made = model.restore(lr, ids=[record.id], sampling=Sampling(steps=3, consistency=False))
        sr = made.image.clamp(0, 1)
        decoded, again = (
            ((autoencoder.decode(latents, grey=False) + 1) / 2).clamp(0, 1)
            for latents in (made.latents, autoencoder.encode(2 * hr - 1))
        )
        rounded = torch.floor(sr * 255) / 255
        expected = {
            "psnr": psnr(sr, hr),
            "self_psnr": psnr(decoded, again),
            "truncated_psnr": psnr(rounded, hr),
            "truncated_bias": float(rounded.mean() - hr.mean()),
        }
        for name, value in expected.items():
            assert table["many", name, record.id] == pytest.approx(value, abs=2e-3), name
    assert ("bicubic", "self_psnr") not in {key[:2] for key in table.index}


def test_the_self_referential_ms_ssim_is_torchmetrics_over_all_channels() -> None:
    a = torch.nn.functional.avg_pool2d(torch.rand(2, 3, 192, 200), 5, 1, 2)
    b = (a + 0.05 * torch.randn_like(a)).clamp(0, 1)
    for found, one, other in zip(self_ms_ssim(a, b), a, b, strict=True):
        expected = multiscale_structural_similarity_index_measure(one[None], other[None], data_range=1.0)
        assert float(found) == pytest.approx(float(expected), abs=1e-5)


def test_comparisons_are_unpaired_and_one_sided() -> None:
    generator = np.random.default_rng(0)
    second = generator.normal(22.3, 1.55, 120)
    first = second + generator.normal(2.9, 0.5, 120)
    table = pd.DataFrame(
        [
            ("mrnet", str(n), str(n), method, "psnr", value)
            for method, values in (("medvae", first), ("sdvae", second))
            for n, value in enumerate(values)
        ],
        columns=["dataset", "id", "patient", "method", "metric", "value"],
    )
    (row,) = compare_as_published(table, [("medvae", "sdvae")], ["psnr"]).to_dict(orient="records")
    assert row["difference"] == pytest.approx(first.mean() - second.mean())
    half = 1.96 * np.sqrt((first.var(ddof=1) + second.var(ddof=1)) / 120)  # of two independent means
    assert (row["high"] - row["low"]) / 2 == pytest.approx(half, rel=0.05)
    assert row["p_greater"] == pytest.approx(wilcoxon(first, second, alternative="greater").pvalue)
    assert row["p_greater"] == pytest.approx(9.86e-22, rel=0.01)  # the least one-sided p of 120 images
    pooled = np.sqrt((first.var(ddof=1) + second.var(ddof=1)) / 2)
    assert row["d"] == pytest.approx((first.mean() - second.mean()) / pooled)


def test_the_record_says_which_protocol_it_was(out: Path, dataset: Dataset, tmp_path: Path) -> None:
    assert read_json(out / "run.json")["protocol"] == "published"
    assert {"psnr", "self_psnr", "truncated_psnr"} <= set(pd.read_csv(out / "published.csv")["metric"])
    compare([dataset.root], tmp_path / "out", Comparison(methods=(), metrics=("psnr",), device="cpu"))
    assert "protocol" not in read_json(tmp_path / "out" / "run.json")
    assert not (tmp_path / "out" / "published.csv").exists()


def test_the_command_has_the_option(dataset: Dataset, run: Callable, tmp_path: Path) -> None:
    done = run(
        "evaluate", dataset.root, "--method", "bicubic+projection", "--metric", "psnr", "--protocol", "published",
        "-o", tmp_path / "out", "--device", "cpu",
    )  # fmt: skip
    assert done.status == 0, done.err
    text = (tmp_path / "out" / "report" / "report.md").read_text(encoding="utf-8")
    assert "published protocol beside the corrected one" in text
    assert "As published" in text
