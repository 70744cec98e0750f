"""What is said of methods as given: trained on what is measured, 8 bits, equal, failing on patients, on a grid."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray

from latentsr.bench.cautions import method_cautions
from latentsr.bench.evaluation import Comparison, compare
from latentsr.config import read_json
from latentsr.data.duplicates import pixel_digest
from latentsr.data.records import Dataset
from latentsr.degrade import parse_degradation
from latentsr.io.raster import read_pixels, write_pixels
from latentsr.stats.significance import judge
from latentsr.stats.table import COLUMNS, short_hash
from latentsr.upscalers import bicubic
from latentsr.upscalers.model import SuperResolver, save_model


def given(dataset: Dataset, folder: Path, dtype: type) -> Path:
    """HR with some noise, in 8 or 16 bits."""
    rng = np.random.default_rng(3)
    for record in dataset.select("valid"):
        hr = dataset.image(record) + rng.normal(0, 0.01, (record.rows, record.columns))
        write_pixels(folder / f"{record.id}.png", np.round(hr.clip(0, 1) * np.iinfo(dtype).max).astype(dtype))
    return folder


def told(dataset: Dataset, out: Path, *methods: str) -> str:
    compare([dataset.root], out, Comparison(methods=methods, metrics=("psnr", "mae"), device="cpu", workers=0))
    return " ".join(read_json(out / "run.json")["cautions"])


@pytest.mark.parametrize(("dtype", "warned"), [(np.uint8, True), (np.uint16, False)])
def test_images_of_8_bits_are_told(dataset: Dataset, tmp_path: Path, dtype: type, warned: bool) -> None:
    folder = given(dataset, tmp_path / "sr", dtype)
    assert ("the images of 'mine' have 8 bits" in told(dataset, tmp_path / "out", f"mine={folder}")) == warned


def test_one_image_of_8_bits_among_others_counts(dataset: Dataset, tmp_path: Path) -> None:
    folder = given(dataset, tmp_path / "sr", np.uint16)
    path = next(folder.glob("*.png"))
    write_pixels(path, (read_pixels(path) >> 8).astype(np.uint8))
    assert "the images of 'mine' have 8 bits" in told(dataset, tmp_path / "out", f"mine={folder}")


def test_two_methods_that_are_the_same_are_told(dataset: Dataset, tmp_path: Path) -> None:
    folder = given(dataset, tmp_path / "sr", np.uint16)
    shutil.copytree(folder, tmp_path / "copy")
    said = told(dataset, tmp_path / "out", f"mine={folder}", f"twin={tmp_path / 'copy'}")
    assert "methods 'mine' and 'twin' are the same in every value" in said
    assert "'bicubic' and" not in said
    path = next((tmp_path / "copy").glob("*.png"))
    write_pixels(path, read_pixels(path) // 2)
    assert "are the same" not in told(dataset, tmp_path / "other", f"mine={folder}", f"twin={tmp_path / 'copy'}")


def test_images_that_a_model_was_trained_on_are_told(dataset: Dataset, model_folder: Path, tmp_path: Path) -> None:
    model = SuperResolver.load(model_folder, device="cpu")
    first, second, *_ = (pixel_digest(dataset.pixels(record)) for record in dataset.records)
    for name, images in (("seen", (first, "0" * 16, second)), ("unseen", ("0" * 16,))):
        weights = model.denoiser.state_dict()
        save_model(tmp_path / name, model.config, weights, card="", training_images=images)
    methods = (f"post={tmp_path / 'seen'}", f"one={tmp_path / 'seen'}?steps=2", f"new={tmp_path / 'unseen'}")
    compare([dataset.root], tmp_path / "out", Comparison(methods=methods, metrics=("psnr",), device="cpu", workers=0))
    (warning,) = [one for one in read_json(tmp_path / "out" / "run.json")["warnings"] if "used to train" in one]
    assert read_json(tmp_path / "out" / "run.json")["measured_in_training"]
    assert warning.startswith("2 of 5 images of 'abdomen' were used to train the model of 'post', 'one': ")


def failing(gains: dict[str, np.ndarray], images: int = 2) -> list[str]:
    """What is told of methods with these gains over bicubic in dB, a value a patient, of so many images each."""
    rows = []
    for method, values in ({"bicubic": np.zeros(len(next(iter(gains.values()))))} | gains).items():
        for number in range(len(values) * images):
            patient = number // images
            psnr = 30 + number + values[patient] + 0.01 * (-1) ** number * (method != "bicubic")
            rows.append(("set", f"i{number:03d}", f"p{patient:02d}", method, "psnr", psnr))
    methods = [SimpleNamespace(name=name, bits=None) for name in ("bicubic", *gains)]
    work = SimpleNamespace(dataset=SimpleNamespace(name="set"), methods=methods)
    return [one for one in method_cautions([work], pd.DataFrame(rows, columns=list(COLUMNS))) if "fails" in one]


def spread(n: int, mean: float = 1.0) -> np.ndarray:
    """Gains of n patients that spread evenly over 1 dB."""
    return mean + np.linspace(-0.5, 0.5, n)


@pytest.mark.parametrize(
    ("good", "bad"), [(spread(4), [-8.0]), (spread(6), [-8.0, -7.0]), (spread(12), [-3.0]), (spread(6), [-8.0] * 4)]
)
def test_patients_that_a_method_fails_on_are_told(good: np.ndarray, bad: list[float]) -> None:
    """One of them or a third, whose mean over all is above bicubic's or not."""
    (told,) = failing({"mine": np.array([*good, *bad]), "even": np.array([*good, *good[: len(bad)]])})
    n = len(good) + len(bad)
    means = [f"{value:+.2f}" for value in (np.mean(bad), good.mean(), np.mean([*good, *bad]))]
    assert told == (
        f"On 'set' method 'mine' fails on {len(bad)} of {n} patients, far outside the others: PSNR {means[0]} dB "
        f"against bicubic there, {means[1]} dB on the others, {means[2]} dB on all. Look at these images before using "
        "it."
    )


