from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.ndimage import gaussian_filter

from latentsr.bench.evaluation import TABLES, Comparison, compare
from latentsr.bench.sets import (
    SetMeasure,
    array_order,
    patches_an_image,
    reference_arrays,
    set_arrays,
    set_cautions,
    set_comparison_rows,
    set_measures,
    set_rows,
    with_mean_level,
)
from latentsr.config import read_json, sha256
from latentsr.data.records import Dataset, Record, write_dataset
from latentsr.degrade import parse_degradation
from latentsr.errors import StaleError
from latentsr.io.raster import read_pixels, write_pixels
from latentsr.job import Parts
from latentsr.metrics.sets import fid, kid_left_out, sliced_wasserstein
from latentsr.stats.intervals import patient_groups
from latentsr.upscalers import bicubic

PATIENTS = [f"p{n // 3}" for n in range(24)]
METHODS = ("bicubic", "mine")


def drawn(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(24, *shape)).astype(np.float32)


@pytest.fixture
def found() -> dict[str, SetMeasure]:
    """Two levels and features of two methods, the first of which is HR itself."""
    measures: dict[str, SetMeasure] = {}
    for name, shape in (("swd/x2", (20, 49)), ("swd/x1", (20, 49)), ("features", (9,))):
        hr = drawn(0, *shape)
        measures |= set_measures(name, [hr, 1.5 * drawn(1, *shape) + 0.5], hr, PATIENTS, seed=3)
    return with_mean_level(measures)


def test_values_are_those_of_the_measures(found: dict[str, SetMeasure]) -> None:
    hr, mine = (torch.from_numpy(one) for one in (drawn(0, 20, 49), 1.5 * drawn(1, 20, 49) + 0.5))
    directions = torch.Generator().manual_seed(3)
    [expected] = sliced_wasserstein([mine.flatten(0, 1)], hr.flatten(0, 1), generator=directions)
    np.testing.assert_allclose(found["swd/x2"].value, [0, expected], rtol=1e-6)
    np.testing.assert_allclose(found["swd"].value, found["swd/x2"].value)
    hr, mine = (torch.from_numpy(one) for one in (drawn(0, 9), 1.5 * drawn(1, 9) + 0.5))
    np.testing.assert_allclose(found["fid"].value, [0, fid(mine, hr)], atol=1e-6)
    of = np.unique(PATIENTS, return_inverse=True)[1]
    np.testing.assert_allclose(found["kid"].value, [0, kid_left_out(mine, hr, of, of)[0]], atol=1e-12)


def test_intervals_hold_their_value_and_fid_has_none(found: dict[str, SetMeasure]) -> None:
    rows = set_rows("abdomen", METHODS, found, PATIENTS, seed=3)
    assert rows["method"].tolist() == ["bicubic"] * 5 + ["mine"] * 5
    assert set(rows["images"]) == {24}
    assert set(rows["patients"]) == {8}
    mine = rows[rows["method"] == "mine"].set_index("metric")
    assert mine.loc["fid", ["low", "high"]].isna().all()
    others = mine.drop(index="fid")
    assert ((others["low"] < others["value"]) & (others["value"] < others["high"])).all()
    same = rows[(rows["method"] == "bicubic") & (rows["metric"] == "swd")].iloc[0]
    assert (same["low"], same["high"]) == (0, 0)


def test_differences_are_paired(found: dict[str, SetMeasure]) -> None:
    """A method against HR's copy differs by its own value; against itself by nothing, for sure."""
    rows = set_rows("abdomen", METHODS, found, PATIENTS, seed=3)
    differences = set_comparison_rows("abdomen", METHODS, [("mine", "bicubic")], found, PATIENTS, seed=3)
    mine = rows[rows["method"] == "mine"].set_index("metric").loc[differences["metric"]]
    np.testing.assert_allclose(differences["difference"], mine["value"], atol=1e-6)
    kid = differences["metric"].eq("kid")
    np.testing.assert_allclose(differences.loc[kid, "low"], mine.loc["kid", "low"])
    alike = {name: SetMeasure(one.value[[1, 1]], _twice(one.without)) for name, one in found.items()}
    none = set_comparison_rows("abdomen", METHODS, [("mine", "bicubic")], alike, PATIENTS, seed=3)
    assert none.loc[none["metric"] != "fid", ["difference", "low", "high"]].eq(0).all(axis=None)


def _twice(without: np.ndarray | None) -> np.ndarray | None:
    return None if without is None else without[:, [1, 1]]


