"""Latents that samplers drew, kept and measured, and what restoring took."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn.functional import adaptive_avg_pool2d

from latentsr.bench.evaluation import Comparison, compare
from latentsr.config import read_json
from latentsr.data.records import Dataset
from latentsr.degrade import parse_degradation
from latentsr.errors import OptionError
from latentsr.io.raster import write_pixels
from latentsr.metrics.fidelity import SCALES
from latentsr.upscalers import Sampling
from latentsr.upscalers.model import SuperResolver

OPTIONS = {"metrics": ("psnr",), "device": "cpu", "batch": 2, "workers": 0}


@pytest.fixture(scope="module")
def methods(
    dataset: Dataset, lossy_model_folders: tuple[Path, ...], tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, ...]:
    """Of one model a sample, the posterior mean and the mean of two samples; images from files."""
    model, files = lossy_model_folders[0], tmp_path_factory.mktemp("files")
    for record in dataset.records:
        write_pixels(files / f"{record.id}.png", np.round(dataset.image(record) * 60000).astype(np.uint16))
    return f"sample={model}?steps=3", f"mean={model}", f"several={model}?samples=2&steps=2", f"files={files}"


@pytest.fixture(scope="module")
def out(dataset: Dataset, methods: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("latents") / "out"
    compare([dataset.root], out, Comparison(methods=methods, **OPTIONS, keep_latents=True))
    return out


def kept(out: Path, dataset: Dataset) -> dict[str, bytes]:
    root = out / "latents" / dataset.name
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*.npy")}


def test_kept_latents_are_the_samplers_own(out: Path, dataset: Dataset, lossy_model_folders: tuple[Path, ...]) -> None:
    model = SuperResolver.load(lossy_model_folders[0], device="cpu")
    for record in dataset.records:
        lr = parse_degradation("bicubic:4").apply(torch.from_numpy(dataset.image(record))[None, None].double()).float()
        for name, steps in (("sample", 3), ("mean", 1)):
            latents = np.load(out / "latents" / dataset.name / name / f"{record.id}.npy")
            own = model.restore(lr, ids=[record.id], sampling=Sampling(steps=steps)).latents
            assert latents.dtype == np.float32
            np.testing.assert_allclose(latents, own[0], rtol=0, atol=1e-4)
    assert {name.partition("/")[0] for name in kept(out, dataset)} == {"sample", "mean"}
    facts = read_json(out / "run.json")["latents"]
    assert (facts["dtype"], set(facts["methods"])) == ("float32", {"sample", "mean"})
    assert facts["methods"]["mean"]["hash"] == model.autoencoder.hash


def test_they_are_measured_against_hrs_at_every_scale(
    out: Path, dataset: Dataset, lossy_model_folders: tuple[Path, ...]
) -> None:
    """Means of squared differences, cosines and PSNR of average-pooled latents, written out here."""
    table = pd.read_parquet(out / "table.parquet").set_index(["method", "metric", "id"])["value"]
    autoencoder = SuperResolver.load(lossy_model_folders[0], device="cpu").autoencoder
    for record in dataset.records[:2]:
        truth = autoencoder.encode(2 * torch.from_numpy(dataset.image(record))[None, None] - 1)
        drawn = torch.from_numpy(np.load(out / "latents" / dataset.name / "sample" / f"{record.id}.npy"))[None]
        assert drawn.shape == truth.shape
        for scale in SCALES:
            found = [table["sample", f"sampled_{name}/{scale}", record.id] for name in ("mse", "cosine", "psnr")]
            if scale > min(truth.shape[-2:]):
                assert np.isnan(found).all()
                continue
            drawn, truth = (adaptive_avg_pool2d(one.double(), scale) for one in (drawn, truth))
            a, b = drawn.flatten(), truth.flatten()
            mse = float((a - b).square().mean())
            expected = (
                mse,
                float(a @ b / (a.norm() * b.norm())),
                float(20 * b.abs().max().log10()) - 10 * np.log10(mse),
            )
            assert found == pytest.approx(expected, rel=2e-3)
    assert {"several", "files", "bicubic"}.isdisjoint({key[0] for key in table.index if "sampled" in key[1]})
    assert not any("sampled" in name for name in pd.read_parquet(out / "comparisons.parquet")["metric"])


def test_what_restoring_took(out: Path, dataset: Dataset) -> None:
    cost = pd.read_parquet(out / "cost.parquet").set_index("method")
    model = {"sample": 4, "mean": 1, "several": 5}  # the posterior mean and the steps of each sample
    assert cost["evaluations"].dropna().to_dict() == {"bicubic": 0, **model}
    assert (cost["seconds"].drop("files") > 0).all()
    assert np.isnan(cost.loc["files", "seconds"])
    assert set(cost["batch"]) == {2}
    assert set(cost["device"]) == {"cpu"}


def test_an_interrupted_run_keeps_the_same(
    out: Path, dataset: Dataset, methods: tuple[str, ...], tmp_path: Path
) -> None:
    def stop(done: int, total: int) -> None:
        if done:
            raise KeyboardInterrupt

    asked = Comparison(methods=methods, **OPTIONS, keep_latents=True)
    with pytest.raises(KeyboardInterrupt):
        compare([dataset.root], tmp_path / "out", asked, progress=stop)
    assert 0 < len(kept(tmp_path / "out", dataset)) < len(kept(out, dataset))
    compare([dataset.root], tmp_path / "out", asked)
    assert kept(tmp_path / "out", dataset) == kept(out, dataset)
    for name in ("table", "summary", "comparisons"):
        found, expected = (pd.read_parquet(folder / f"{name}.parquet") for folder in (tmp_path / "out", out))
        pd.testing.assert_frame_equal(found, expected)
    compare([dataset.root], tmp_path / "out", Comparison(methods=(), **OPTIONS), overwrite=True)
    assert not (tmp_path / "out" / "latents").exists()
    assert "latents" not in read_json(tmp_path / "out" / "run.json")


@pytest.mark.parametrize("name", ["a/b", "..", "several"])
def test_methods_whose_latents_cannot_be_kept_are_refused(
    dataset: Dataset, lossy_model_folders: tuple[Path, ...], tmp_path: Path, name: str
) -> None:
    options = "?samples=2&steps=2" if name == "several" else ""
    asked = Comparison(methods=(f"{name}={lossy_model_folders[0]}{options}",), **OPTIONS, keep_latents=True)
    with pytest.raises(OptionError, match="no method is a model" if options else "no name of a folder"):
        compare([dataset.root], tmp_path / "out", asked)
    assert not (tmp_path / "out").exists()


def test_the_command_keeps_them(
    run: Callable, dataset: Dataset, lossy_model_folders: tuple[Path, ...], tmp_path: Path
) -> None:
    done = run(
        "evaluate", dataset.root, "--method", f"mine={lossy_model_folders[0]}", "--metric", "psnr", "--keep-latents",
        "--limit", 1, "-o", tmp_path / "out", "--device", "cpu",
    )  # fmt: skip
    assert done.status == 0, done.err
    assert len(kept(tmp_path / "out", dataset)) == 1
