"""Masks of a region of interest: the dataset's own, or those of a folder, which come first; never of some images."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from latentsr.bench.evaluation import Comparison, compare
from latentsr.config import sha256
from latentsr.data.records import Dataset, write_dataset
from latentsr.errors import InputError, OptionError, StaleError
from latentsr.io.raster import read_pixels, write_pixels
from latentsr.stats.table import short_hash

ROI = ("roi_psnr", "background_psnr")


def comparison(**options: object) -> Comparison:
    return Comparison(
        methods=(), **{"metrics": ROI, "device": "cpu", "workers": 0, "degradation": "bicubic:2", **options}
    )


@pytest.fixture
def masked(dataset: Dataset, tmp_path: Path) -> Callable[..., Dataset]:
    """`masked(ids)`: the dataset again, with masks of these ids whose upper half is inside; of all by default."""

    def make(ids: tuple[str, ...] | None = None, rows: int = 0) -> Dataset:
        root, records = tmp_path / "masked", []
        for record in dataset.records:
            write_pixels(root / record.file, read_pixels(dataset.root / record.file))
            if ids is None or record.id in ids:
                mask = np.zeros((rows or record.rows, record.columns), np.uint8)
                mask[: len(mask) // 2] = 255
                path = root / "masks" / f"{record.id}.png"
                write_pixels(path, mask)
                record = replace(record, mask=f"masks/{record.id}.png", mask_sha256=sha256(path))
            records.append(record)
        return write_dataset(root, "abdomen", records, {})

    return make


def folder_of(dataset: Dataset, folder: Path, *, upper: bool) -> Path:
    for record in dataset.records:
        mask = np.zeros((record.rows, record.columns), np.uint8)
        mask[slice(0, record.rows // 2) if upper else slice(record.rows // 2, None)] = 3
        write_pixels(folder / f"{record.id}.png", mask)
    return folder


def values(out: Path) -> dict[str, np.ndarray]:
    table = pd.read_parquet(out / "table.parquet")
    return {name: table.loc[table["metric"] == name, "value"].to_numpy() for name in ROI}


def masks_of(out: Path) -> dict:
    return json.loads((out / "run.json").read_text())["masks"]


def test_the_datasets_masks_are_used_and_a_folder_comes_first(
    masked: Callable[..., Dataset], dataset: Dataset, tmp_path: Path
) -> None:
    root = masked().root
    compare([root], tmp_path / "own", comparison())
    assert masks_of(tmp_path / "own")["abdomen"]["from"] == "dataset"
    lower = folder_of(dataset, tmp_path / "lower", upper=False)
    compare([root], tmp_path / "other", comparison(masks=lower))
    assert masks_of(tmp_path / "other")["abdomen"]["from"] == "folder"
    own, other = values(tmp_path / "own"), values(tmp_path / "other")
    assert np.isfinite(own["roi_psnr"]).all()
    np.testing.assert_allclose(own["roi_psnr"], other["background_psnr"])
    assert not np.allclose(own["roi_psnr"], other["roi_psnr"])
    upper = folder_of(dataset, tmp_path / "upper", upper=True)
    compare([dataset.root], tmp_path / "same", comparison(masks=upper))
    np.testing.assert_array_equal(values(tmp_path / "same")["roi_psnr"], own["roi_psnr"])


def test_other_masks_are_another_evaluation(masked: Callable[..., Dataset], dataset: Dataset, tmp_path: Path) -> None:
    root = masked().root
    compare([root], tmp_path / "out", comparison())
    with pytest.raises(StaleError, match="holds another evaluation, of other data"):
        compare([root], tmp_path / "out", comparison(masks=folder_of(dataset, tmp_path / "upper", upper=True)))


def test_without_masks_regions_are_not_measured_and_it_is_said(dataset: Dataset, tmp_path: Path) -> None:
    compare([dataset.root], tmp_path / "out", comparison(metrics=("psnr", "roi_psnr")))
    run = json.loads((tmp_path / "out" / "run.json").read_text())
    assert run["masks"] == {}
    assert any(
        "no masks of a region of interest (the option masks, here or of prepare)" in sentence
        for sentence in run["not_measured"]
    )
    with pytest.raises(OptionError, match="the option margin has roi_psnr: will not be measured"):
        compare(
            [dataset.root], tmp_path / "new", comparison(metrics=("psnr", "roi_psnr"), margins=(("roi_psnr", 1.0),))
        )


def test_a_margin_of_a_region_needs_only_the_datasets_masks(masked: Callable[..., Dataset], tmp_path: Path) -> None:
    asked = comparison(margins=(("roi_psnr", 1.0),))
    compare([masked().root], tmp_path / "out", asked.model_copy(update={"methods": ("bicubic+projection",)}))
    assert set(pd.read_parquet(tmp_path / "out" / "equivalence.parquet")["metric"]) == {"roi_psnr"}


def test_masks_of_some_images_are_an_error_that_lists_the_others(
    masked: Callable[..., Dataset], dataset: Dataset, tmp_path: Path
) -> None:
    root = masked(("007", "008", "009")).root
    names = ", ".join(short_hash("abdomen", id) for id in ("010", "011"))
    with pytest.raises(
        InputError, match=rf"masks of dataset 'abdomen'.*without one: {names}\).*the option masks.*show_ids"
    ):
        compare([root], tmp_path / "out", comparison())
    with pytest.raises(InputError, match="without one: 010, 011"):
        compare([root], tmp_path / "out", comparison(show_ids=True))
    assert not (tmp_path / "out").exists()
    compare([root], tmp_path / "out", comparison(masks=folder_of(dataset, tmp_path / "upper", upper=True)))
    assert masks_of(tmp_path / "out")["abdomen"]["from"] == "folder"


@pytest.mark.parametrize("own", [True, False])
def test_masks_of_another_shape_are_listed(
    masked: Callable[..., Dataset], dataset: Dataset, tmp_path: Path, *, own: bool
) -> None:
    ids = ("007", "009")
    if own:
        root, options = masked(rows=20).root, {}
        ids = tuple(record.id for record in dataset.records)
    else:
        root, folder = dataset.root, folder_of(dataset, tmp_path / "upper", upper=True)
        for id in ids:
            write_pixels(folder / f"{id}.png", np.ones((20, 20), np.uint8))
        options = {"masks": folder}
    with pytest.raises(InputError, match=rf"masks.*\(wrongly sized: {', '.join(ids)}\)"):
        compare([root], tmp_path / "out", comparison(show_ids=True, **options))


def test_a_mask_that_changed_since_is_refused(masked: Callable[..., Dataset], tmp_path: Path) -> None:
    made = masked()
    write_pixels(made.root / made.records[1].mask, np.zeros((176, 192), np.uint8))
    with pytest.raises(InputError, match=rf"1 of 5 mask files .* changed .*\({short_hash('abdomen', '008')}\)"):
        compare([made.root], tmp_path / "out", comparison())


def test_an_empty_mask_gives_no_value_of_the_region(masked: Callable[..., Dataset], tmp_path: Path) -> None:
    made = masked()
    path = made.root / made.records[0].mask
    write_pixels(path, np.zeros((176, 192), np.uint8))
    records = [replace(made.records[0], mask_sha256=sha256(path)), *made.records[1:]]
    write_dataset(made.root, "abdomen", records, {})
    compare([made.root], tmp_path / "out", comparison())
    found = values(tmp_path / "out")
    assert [bool(np.isnan(value)) for value in found["roi_psnr"]] == [True] + [False] * 4
    assert np.isfinite(found["background_psnr"]).all()