def test_an_interval_never_goes_below_what_the_measure_can_be() -> None:
    measure = SetMeasure(np.array([0.1]), np.array([[0.3], [0.0], [0.2], [0.05], [0.0]]))
    for name, least in (("swd", 0.0), ("kid", None)):
        row = set_rows("abdomen", ["mine"], {name: measure}, list("abcde"), seed=0).iloc[0]
        assert row["low"] == least if least is not None else row["low"] < 0


@pytest.mark.parametrize("patients", [["p"] * 24, [f"p{n % 4}" for n in range(24)]], ids=["one", "four"])
def test_few_patients_have_values_but_no_interval(patients: list[str]) -> None:
    measures: dict[str, SetMeasure] = {}
    for name, shape in (("swd/x2", (20, 49)), ("features", (9,))):
        measures |= set_measures(name, [drawn(1, *shape)], drawn(0, *shape), patients, seed=0)
    rows = set_rows("abdomen", ["mine"], with_mean_level(measures), patients, seed=0)
    assert set(rows["metric"]) == {"swd/x2", "fid", "kid", "swd"}
    assert np.isfinite(rows["value"]).all()
    assert rows[["low", "high"]].isna().all(axis=None)


def test_five_patients_are_enough_for_intervals() -> None:
    patients, measures = [f"p{n % 5}" for n in range(24)], {}
    for name, shape in (("swd/x2", (20, 49)), ("features", (9,))):
        measures |= set_measures(name, [drawn(1, *shape)], drawn(0, *shape), patients, seed=0)
    rows = set_rows("abdomen", ["mine"], measures, patients, seed=0).set_index("metric")
    assert np.isfinite(rows.loc[["swd/x2", "kid"], ["low", "high"]]).all(axis=None)


def test_of_sliced_wasserstein_whole_images_are_left_out() -> None:
    """Images far from HR by their patient: the distance without a group is that of the others' patches."""
    hr, far = drawn(0, 20, 49), np.repeat(np.linspace(0, 2, 8), 3).astype(np.float32)
    sr = hr + far[:, None, None] * drawn(1, 20, 49) ** 2
    measure = set_measures("swd/x2", [sr], hr, PATIENTS, seed=3)["swd/x2"]
    groups = patient_groups(PATIENTS, seed=3)
    assert measure.without is not None
    for number, found in enumerate(measure.without[:, 0]):
        mine, true = (torch.from_numpy(one[groups != number]).flatten(0, 1) for one in (sr, hr))
        [expected] = sliced_wasserstein([mine], true, generator=torch.Generator().manual_seed(3))
        assert found == pytest.approx(expected, rel=0.03)  # along half as many directions
    assert measure.without.max() > 1.2 * measure.without.min()


def test_the_spread_lies_around_the_value_though_it_is_seen_along_fewer_directions() -> None:
    """A group that changes nothing, here of images like all others, leaves the value itself."""
    hr, sr = (np.repeat(drawn(seed, 20, 49)[:1], 24, axis=0) for seed in (0, 1))
    measure = set_measures("swd/x2", [sr], hr, PATIENTS, seed=3)["swd/x2"]
    assert measure.without is not None
    np.testing.assert_allclose(measure.without, measure.value[0], rtol=1e-5)


def test_the_seed_deals_more_patients_than_groups() -> None:
    patients = [f"p{n}" for n in range(24)]
    one, other = (set_measures("features", [drawn(1, 9)], drawn(0, 9), patients, seed=seed)["kid"] for seed in (0, 1))
    np.testing.assert_allclose(one.value, other.value)
    assert one.without is not None
    assert other.without is not None
    assert not np.allclose(np.sort(one.without, axis=0), np.sort(other.without, axis=0))


@pytest.mark.parametrize(("images", "patches"), [(1, 128), (128, 128), (256, 64), (1024, 16), (9000, 16)])
def test_many_images_have_few_patches_each(images: int, patches: int) -> None:
    assert patches_an_image(images) == patches


def test_an_images_patches_follow_from_seed_and_id_and_not_from_its_batch() -> None:
    images = torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(0))

    def arrays(images: torch.Tensor, ids: list[str], seed: int) -> np.ndarray:
        return set_arrays(images, ids, seed=seed, levels=1, patches=16, extractor=None)["swd/x1"]

    both = arrays(images, ["a", "b"], 0)
    np.testing.assert_array_equal(arrays(images[1:], ["b"], 0)[0], both[1])
    assert (arrays(images[1:], ["c"], 0)[0] != both[1]).any()
    assert (arrays(images[1:], ["b"], 1)[0] != both[1]).any()


