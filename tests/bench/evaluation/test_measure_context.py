import math
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio
from torch import Tensor
from torch.nn.functional import interpolate

from latentsr.autoencoders import Autoencoder, AutoencoderSpec, load_autoencoder
from latentsr.bench import measure_dataset
from latentsr.bench.evaluation import Comparison, compare
from latentsr.bench.measure import Surroundings, Work, measured_batches, read_hr_lr
from latentsr.bench.roundtrip import TILE, encode, roundtrip
from latentsr.config import read_json
from latentsr.data.records import Dataset
from latentsr.degrade import enlarge, parse_degradation
from latentsr.errors import ModelError, OptionError
from latentsr.metrics import METRICS, find_metrics, measure
from latentsr.metrics.hallucination import noise_thresholds
from latentsr.upscalers import Method, Restored, Sampling, bicubic

X4 = parse_degradation("bicubic:4")
SPEC = AutoencoderSpec("coarse", "latentsr", "none", "none", 1, 1, 4)


@dataclass
class Coarse:
    """An autoencoder that keeps the mean of each 4x4 block, and counts its runs."""

    hash: str = "a"
    spec: AutoencoderSpec = SPEC
    folder: Path | None = None
    encoded: list[tuple[int, ...]] = field(default_factory=list)
    decoded: list[tuple[int, ...]] = field(default_factory=list)

    def encode(self, images: Tensor) -> Tensor:
        self.encoded.append(tuple(images.shape))
        return images.unfold(2, 4, 4).unfold(3, 4, 4).mean(dim=(-1, -2))

    def decode(self, latents: Tensor) -> Tensor:
        self.decoded.append(tuple(latents.shape))
        return interpolate(latents, scale_factor=4.0)

    def save(self, folder: Path) -> None:
        raise NotImplementedError


def method(name: str, autoencoder: Autoencoder | None, brighter: float = 0.0) -> Method:
    return Method(name, lambda lr, ids: Restored(enlarge(lr, 4) + brighter), autoencoder)


def ceilings(table: pd.DataFrame, name: str) -> pd.Series:
    return table[(table["metric"] == "ceiling_psnr") & (table["method"] == name)].set_index("id")["value"]