@pytest.mark.parametrize(
    "gains",
    [
        spread(12, mean=-8.0),  # worse on all
        np.array([*spread(12, mean=12.0), 3.0]),  # far below the others, and still better than bicubic
        np.array([*np.full(12, 1.0), 0.8]),  # others without any spread
        np.array([*np.full(12, -3.0), -3.4]),
        np.array([*spread(3), -8.0]),  # too few to be outside of
        np.array([*spread(6), np.inf, np.nan, -np.inf]),  # identical to HR; none; bicubic's identical to HR
    ],
)
def test_no_failure_is_told_of(gains: np.ndarray) -> None:
    assert failing({"mine": gains}) == []


@pytest.mark.parametrize(("patients", "most"), [(5, 0.075), (10, 0.025), (20, 0.01)])
def test_patients_of_normal_spread_are_seldom_called_failures(patients: int, most: float) -> None:
    """300 studies of each size, mean -1 dB and sd 1 dB so that most are below bicubic: told in 5.3, 1.0 and 0.3 %."""
    studies = np.random.default_rng(patients).normal(-1, 1, size=(60, 5, patients))
    told = sum(len(failing({f"study{n}": gains for n, gains in enumerate(five)}, images=1)) for five in studies)
    assert told <= most * 300


def test_a_terrible_patient_of_a_study_shows_in_cautions_comparisons_and_pictures(
    dataset: Dataset, make_dataset: Callable[..., Dataset], tmp_path: Path
) -> None:
    """Eight patients of two images: method `mine` has +1 dB over bicubic on seven and -8 dB on one, `even` -1 dB."""
    pixels = [
        read_pixels(dataset.root / one.file)[:, k : k + 64] for one in dataset.records[:4] for k in (0, 40, 80, 120)
    ]
    study = make_dataset(tmp_path / "set", pixels, [f"p{number // 2}" for number in range(16)], "study")
    degradation, rng = parse_degradation("bicubic:4"), np.random.default_rng(0)
    for number, record in enumerate(study.records):
        hr = torch.from_numpy(study.image(record))[None, None]
        error = bicubic(degradation).restore(degradation.apply(hr), [record.id]).image.clamp(0, 1) - hr
        gains = {"mine": -8.0 if number // 2 == 5 else 1 + rng.normal(0, 0.2), "even": -1 + rng.normal(0, 0.2)}
        for name, gain in gains.items():
            sr = (hr + error * 10 ** (-gain / 20)).clamp(0, 1)[0, 0].numpy()
            write_pixels(tmp_path / name / f"{record.id}.png", np.round(sr * 65535).astype(np.uint16))
    methods = tuple(f"{name}={tmp_path / name}" for name in ("even", "mine"))
    out = tmp_path / "out"
    compare([study.root], out, Comparison(methods=methods, metrics=("psnr",), device="cpu", workers=0))
    run = read_json(out / "run.json")
    (told,) = [one for one in run["cautions"] if "fails on" in one]
    assert re.match(r"On 'study' method 'mine' fails on 1 of 8 patients, .*: PSNR -[78]\.\d\d dB against bicubic", told)
    rows = pd.read_parquet(out / "comparisons.parquet").query("unit == 'patient' and b == 'bicubic'").set_index("a")
    mine, even = rows.loc["mine"], rows.loc["even"]
    assert judge(mine, "higher") == "open"
    assert judge(even, "higher") == "worse"
    assert (mine["units_below"], mine["images_below"], even["units_below"]) == (1, 2, 8)
    assert mine["least"] == pytest.approx(-8, abs=0.5)
    assert (mine["loo_low"], mine["loo_high"]) == pytest.approx((-0.5, 1), abs=0.25)
    assert even["loo_high"] < -0.8
    cases = {
        reason["method"]: case for case in run["pictures"]["cases"] for reason in case["reasons"]
        if reason["case"] == "loss"
    }  # fmt: skip
    assert set(cases) == {"mine", "even"}
    assert cases["mine"]["image"] in [short_hash("study", one.id) for one in study.records[10:12]]
    assert cases["mine"]["psnr"]["mine"] < cases["mine"]["psnr"]["bicubic"] - 7
    assert (out / "pictures" / cases["mine"]["image"] / "2-error.png").is_file()


def repeated(image: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean of each 2x2 block in all its pixels."""
    rows, columns = image.shape
    means = image.reshape(rows // 2, 2, columns // 2, 2).mean(axis=(1, 3))
    return means.repeat(2, axis=0).repeat(2, axis=1)


def noise(image: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.random.default_rng(5).normal(0, 0.05, image.shape)


# HR shown dimmer, so that nothing is cut off at 0 and 1, with noise of every kind.
PLANTED: dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "locked": lambda hr: hr + noise(hr) - repeated(noise(hr)),
    "off": lambda hr: hr + np.roll(noise(hr) - repeated(noise(hr)), 1, axis=(0, 1)),
    "repeated": repeated,
    "grainy": lambda hr: hr + noise(hr),
    "dim": lambda hr: hr,
}


def compare_planted(dataset: Dataset, folder: Path, *names: str, degradation: str) -> tuple[pd.Series, list[str]]:
    """The mean blockiness by method, and the cautions."""
    for name in names:
        for record in dataset.select("valid"):
            image = PLANTED[name](0.25 + 0.5 * dataset.image(record).astype(np.float64))
            write_pixels(folder / name / f"{record.id}.png", np.round(image * 65535).astype(np.uint16))
    methods = tuple(f"{name}={folder / name}" for name in names)
    asked = Comparison(methods=methods, degradation=degradation, metrics=("blockiness",), device="cpu", workers=0)
    compare([dataset.root], folder / "out", asked)
    summary = pd.read_parquet(folder / "out" / "summary.parquet")
    means = summary[summary["metric"] == "blockiness"].set_index("method")["mean"]
    return means, read_json(folder / "out" / "run.json")["cautions"]


def test_detail_locked_to_a_grid_is_told(dataset: Dataset, tmp_path: Path) -> None:
    means, said = compare_planted(dataset, tmp_path, *PLANTED, degradation="bicubic:4")
    named = [re.match(r"Method '(\w+)' on 'abdomen' (.*) a fixed grid of 2x2 pixels", one) for one in said]
    kinds = {match[1]: match[2] for match in named if match}
    assert kinds == {"locked": "draws its detail on", "off": "shows", "repeated": "shows"}
    values = f"(squared differences inside blocks {means['locked']:.2f} times those across, HR {means['hr']:.2f})"
    assert values in " ".join(said)


def test_pixels_of_lr_are_no_grid(dataset: Dataset, tmp_path: Path) -> None:
    """Enlarged by 2, an image has little inside the blocks: bicubic too."""
    means, said = compare_planted(dataset, tmp_path, "locked", "repeated", degradation="bicubic:2")
    assert means["repeated"] < means["bicubic"] < 0.75 * means["hr"]
    assert [one.split("'")[1] for one in said if "fixed grid" in one] == ["locked"]