def test_features_of_one_image_have_no_measure() -> None:
    assert set_measures("features", [drawn(1, 9)[:1]], drawn(0, 9)[:1], ["p"], seed=0) == {}
    assert set(set_measures("features", [drawn(1, 9)[:2]], drawn(0, 9)[:2], ["p", "q"], seed=0)) == {"fid", "kid"}


@pytest.mark.parametrize(("images", "cautioned"), [(24, True), (2047, True), (2048, False)])
def test_fid_of_few_images_is_cautioned(found: dict[str, SetMeasure], images: int, cautioned: bool) -> None:
    told = set_cautions(set_rows("abdomen", METHODS, found, PATIENTS, seed=3).assign(images=images))
    assert len(told) == cautioned
    assert all(f"FID of 'abdomen' is of {images} images" in one for one in told)


@pytest.fixture(scope="module")
def windows(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Nine windows of one image, three of each patient, every other one wider: two shapes with the same levels."""
    root = tmp_path_factory.mktemp("windows") / "abdomen"
    whole = np.round(dataset.image(dataset.records[0]) * 255).astype(np.uint8)
    records = []
    for n in range(9):
        cut = np.ascontiguousarray(whole[10 * n : 10 * n + 64, 8 * n : 8 * n + (96 if n % 2 else 64)])
        write_pixels(root / f"{n}.png", cut)
        records.append(Record(f"{n}", f"p{n // 3}", "valid", f"{n}.png", *cut.shape, sha256=sha256(root / f"{n}.png")))
    return write_dataset(root, "abdomen", records, {})


def sets_of(dataset: Dataset, out: Path, batch: int, workers: int) -> dict[str, pd.DataFrame]:
    options = {"metrics": ("psnr",), "device": "cpu", "batch": batch, "workers": workers}
    compare([dataset.root], out, Comparison(methods=("bicubic+projection",), **options))
    return {name: pd.read_parquet(out / f"{name}.parquet") for name in ("sets", "set_comparisons")}


def test_an_evaluation_writes_both_tables_whatever_the_batch(windows: Dataset, tmp_path: Path) -> None:
    assert "set_comparisons" in TABLES
    one, other = (sets_of(windows, tmp_path / str(batch), batch, batch - 1) for batch in (1, 4))
    for name in ("sets", "set_comparisons"):
        pd.testing.assert_frame_equal(one[name], other[name], rtol=1e-3)  # float32 adds up otherwise
    assert one["sets"]["metric"].tolist() == 3 * ["swd/x1", "swd/x2", "swd/x4", "swd"]
    assert set(one["set_comparisons"]["a"]) == {"bicubic+projection"}
    assert set(one["sets"]["patients"]) == {3}


def test_directions_and_groups_are_of_the_evaluations_seed(
    windows: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeds = []

    def noted(*given: object) -> dict[str, SetMeasure]:
        seeds.append(given[-1])
        return set_measures(*given)

    monkeypatch.setattr("latentsr.bench.tables.set_measures", noted)
    compare([windows.root], tmp_path, Comparison(methods=(), metrics=("psnr",), device="cpu", workers=0, seed=6))
    assert seeds == [6] * 3


def test_images_of_several_sizes_are_compared_in_the_levels_of_the_smallest(dataset: Dataset, tmp_path: Path) -> None:
    """Sides of 176 px, four of them, and of 64 px: three levels of each."""
    found = sets_of(dataset, tmp_path, batch=2, workers=0)
    assert found["sets"]["metric"].tolist() == 3 * ["swd/x1", "swd/x2", "swd/x4", "swd"]
    assert set(found["sets"]["images"]) == {5}
    assert (found["sets"]["value"] > 0).all()
    ids = [[record.id for record in dataset.records][at] for at in (slice(4), slice(4, 5))]
    images = [torch.from_numpy(np.stack([dataset.image(r) for r in dataset.records if r.id in some])) for some in ids]
    hr = [
        {name.removeprefix("reference/"): patches for name, patches in drawn.items()}
        for one, some in zip(images, ids, strict=True)
        for drawn in (reference_arrays(one[:, None], some, seed=0, levels=3, patches=128),)
    ]
    sr = [
        set_arrays(projected(one[:, None]), some, seed=0, levels=3, patches=128, extractor=None)
        for one, some in zip(images, ids, strict=True)
    ]
    mine, true = (torch.from_numpy(np.concatenate([part["swd/x4"] for part in one])).flatten(0, 1) for one in (sr, hr))
    rows = found["sets"].set_index(["method", "metric"])["value"]
    [expected] = sliced_wasserstein([mine], true, generator=torch.Generator().manual_seed(0))
    assert rows["bicubic+projection", "swd/x4"] == pytest.approx(expected, rel=1e-4)


def projected(hr: torch.Tensor) -> torch.Tensor:
    """What the tested method makes of the LR of `hr`."""
    degradation = parse_degradation("bicubic:4")
    lr = degradation.apply(hr.double()).to(hr.dtype)
    return bicubic(degradation, projected=True).restore(lr, []).image.clamp(0, 1)


def test_levels_come_finest_first_beyond_nine() -> None:
    names = ["swd/x16", "swd/x2", "features", "swd/x1", "swd/x8"]
    assert sorted(names, key=array_order) == ["features", "swd/x1", "swd/x2", "swd/x8", "swd/x16"]


def test_of_images_without_any_level_there_is_none_and_it_is_said(windows: Dataset, tmp_path: Path) -> None:
    cut = tmp_path / "data" / "tiny"
    records = []
    for number, record in enumerate(windows.records):
        pixels = read_pixels(windows.root / record.file)[: 12 if number == 4 else 64]
        write_pixels(cut / record.file, pixels)
        records.append(replace(record, rows=len(pixels), sha256=sha256(cut / record.file)))
    tiny = write_dataset(cut, "tiny", records, {})
    asked = Comparison(methods=(), metrics=("psnr",), device="cpu", workers=0)
    compare([windows.root, tiny.root], tmp_path / "out", asked)
    sets = pd.read_parquet(tmp_path / "out" / "sets.parquet")
    assert set(sets["dataset"]) == {"abdomen"}
    told = read_json(tmp_path / "out" / "run.json")["not_measured"]
    assert told[0] == "Not measured on 'tiny', since not all images have 16 px a side: sliced Wasserstein distance."


def test_parts_are_read_one_at_a_time_with_what_is_wanted_alone(tmp_path: Path) -> None:
    parts = Parts(tmp_path)
    assert parts.names() == frozenset()
    parts.write(["a"], {"0.values": np.zeros(3), "0.maps": np.ones(4)})
    parts.write(["b"], {"0.values": np.ones(3)})
    assert parts.names() == {"0.values"}
    each = parts.each({"0.values"}.__contains__)
    assert sorted((part.ids, sorted(part.arrays)) for part in each) == [(("a",), ["0.values"]), (("b",), ["0.values"])]
    damaged = next(tmp_path.glob("*.npz"))
    damaged.write_bytes(damaged.read_bytes()[:-30])
    with pytest.raises(StaleError, match="cut off or altered"):
        list(parts.each())
    with pytest.raises(StaleError, match=damaged.name):
        parts.names()


def test_hr_against_hr_is_a_floor_that_likeness_reaches_and_fidelity_does_not_lower(tmp_path: Path) -> None:
    """Of a stationary texture HR rolled by half an image has the texture and none of the places: it lies at the floor.

    HR with a little noise is far more faithful, and no nearer than the floor.
    """
    rng = np.random.default_rng(0)
    texture = gaussian_filter(rng.normal(size=(12, 96, 96)), (0, 1, 1), mode="wrap")
    hr = np.round((texture / texture.std() * 30 + 128).clip(0, 255)).astype(np.uint8)
    records = []
    for n, image in enumerate(hr):
        write_pixels(tmp_path / "set" / f"{n}.png", image)
        write_pixels(tmp_path / "rolled" / f"{n}.png", np.roll(image, 48, axis=(0, 1)))
        noisy = (image + rng.normal(0, 2, image.shape)).clip(0, 255).round().astype(np.uint8)
        write_pixels(tmp_path / "noisy" / f"{n}.png", noisy)
        records.append(Record(f"{n}", f"p{n}", "valid", f"{n}.png", 96, 96, sha256=sha256(tmp_path / f"set/{n}.png")))
    dataset = write_dataset(tmp_path / "set", "texture", records, {})
    methods = (f"rolled={tmp_path / 'rolled'}", f"noisy={tmp_path / 'noisy'}")
    compare([dataset.root], tmp_path / "out", Comparison(methods=methods, metrics=("psnr",), device="cpu", workers=0))
    sets = pd.read_parquet(tmp_path / "out" / "sets.parquet").query("metric == 'swd'").set_index("method")
    floor = sets.loc["hr"]
    assert 0 < floor["low"] <= floor["value"] <= floor["high"]
    assert abs(sets.loc["rolled", "value"] - floor["value"]) < 0.3 * floor["value"]
    assert sets.loc["noisy", "value"] > 0.9 * floor["value"]
    assert sets.loc["bicubic", "value"] > 2 * floor["value"]
