import shutil
from pathlib import Path

import numpy as np
import pytest

from latentsr.bench.evaluation import Comparison, compare
from latentsr.bench.inputs import nearest_other, outliers, suspicions
from latentsr.config import read_json, sha256
from latentsr.data.records import Dataset, Record, write_dataset
from latentsr.errors import InputError
from latentsr.io.raster import write_pixels
from latentsr.stats.table import short_hash

IMAGES, FIRST_WRONG = 14, 9


@pytest.fixture
def slices(tmp_path: Path) -> Dataset:
    """Neighbouring slices: each looks much like the next."""
    rng = np.random.default_rng(0)
    base, drift = rng.normal(size=(2, 12, 12)).cumsum(axis=1)
    records = []
    for n in range(IMAGES):
        coarse = base + drift * n / IMAGES
        pixels = np.kron(coarse, np.ones((4, 4))) + rng.normal(scale=0.2, size=(48, 48))
        grey = np.round((pixels - pixels.min()) / np.ptp(pixels) * 255).astype(np.uint8)
        file = f"images/hr_{n + 1}.png"
        write_pixels(tmp_path / "slices" / file, grey)
        digest = sha256(tmp_path / "slices" / file)
        records.append(Record(f"hr_{n + 1}", f"p{n // 2}", "valid", file, 48, 48, digest))
    return write_dataset(tmp_path / "slices", "slices", records, {})


def sr_folder(dataset: Dataset, folder: Path, *, shift: int = 0, first: int = FIRST_WRONG) -> Path:
    """HR with some noise; from the tenth on each file holds the image after it, as sorting by position made it."""
    rng, records = np.random.default_rng(1), dataset.records
    for n, record in enumerate(records):
        source = records[min(n + shift, len(records) - 1)] if n >= first else record
        pixels = dataset.image(source) * 255 + rng.normal(scale=3, size=(record.rows, record.columns))
        write_pixels(folder / f"{record.id}.png", pixels.clip(0, 255).astype(np.uint8))
    return folder


def evaluated(dataset: Dataset, out: Path, *methods: str, limit: int | None = None) -> dict:
    compare([dataset.root], out, Comparison(methods=methods, metrics=("psnr",), device="cpu", limit=limit))
    return read_json(out / "run.json")


def test_right_pairs_raise_no_doubt(slices: Dataset, tmp_path: Path) -> None:
    run = evaluated(slices, tmp_path / "out", f"mine={sr_folder(slices, tmp_path / 'sr')}", "bicubic+projection")
    assert run["pairing"] == run["warnings"] == []


def test_files_shifted_by_one_from_the_tenth_on_are_found(slices: Dataset, tmp_path: Path) -> None:
    run = evaluated(slices, tmp_path / "out", f"mine={sr_folder(slices, tmp_path / 'sr', shift=1)}")
    (doubt,) = run["pairing"]
    names = [short_hash("slices", record.id) for record in slices.records]
    assert (doubt["method"], doubt["kind"], doubt["of"]) == ("mine", "other", IMAGES)
    assert doubt["images"] == names[FIRST_WRONG:-1]
    assert doubt["resembles"] == names[FIRST_WRONG + 1 :]
    assert "4 of 14 images of method 'mine' on 'slices' look like other images of the set" in run["warnings"][0]
    assert f"{names[9]} like {names[10]}" in run["warnings"][0]


@pytest.mark.parametrize("limit", [None, 7])
def test_files_that_are_nearly_all_shifted_are_found_also_where_a_limit_leaves_out_their_own(
    slices: Dataset, tmp_path: Path, limit: int | None
) -> None:
    folder = sr_folder(slices, tmp_path / "sr", shift=1, first=1)
    (doubt,) = evaluated(slices, tmp_path / "out", f"mine={folder}", limit=limit)["pairing"]
    names = [short_hash("slices", record.id) for record in slices.records]
    pairs = {names[n]: names[n + 1] for n in range(1, IMAGES - 1)}
    assert doubt["kind"] == "other"
    assert {image: pairs[image] for image in doubt["images"]} == dict(
        zip(doubt["images"], doubt["resembles"], strict=True)
    )
    assert doubt["of"] == (limit or IMAGES)
    assert len(doubt["images"]) >= doubt["of"] - 3  # the first and last are right, and two slices may be too alike


def test_right_pairs_of_some_images_raise_no_doubt(slices: Dataset, tmp_path: Path) -> None:
    run = evaluated(slices, tmp_path / "out", f"mine={sr_folder(slices, tmp_path / 'sr')}", limit=5)
    assert run["pairing"] == []


def test_most_images_far_below_bicubic_are_doubted_beside_those_that_are_swapped() -> None:
    rng = np.random.default_rng(0)
    own = rng.uniform(size=(20, 64))
    thumbs = rng.uniform(size=own.shape)
    thumbs[0] = own[1]
    psnr = {"bicubic": np.full(20, 42.0), "mine": np.full(20, 22.5)}
    found = suspicions(own, {"bicubic": own, "mine": thumbs}, psnr)
    assert found["bicubic"] == []
    assert [(doubt.kind, len(doubt.images)) for doubt in found["mine"]] == [("other", 1), ("all", 19)]
    psnr["mine"] = np.where(np.arange(20) == 0, 22.5, 33.0)
    assert [doubt.kind for doubt in suspicions(own, {"mine": thumbs}, psnr)["mine"]] == ["other"]


