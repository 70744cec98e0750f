"""What is said of methods as they were given: trained on what is measured, rounding to 8 bits, two that are equal."""

import shutil
from pathlib import Path

import numpy as np
import pytest

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
