"""The demo on a tiny model with made-up weights: what it writes, where its images lie, whose files it replaces."""

import json
from pathlib import Path

import numpy as np
import pydicom
import pytest
import torch

from latentsr.autoencoders import load_autoencoder
from latentsr.demo import LR, MARK, MEAN, OWN, PANEL, TRUTH, DemoResult, run_demo
from latentsr.diffusion.denoiser import Denoiser, DenoiserSpec
from latentsr.diffusion.latents import LatentSpace, Statistics
from latentsr.errors import OptionError, StaleError
from latentsr.upscalers.model import SuperResolver, save_model
from latentsr.upscalers.restorer import ModelConfig


@pytest.fixture(scope="module")
def resolver(tmp_path_factory: pytest.TempPathFactory) -> SuperResolver:
    spec = DenoiserSpec(latent_channels=16, condition_channels=1, channels=(8, 16), layers=1, groups=4)
    statistics = {
        "residual": Statistics(mean=(0.0,) * 16, sd=(0.02,) * 16),
        "pixels": Statistics(mean=(0.0,), sd=(1.0,)),
    }
    config = ModelConfig(
        name="made-up",
        degradation="bicubic:4",
        autoencoder="haar",
        autoencoder_hash=load_autoencoder("haar", device="cpu").hash,
        denoiser=spec,
        space=LatentSpace(conditions=("pixels",), target="residual", statistics=statistics),
        objective="x0",
        schedule="cosine",
        solver="dpm++",
    )
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("model") / "made-up"
    save_model(folder, config, Denoiser(spec).state_dict(), card="Research use only.")
    return SuperResolver.load(folder, device="cpu")


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo") / "demo"


@pytest.fixture(scope="module")
def result(resolver: SuperResolver, out: Path) -> DemoResult:
    return run_demo(out, resolver, steps=2, samples=2)


def _geometry(path: Path) -> list[np.ndarray]:
    image = pydicom.dcmread(path)
    keywords = ("PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient")
    return [np.array(image[keyword].value, float) for keyword in keywords]


def test_all_of_its_files_are_there(result: DemoResult, out: Path) -> None:
    assert {path.name for path in result.files} == set(OWN)
    assert {path.name for path in out.iterdir()} == {*OWN, MARK}
    assert result.panel == out / PANEL
    assert json.loads((out.parent / "demo.run" / "run.json").read_text())["files"][0]["output"] == "MR_small.dcm"


def test_the_small_image_is_enlarged_as_bar_3_says(result: DemoResult, out: Path) -> None:
    image = pydicom.dcmread(out / "MR_small.dcm")
    assert (image.Rows, image.Columns, image.SyntheticData) == (256, 256, "YES")
    np.testing.assert_allclose(np.array(image.PixelSpacing, float), 0.078125)
    expected = np.array([-83.9063, -91.2, 6.6406]) - 0.375 * 0.3125 * np.array([1, 1, 0])
    np.testing.assert_allclose(np.array(image.ImagePositionPatient, float), expected, atol=1e-6)
    assert result.enhanced.status == "written"


def test_the_restored_image_lies_where_the_truth_lies(result: DemoResult, out: Path) -> None:
    for found, expected in zip(_geometry(out / MEAN), _geometry(out / TRUTH), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-6)
    coarse, fine = (pydicom.dcmread(out / name) for name in (LR, TRUTH))
    assert (coarse.Rows, fine.Rows) == (72, 288)
    assert coarse.ImageType[0] == fine.ImageType[0] == "DERIVED"


def test_the_table_compares_with_the_truth(result: DemoResult) -> None:
    methods = [row.method for row in result.table]
    assert methods == ["bicubic", "posterior mean", "one sample", "mean of 2 samples"]
    bicubic, mean, *_ = result.table
    assert bicubic.psnr == pytest.approx(31.19, abs=0.02)
    assert bicubic.sharpness == pytest.approx(0.135, abs=0.005)
    assert 0 < bicubic.haarpsi < 1
    assert bicubic.lr_psnr < 45 < 55 < mean.lr_psnr


def test_a_second_run_makes_the_same(result: DemoResult, resolver: SuperResolver, out: Path) -> None:
    before = {path.name: path.read_bytes() for path in result.files}
    (out / "notes.txt").write_text("mine")
    calls: list[tuple[int, int]] = []
    again = run_demo(out, resolver, steps=2, samples=2, progress=lambda done, total: calls.append((done, total)))
    assert again.table == result.table
    assert [name for name, content in before.items() if (out / name).read_bytes() != content] == []
    assert (out / "notes.txt").read_text() == "mine"
    assert calls[0] == (0, 8)
    assert calls[-1] == (8, 8)


def test_foreign_files_are_left_alone(resolver: SuperResolver, tmp_path: Path) -> None:
    (tmp_path / PANEL).write_text("mine")
    with pytest.raises(StaleError, match=r"panel\.png is of no demo"):
        run_demo(tmp_path, resolver, steps=2, samples=2)
    assert [path.name for path in tmp_path.iterdir()] == [PANEL]


def test_a_spread_needs_two(resolver: SuperResolver, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="two or more of both"):
        run_demo(tmp_path / "demo", resolver, steps=1, samples=4)
    assert not (tmp_path / "demo").exists()
