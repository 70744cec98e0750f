"""LR images as files: what evaluate restores, by id, whole or not at all."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from latentsr.bench import from_images, measure_dataset
from latentsr.bench.inputs import Naming, Target
from latentsr.data.prepare import write_low_resolution
from latentsr.data.records import Dataset
from latentsr.degrade import parse_degradation
from latentsr.errors import InputError, StaleError
from latentsr.io.raster import read_pixels, write_pixels
from latentsr.upscalers import bicubic

X4 = parse_degradation("bicubic:4")


@pytest.fixture
def dataset(make_dataset: Callable[..., Dataset], tmp_path: Path) -> Dataset:
    pixels = np.random.default_rng(1).integers(0, 256, (3, 32, 24), dtype=np.uint8)
    return make_dataset(tmp_path / "blocks", list(pixels), ["a", "b", "c"])


def test_it_is_the_lr_that_methods_restore_and_that_pillow_makes(dataset: Dataset, tmp_path: Path) -> None:
    assert write_low_resolution(dataset, X4, "valid", tmp_path / "lr") == len(dataset.select("valid"))
    for record in dataset.select("valid"):
        stored = read_pixels(tmp_path / "lr" / f"{record.id}.png").astype(np.float64) / 65535
        hr = Image.fromarray(dataset.image(record), mode="F")
        made = hr.resize((record.columns // 4, record.rows // 4), Image.Resampling.BICUBIC)
        np.testing.assert_allclose(stored, np.asarray(made).clip(0, 1), atol=1e-5)


def test_what_is_there_is_left(dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "lr").mkdir()
    (tmp_path / "lr" / "mine.png").write_bytes(b"1")
    with pytest.raises(StaleError, match="exists already; choose another output folder"):
        write_low_resolution(dataset, X4, "valid", tmp_path / "lr")
    assert [path.name for path in (tmp_path / "lr").iterdir()] == ["mine.png"]


def test_a_changed_image_is_refused_and_nothing_written(dataset: Dataset, tmp_path: Path) -> None:
    first, second = (dataset.root / record.file for record in dataset.select("valid")[:2])
    first.write_bytes(second.read_bytes())
    with pytest.raises(InputError, match="changed since they were prepared"):
        write_low_resolution(dataset, X4, "valid", tmp_path / "lr")
    assert not (tmp_path / "lr").exists()


def test_a_restoration_of_these_files_agrees_with_its_lr(dataset: Dataset, tmp_path: Path) -> None:
    """The round trip of a method outside: LR from here, its result evaluated as a folder."""
    write_low_resolution(dataset, X4, "valid", tmp_path / "lr")
    method = bicubic(X4)
    restored = tmp_path / "sr"
    for path in sorted((tmp_path / "lr").iterdir()):
        lr = torch.from_numpy(read_pixels(path).astype(np.float32) / 65535)[None, None]
        sr = method.restore(lr, [path.stem]).image[0, 0].clamp(0, 1).numpy()
        write_pixels(restored / path.name, np.round(sr * 65535).astype(np.uint16))
    target = Target(dataset.select("valid"), Naming(dataset.name))
    mine, _ = from_images("mine", restored).bind(target)
    table = measure_dataset(dataset, [method, mine], X4, metrics=["psnr"])
    psnr = table[table["metric"] == "psnr"].pivot(index="id", columns="method", values="value")
    np.testing.assert_allclose(psnr["mine"], psnr["bicubic"], atol=0.01)
