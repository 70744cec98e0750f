"""What is said of methods as given: trained on what is measured, 8 bits, two that are equal, detail on a grid."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from latentsr.config import read_json
from latentsr.data.duplicates import pixel_digest
from latentsr.data.records import Dataset
from latentsr.evaluation.job import Comparison, compare
from latentsr.io.raster import read_pixels, write_pixels
from latentsr.superres import SuperResolver, save_model


def given(dataset: Dataset, folder: Path, dtype: type) -> Path:
    """HR with some noise, in 8 or 16 bits."""
    rng = np.random.default_rng(3)
    for record in dataset.select("valid"):
        hr = dataset.image(record) + rng.normal(0, 0.01, (record.rows, record.columns))
        write_pixels(folder / f"{record.id}.png", np.round(hr.clip(0, 1) * np.iinfo(dtype).max).astype(dtype))
    return folder


def told(dataset: Dataset, out: Path, *methods: str) -> str:
    compare([dataset.root], out, Comparison(methods, metrics=("psnr", "mae"), device="cpu", workers=0))
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
        weights = model.restorer.denoiser.state_dict()
        save_model(tmp_path / name, model.config, weights, card="", training_images=images)
    methods = (f"post={tmp_path / 'seen'}", f"one={tmp_path / 'seen'}?steps=2", f"new={tmp_path / 'unseen'}")
    compare([dataset.root], tmp_path / "out", Comparison(methods, metrics=("psnr",), device="cpu", workers=0))
    (warning,) = [one for one in read_json(tmp_path / "out" / "run.json")["warnings"] if "used to train" in one]
    assert warning.startswith("2 of 5 images of 'abdomen' were used to train the model of 'post', 'one': ")


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
    asked = Comparison(methods, degradation=degradation, metrics=("blockiness",), device="cpu", workers=0)
    summary = compare([dataset.root], folder / "out", asked)
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