def blocks(image: np.ndarray) -> np.ndarray:
    """What Coarse gives back of an image whose sides are multiples of 4."""
    means = image.reshape(image.shape[0] // 4, 4, image.shape[1] // 4, 4).mean(axis=(1, 3))
    return np.kron(means, np.ones((4, 4), np.float32))


def test_the_ceiling_is_the_psnr_of_the_reconstruction_whatever_is_restored(dataset: Dataset) -> None:
    coarse = Coarse()
    table = measure_dataset(
        dataset, [method("good", coarse), method("bright", coarse, 0.3)], X4, metrics=["ceiling_psnr"]
    )
    for record in dataset.records:
        hr = dataset.image(record)
        expected = peak_signal_noise_ratio(hr, blocks(hr), data_range=1.0)
        assert ceilings(table, "good")[record.id] == pytest.approx(expected, rel=1e-5)
    pd.testing.assert_series_equal(ceilings(table, "good"), ceilings(table, "bright"))


def test_each_distinct_autoencoder_runs_once_a_batch(dataset: Dataset) -> None:
    first, same, other = Coarse(), Coarse(), Coarse("b")
    methods = [method(name, one) for name, one in (("a", first), ("b", same), ("c", other))]
    measure_dataset(dataset, methods, X4, metrics=["ceiling_psnr"], batch=2)
    assert sorted(len(one.decoded) for one in (first, same, other)) == [0, 3, 3]  # of five images of two sizes
    assert len(other.encoded) == 3


def test_what_loses_nothing_or_has_no_latent_has_no_ceiling_and_is_not_run(dataset: Dataset) -> None:
    lossless = Coarse("l", replace(SPEC, lossless=True))
    methods = [method("l", lossless), method("haar", load_autoencoder("haar")), bicubic(X4), method("c", Coarse())]
    table = measure_dataset(dataset, methods, X4, metrics=["psnr", "ceiling_psnr"])
    assert set(table.loc[table["metric"] == "ceiling_psnr", "method"]) == {"c"}
    assert not lossless.encoded


def test_no_autoencoder_runs_where_no_ceiling_is_asked_for(dataset: Dataset) -> None:
    coarse = Coarse()
    measure_dataset(dataset, [method("c", coarse)], X4, metrics=["psnr"])
    assert not coarse.encoded


def test_an_image_that_comes_back_whole_has_an_infinite_ceiling() -> None:
    hr = torch.full((1, 1, 8, 8), 0.5)
    decoded = roundtrip(Coarse(), hr)
    assert METRICS["ceiling_psnr"](hr, hr=hr, reconstruction=decoded).tolist() == [math.inf]


def test_sides_that_the_factor_does_not_divide_are_padded_and_cut_again() -> None:
    hr = torch.rand(1, 1, 10, 7)
    coarse = Coarse()
    decoded = roundtrip(coarse, hr)
    assert coarse.encoded == [(1, 1, 12, 8)]
    assert decoded.shape == hr.shape
    np.testing.assert_allclose(decoded[0, 0, :8, :4], blocks(hr[0, 0, :8, :4].numpy()), rtol=1e-5)


def test_a_large_image_is_encoded_and_decoded_in_tiles_as_models_do() -> None:
    assert Sampling().tile == TILE
    hr = torch.rand(1, 1, 600, 528)
    coarse = Coarse("c", replace(SPEC, source="a publisher"))  # of no weights it would be whole
    decoded = roundtrip(coarse, hr)
    assert {shape[-2:] for shape in coarse.encoded} == {(332, 528)}
    assert {shape[-2:] for shape in coarse.decoded} == {(83, 132)}
    np.testing.assert_allclose(decoded[0, 0], blocks(hr[0, 0].numpy()), atol=1e-5)  # it looks at no neighbour: no seam


@pytest.mark.parametrize(("factor", "low", "high"), [(3.0, 0.0, 1.0), (0.5, 0.25, 0.75)])
def test_reconstructions_are_clamped_to_the_range(factor: float, low: float, high: float) -> None:
    class Stretching(Coarse):
        def decode(self, latents: Tensor) -> Tensor:
            return factor * super().decode(latents)

    hr = torch.zeros(1, 1, 8, 8)
    hr[..., 4:] = 1
    decoded = roundtrip(Stretching(), hr)
    assert (float(decoded.min()), float(decoded.max())) == (low, high)


def test_an_autoencoder_that_breaks_is_named() -> None:
    class Broken(Coarse):
        def decode(self, latents: Tensor) -> Tensor:
            return super().decode(latents) / 0

    class Small(Coarse):
        def decode(self, latents: Tensor) -> Tensor:
            return super().decode(latents)[..., 1:]

    with pytest.raises(ModelError, match="coarse: decoded images with NaN or infinity"):
        roundtrip(Broken(), torch.rand(1, 1, 8, 8))
    with pytest.raises(ModelError, match=r"coarse: decoded to \(1, 1, 8, 7\), expected \(1, 1, 8, 8\)"):
        roundtrip(Small(), torch.rand(1, 1, 8, 8))


def test_noise_floor_and_latents_are_those_of_the_autoencoders_asked_for(dataset: Dataset) -> None:
    reference, latent = Coarse("r"), Coarse("l")
    metrics = find_metrics(["noise_floor", "latent_cosine"])
    method = bicubic(X4)
    work = Work(dataset, dataset.records, (method,), metrics, Surroundings(X4, reference, latent))
    for records, found in measured_batches(work, batch=8, device="cpu"):
        hr, lr = read_hr_lr(work, records, "cpu")
        sr = method.restore(lr, []).image.clamp(0, 1)
        context = {
            "hr": hr,
            "threshold": noise_thresholds(roundtrip(reference, hr), hr),
            "hr_latent": encode(latent, hr),
            "sr_latent": encode(latent, sr),
        }
        values = dict(zip(found["bicubic"].names, found["bicubic"].values.T, strict=True))
        for name, expected in measure(metrics, sr, context).items():
            np.testing.assert_allclose(values[name], expected, rtol=1e-6)


def test_latents_are_of_images_in_the_range_of_networks() -> None:
    hr = torch.rand(1, 1, 8, 8)
    np.testing.assert_allclose(encode(Coarse(), hr)[0, 0], 2 * blocks(hr[0, 0].numpy())[::4, ::4] - 1, atol=1e-6)


@pytest.fixture(scope="module")
def out(
    dataset: Dataset, model_folder: Path, lossy_model_folders: tuple[Path, ...],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:  # fmt: skip
    """An evaluation of three models in two lossy latents and of one in a lossless latent."""
    few, _, many = lossy_model_folders
    methods = (f"few={few}", f"again={few}?consistency=false", f"many={many}", f"haar={model_folder}")
    out = tmp_path_factory.mktemp("ceilings") / "out"
    compare([dataset.root], out, Comparison(methods=methods, metrics=("psnr", "ceiling_psnr"), device="cpu"))
    return out


class TestJob:
    """Ceilings of models, from their folders to the tables."""

    def test_each_lossy_model_has_its_autoencoders(self, out: Path, lossy_model_folders: tuple[Path, ...]) -> None:
        table = pd.read_parquet(out / "table.parquet")
        assert set(table.loc[table["metric"] == "ceiling_psnr", "method"]) == {"few", "again", "many"}
        pd.testing.assert_series_equal(ceilings(table, "few"), ceilings(table, "again"))
        assert (ceilings(table, "many") > ceilings(table, "few") + 3).all()
        summary = pd.read_parquet(out / "summary.parquet").set_index(["metric", "method"])
        assert np.isfinite(summary.loc[("ceiling_psnr", "many"), ["mean", "mean_low", "mean_high"]].astype(float)).all()

    def test_a_ceiling_is_not_tested(self, out: Path) -> None:
        tested = set(pd.read_parquet(out / "comparisons.parquet")["metric"])
        assert "psnr" in tested
        assert "ceiling_psnr" not in tested

    def test_the_record_says_which_autoencoder_and_whether_it_loses_anything(self, out: Path) -> None:
        methods = {one["name"]: one for one in read_json(out / "run.json")["methods"]}
        assert methods["haar"]["autoencoder"]["lossless"]
        assert methods["few"]["autoencoder"] == methods["again"]["autoencoder"]
        found = methods["many"]["autoencoder"]
        assert (found["name"], found["channels"], found["factor"], found["lossless"]) == ("autoencoder", 8, 4, False)
        assert "autoencoder" not in methods["bicubic"]

    def test_a_margin_on_a_ceiling_is_refused(self, dataset: Dataset, tmp_path: Path) -> None:
        asked = Comparison(methods=(), device="cpu", margins=(("ceiling_psnr", 1.0),))
        with pytest.raises(OptionError, match="the option margin has ceiling_psnr: will not be measured here"):
            compare([dataset.root], tmp_path / "out", asked)

    def test_without_a_lossy_model_it_is_said_that_there_is_none(self, dataset: Dataset, tmp_path: Path) -> None:
        compare(
            [dataset.root], tmp_path / "out", Comparison(methods=(), metrics=("ceiling_psnr", "psnr"), device="cpu")
        )
        told = read_json(tmp_path / "out" / "run.json")["not_measured"]
        assert "Not measured, since no method is a model whose autoencoder loses anything: AE ceiling." in told