def test_ids_that_do_not_match_are_listed(slices: Dataset, tmp_path: Path) -> None:
    folder = sr_folder(slices, tmp_path / "sr")
    for path in sorted(folder.glob("*.png")):
        path.rename(path.with_name(path.name.replace("hr_", "sr_")))
    with pytest.raises(InputError, match=rf"method 'mine'.*missing: {short_hash('slices', 'hr_1')}, .* and 4 more"):
        evaluated(slices, tmp_path / "out", f"mine={folder}")


def test_an_image_that_nobody_explains_is_an_outlier(slices: Dataset, tmp_path: Path) -> None:
    folder = sr_folder(slices, tmp_path / "sr")
    write_pixels(folder / "hr_3.png", np.random.default_rng(5).integers(0, 255, (48, 48), dtype=np.uint8))
    (doubt,) = evaluated(slices, tmp_path / "out", f"mine={folder}")["pairing"]
    assert (doubt["kind"], doubt["images"]) == ("outlier", [short_hash("slices", "hr_3")])


def test_images_of_another_depth_are_doubted_as_a_whole(slices: Dataset, tmp_path: Path) -> None:
    folder = tmp_path / "sr"
    for record in slices.records:  # 8-bit values in 16-bit files: all but black
        write_pixels(folder / f"{record.id}.png", np.round(slices.image(record) * 255).astype(np.uint16))
    (doubt,) = evaluated(slices, tmp_path / "out", f"mine={folder}")["pairing"]
    assert (doubt["kind"], doubt["count"]) == ("all", IMAGES)


def test_a_folder_may_hold_a_folder_a_dataset(slices: Dataset, tmp_path: Path) -> None:
    other = write_dataset(tmp_path / "other", "other", slices.records, {})
    shutil.copytree(slices.root / "images", other.root / "images")
    for dataset in (slices, other):
        sr_folder(dataset, tmp_path / "sr" / dataset.name)
    compare(
        [slices.root, other.root],
        tmp_path / "out",
        Comparison(methods=(f"mine={tmp_path / 'sr'}",), metrics=("psnr",), device="cpu"),
    )
    assert read_json(tmp_path / "out" / "run.json")["pairing"] == []
    shutil.rmtree(tmp_path / "sr" / "other")
    with pytest.raises(InputError, match=r"of dataset 'other' in a folder 'other'.*missing"):
        compare(
            [slices.root, other.root], tmp_path / "o", Comparison(methods=(f"mine={tmp_path / 'sr'}",), device="cpu")
        )


def test_duplicates_in_a_set_are_no_mismatch() -> None:
    own = np.zeros((3, 16))
    assert not nearest_other(own, own + 1e-3)[1].any()


@pytest.mark.parametrize(("apart", "doubted"), [(2e-3, False), (2e-2, True)])
def test_images_alike_but_for_less_than_the_floor_are_no_swap(apart: float, doubted: bool) -> None:
    """The first image is the second's, from which it differs by an MSE of 4e-6, or of 4e-4."""
    own = np.outer([0, apart], np.ones(16))
    assert nearest_other(own, own[[1, 1]])[1].tolist() == [doubted, False]


def test_nobody_is_his_own_other_in_any_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("latentsr.bench.inputs.CHUNK", 7)
    own = np.random.default_rng(0).uniform(size=(20, 64))
    nearest, swapped = nearest_other(own, own)
    assert (nearest != np.arange(20)).all()
    assert not swapped.any()


@pytest.mark.parametrize(
    ("bicubic", "mine", "kinds"),
    [
        (170.0, [60.0] * 20, []),  # far below bicubic, yet as good as equal
        (42.0, [33.0] * 20, []),
        (42.0, [31.9] * 20, ["all"]),
        (42.0, [42.0] * 10 + [22.5] * 10, ["outlier"]),
        (42.0, [42.0] * 9 + [22.5] * 11, ["all"]),
    ],
)
def test_who_fits_ten_decibels_worse_than_bicubic_is_doubted(bicubic: float, mine: list, kinds: list[str]) -> None:
    own = np.random.default_rng(0).uniform(size=(20, 64))
    psnr = {"bicubic": np.full(20, bicubic), "mine": np.array(mine)}
    assert [doubt.kind for doubt in suspicions(own, {"mine": own}, psnr)["mine"]] == kinds


def test_one_image_has_no_other() -> None:
    assert suspicions(np.zeros((1, 16)), {"a": np.zeros((1, 16))}, {"a": np.array([60.0])}) == {"a": []}


def test_a_permutation_is_undone_whatever_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    own, order = rng.uniform(size=(50, 64)), rng.permutation(50)
    monkeypatch.setattr("latentsr.bench.inputs.CHUNK", 7)
    nearest, swapped = nearest_other(own, own[order] + rng.normal(scale=0.01, size=own.shape))
    moved = order != np.arange(50)
    np.testing.assert_array_equal(swapped, moved)
    np.testing.assert_array_equal(nearest[moved], order[moved])


@pytest.mark.parametrize(
    ("psnr", "expected"),
    [
        ([45, 46, 44, 45, 20], [4]),
        ([45, 46, 44, 45, 41], []),
        ([170, 180, 175, 60, 172], []),
        ([39, 39, 39, 39, 38.9], []),  # all alike: what differs at all is not yet far
        ([20, 25, 30, 35, 39], []),  # spread wide: the last is as far from the median as the others from each other
        ([np.inf, np.inf, np.inf, np.inf, 25], [4]),
    ],
)
def test_outliers_are_far_from_the_others_and_low(psnr: list[float], expected: list[int]) -> None:
    assert np.flatnonzero(outliers(np.array(psnr))).tolist() == expected
