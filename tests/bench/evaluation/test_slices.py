"""Slices of a volume in an evaluation: the gradient between them, and noise that near ones share."""

from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest
import torch
from nibabel.testing import data_path

from latentsr.bench import measure_dataset
from latentsr.bench.measure import Surroundings, Work
from latentsr.data.prepare import prepare
from latentsr.data.records import Dataset
from latentsr.degrade import enlarge, parse_degradation
from latentsr.metrics import find_metrics
from latentsr.upscalers import Method, Sampling, bicubic, load_upscaler

X4 = parse_degradation("bicubic:4")
NAMES = ("psnr", "slice_gradient")


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Seven sagittal slices of a real head, 2 mm apart."""
    root = tmp_path_factory.mktemp("volume")
    image = nibabel.load(Path(data_path) / "anatomical.nii")
    (root / "in").mkdir()
    nibabel.Nifti1Image(np.asarray(image.dataobj)[12:19], image.affine).to_filename(root / "in" / "head.nii")
    return prepare("folder", root / "in", root / "out", split=(0.0, 1.0, 0.0), multiple=8, axis=0)


def _gradients(table: pd.DataFrame, method: str) -> list[float]:
    chosen = table[(table["method"] == method) & (table["metric"] == "slice_gradient")]
    return chosen.sort_values("id")["value"].tolist()


def test_records_say_where_slices_lie(volume: Dataset) -> None:
    assert [record.slice_mm for record in volume.records] == [0, 2, 4, 6, 8, 10, 12]
    assert {record.volume for record in volume.records} == {"head"}
    work = Work(volume, volume.records, (), find_metrics(), Surroundings(X4))
    places = [getattr(one, "place", None) for one in work.ids(volume.records)]
    np.testing.assert_allclose(places, np.arange(7) / 4)  # in LR pixels of 8 mm


@pytest.mark.parametrize("batch", [1, 3, 7])
def test_the_gradient_is_that_to_the_next_slice_whatever_the_batch(volume: Dataset, batch: int) -> None:
    table = measure_dataset(volume, [bicubic(X4)], X4, metrics=NAMES, batch=batch)
    hr = torch.stack([torch.from_numpy(volume.image(one)) for one in volume.records])[:, None]
    for method, images in (("hr", hr), ("bicubic", enlarge(X4.apply(hr), 4).clamp(0, 1))):
        expected = (images[1:] - images[:-1]).square().mean(dim=(1, 2, 3)).sqrt()
        found = _gradients(table, method)
        np.testing.assert_allclose(found[:-1], expected, rtol=1e-5)
        assert np.isnan(found[-1])


def test_points_in_time_are_volumes_of_their_own(tmp_path: Path, volume: Dataset) -> None:
    image = nibabel.load(Path(data_path) / "anatomical.nii")
    part = np.asarray(image.dataobj)[12:16].astype(np.float32)
    (tmp_path / "in").mkdir()
    nibabel.Nifti1Image(np.stack([part, 0.9 * part], axis=3), image.affine).to_filename(tmp_path / "in" / "head.nii")
    moving = prepare("folder", tmp_path / "in", tmp_path / "out", split=(0.0, 1.0, 0.0), multiple=8, axis=0)
    work = Work(moving, moving.records, (), find_metrics(names=NAMES), Surroundings(X4))
    places = [(one.id[-2:], work.following[one.id].id[-2:]) for one in moving.records if one.id in work.following]
    assert [(int(one), int(other)) for one, other in places] == [(0, 1), (1, 2), (2, 3), (4, 5), (5, 6), (6, 7)]


def test_images_that_are_no_slices_have_no_gradient(dataset: Dataset) -> None:
    assert "slice_gradient" not in set(measure_dataset(dataset, [bicubic(X4)], X4, metrics=NAMES)["metric"])


def test_samples_whose_noise_is_shared_flicker_less(volume: Dataset) -> None:
    model = load_upscaler("latentsr-tiny", device="cpu")
    methods = [
        Method.of(name, model, Sampling(realism=1, coherent=coherent))
        for name, coherent in (("together", True), ("apart", False))
    ]
    table = measure_dataset(volume, methods, X4, metrics=NAMES, batch=3)
    together, apart = (np.nanmean(_gradients(table, name)) for name in ("together", "apart"))
    assert together < apart  # by 2 %: most of what is between slices of 2 mm is anatomy
