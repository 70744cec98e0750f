"""The same image twice: over splits and datasets, under another name, in another format, or nearly the same."""

import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter, shift

from latentsr.config import read_json
from latentsr.data import duplicates
from latentsr.data.duplicates import Look, near_copies, pixel_digest, thumbnail
from latentsr.data.prepare import Options, prepare
from latentsr.data.records import Dataset, read_dataset
from latentsr.errors import InputError, OptionError, StaleError
from latentsr.io.raster import write_pixels


def picture(seed: int, side: int = 256) -> np.ndarray:
    """Smooth shapes with fine detail, uint8; no two alike."""
    rng = np.random.default_rng(seed)
    smooth = gaussian_filter(rng.normal(size=(side, side)), side / 10) * side / 3 + rng.normal(size=(side, side)) / 30
    return np.uint8(np.clip(128 + 30 * smooth, 1, 254))


def folder(root: Path, side: int = 256, **seeds: int) -> Path:
    """Pictures below `root`; of `train_a`, the file is train/a.png."""
    for name, seed in seeds.items():
        write_pixels(root / f"{name.replace('_', '/')}.png", picture(seed, side))
    return root


def prepared(source: Path, out: Path, action: str = "refuse", *others: Dataset, **options: object) -> Dataset:
    return prepare("folder", source, out, duplicates=action, **options, apart_from=others)


def found(dataset: Dataset) -> dict:
    told = read_json(dataset.root / "dataset.json")["duplicates"]
    assert told is not None
    return dict(told)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Two images a split; valid/renamed.tif is train/a.png once more."""
    folder(tmp_path / "in", train_a=1, train_b=2, valid_c=3, test_d=4, test_e=5)
    write_pixels(tmp_path / "in/valid/renamed.tif", picture(1))
    return tmp_path / "in"


def test_an_image_in_two_splits_is_refused_and_listed(source: Path) -> None:
    with pytest.raises(
        InputError, match=r"1 image.*\(train/a\.png = valid/renamed\.tif\).*set the option duplicates to drop"
    ):
        prepared(source, source.parent / "out")
    assert [path.name for path in source.parent.iterdir()] == ["in"]


def test_what_is_dropped_is_that_of_the_lower_split_and_stands_in_the_record(source: Path) -> None:
    write_pixels(source / "test/c-again.png", picture(3))
    dataset = prepared(source, source.parent / "out", "drop")
    assert {record.id: record.split for record in dataset.records} == {
        "test__c-again": "test", "test__d": "test", "test__e": "test", "train__b": "train", "valid__renamed": "valid",
    }  # fmt: skip
    assert len(list((dataset.root / "images").iterdir())) == 5
    assert found(dataset)["dropped"] == [
        {"file": "valid/c.png", "same_as": "test/c-again.png"},
        {"file": "train/a.png", "same_as": "valid/renamed.tif"},
    ]
    before = {path: path.stat().st_mtime_ns for path in dataset.root.rglob("*")}
    assert prepared(source, dataset.root, "drop").records == dataset.records
    with pytest.raises(StaleError, match="other files or options"):
        prepared(source, dataset.root, "refuse")
    assert {path: path.stat().st_mtime_ns for path in dataset.root.rglob("*")} == before


def test_a_split_that_would_lose_all_its_images_is_an_error(tmp_path: Path) -> None:
    source = folder(tmp_path / "in", train_a=1, valid_a=1, valid_b=2)
    with pytest.raises(InputError, match=r"every image of split train stands in another.*\(train/a\.png = valid/a"):
        prepared(source, tmp_path / "out", "drop")
    assert not (tmp_path / "out").exists()


def test_a_split_by_shares_keeps_equal_images_of_two_patients_apart(tmp_path: Path) -> None:
    source = folder(tmp_path / "in", side=64, **{f"p{n}": n % 6 for n in range(12)})
    with pytest.raises(InputError, match="stand in another split"):
        prepared(source, tmp_path / "out", split=(0.5, 0.5, 0.0))
    kept = prepared(source, tmp_path / "out", "drop", split=(0.5, 0.5, 0.0)).records
    seen = {split: {int(one.id[1:]) % 6 for one in kept if one.split == split} for split in ("train", "valid")}
    assert not seen["train"] & seen["valid"]
    assert seen["train"] | seen["valid"] == set(range(6))


def test_copies_within_a_split_are_listed_and_stay(tmp_path: Path) -> None:
    dataset = prepared(folder(tmp_path / "in", train_a=1, train_b=1, train_c=1, valid_d=2), tmp_path / "out")
    assert len(dataset.records) == 4
    assert [(one["file"], one["same_as"]) for one in found(dataset)["repeated"]] == [
        ("train/b.png", "train/a.png"),
        ("train/c.png", "train/a.png"),
    ]


def test_images_of_another_dataset_are_refused_or_dropped_here(tmp_path: Path) -> None:
    other = prepared(folder(tmp_path / "trained", x=1, y=2), tmp_path / "other", split=(1.0, 0.0, 0.0))
    source, out = folder(tmp_path / "in", a=3, b=2), tmp_path / "out"
    with pytest.raises(InputError, match=r"\(b\.png = images/y\.png of dataset 'trained'\)"):
        prepared(source, out, "refuse", other, split=(0.0, 1.0, 0.0))
    dataset = prepared(source, out, "drop", other, split=(0.0, 1.0, 0.0))
    assert [record.id for record in dataset.records] == ["a"]
    assert found(dataset)["apart_from"] == ["trained"]
    assert str(tmp_path) not in (out / "dataset.json").read_text()
    assert prepared(source, out, "drop", read_dataset(other.root), split=(0.0, 1.0, 0.0)).records == dataset.records
    with pytest.raises(StaleError):
        prepared(source, out, "drop", split=(0.0, 1.0, 0.0))
    write_pixels(other.root / "images/y.png", picture(9))
    with pytest.raises(InputError, match="1 of 2 image files are missing or changed"):
        prepared(source, tmp_path / "again", "drop", other, split=(0.0, 1.0, 0.0))


def test_patients_of_another_dataset_are_counted(tmp_path: Path) -> None:
    rule = r"(?P<patient>p\d)"
    other = prepared(
        folder(tmp_path / "trained", p1a=1, p2a=2), tmp_path / "other", split=(1.0, 0.0, 0.0), patient_pattern=rule
    )
    source = folder(tmp_path / "in", p2b=3, p3b=4)
    dataset = prepared(source, tmp_path / "out", "refuse", other, split=(0.0, 1.0, 0.0), patient_pattern=rule)
    assert found(dataset)["shared_patients"] == 1


def jpeg(pixels: np.ndarray, path: Path) -> None:
    Image.fromarray(pixels).save(path.with_suffix(".jpg"), quality=30)


NEARLY: dict[str, Callable[[np.ndarray, Path], None]] = {
    "jpeg": jpeg,
    "noise": lambda x, path: write_pixels(path, altered(x + np.random.default_rng(0).normal(0, 10, x.shape))),
    "brighter": lambda x, path: write_pixels(path, altered(1.1 * x + 60)),
    "one pixel aside": lambda x, path: write_pixels(path, altered(shift(x.astype(float), (0, 1), mode="nearest"))),
    "blurred": lambda x, path: write_pixels(path, altered(gaussian_filter(x.astype(float), 2))),
}


def altered(values: np.ndarray) -> np.ndarray:
    return np.uint8(np.clip(np.round(values), 0, 255))


@pytest.mark.parametrize("kind", NEARLY)
def test_near_copies_over_splits_are_told_and_stay(tmp_path: Path, kind: str) -> None:
    source = folder(tmp_path / "in", train_a=1, train_b=2, valid_c=3, test_d=4)
    NEARLY[kind](picture(1), source / "test" / "near.png")
    told = found(prepared(source, tmp_path / "out"))
    assert (told["dropped"], told["near"]) == ([], 1)
    (pair,) = told["near_pairs"]
    assert (pair["file"], pair["like"].partition(".")[0]) == ("train/a.png", "test/near")
    assert 0.995 < pair["correlation"] <= 1


def test_images_of_another_dataset_are_compared_at_another_size(tmp_path: Path) -> None:
    other = prepared(folder(tmp_path / "trained", x=1, y=2), tmp_path / "other", split=(1.0, 0.0, 0.0), size=128)
    told = found(prepared(folder(tmp_path / "in", a=3, b=2), tmp_path / "out", "refuse", other, split=(0.0, 1.0, 0.0)))
    assert [(pair["file"], pair["like"]) for pair in told["near_pairs"]] == [
        ("b.png", "images/y.png of dataset 'trained'")
    ]


def test_a_digest_is_of_the_pixels_whatever_the_scale_of_grey() -> None:
    pixels = picture(0, 64)
    digest = pixel_digest(pixels)
    for same in (pixels.copy(), pixels.astype(np.uint16) * 257, pixels.astype(np.uint16) ** 2, pixels + np.uint8(1)):
        assert pixel_digest(same) == digest
    changed = pixels.copy()
    changed[5, 7] ^= 1
    for other in (changed, pixels.T, pixels[:, ::-1], pixels.reshape(32, 128), 255 - pixels):
        assert pixel_digest(other) != digest


def test_a_thumbnail_is_of_area_means_and_two_give_their_correlation() -> None:
    first, second = picture(1, 64), picture(2, 64)
    means = [image.reshape(16, 4, 16, 4).mean((1, 3)).ravel() for image in (first, second)]
    found = thumbnail(first) @ thumbnail(second)
    assert found == pytest.approx(np.corrcoef(means)[0, 1], abs=1e-5)
    assert thumbnail(first[:7, :50]).shape == (256,)
    assert not thumbnail(np.tile(np.uint8([[0, 9], [9, 0]]), (32, 32))).any()  # no part differs from another


def looks(count: int, seed: int, centres: int = 8) -> list[Look]:
    """Thumbnails around a few centres: those around one are alike."""
    rng = np.random.default_rng(seed)
    values = np.random.default_rng(0).normal(size=(centres, 256))[rng.integers(0, centres, count)] + rng.normal(
        0, 0.06, (count, 256)
    )
    values -= values.mean(axis=1, keepdims=True)
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    return [Look(f"{seed}-{n}", f"{seed}-{n}", row.astype(np.float32)) for n, row in enumerate(values)]


def test_blocks_of_pairs_find_what_all_pairs_at_once_find(monkeypatch: pytest.MonkeyPatch) -> None:
    groups = [looks(count, seed) for seed, count in enumerate((30, 25, 0, 17))]
    expected = {}
    for i, first in enumerate(groups):
        for second in groups[i + 1 :]:
            expected |= {(a.file, b.file): float(a.thumbnail @ b.thumbnail) for a in first for b in second}
    expected = {pair: value for pair, value in expected.items() if value > 0.995}
    monkeypatch.setattr(duplicates, "BLOCK", 7)
    count, pairs = near_copies(groups)
    assert count == len(expected) == len(pairs) > 50
    assert {(a.file, b.file) for _, a, b in pairs} == set(expected)
    assert [value for value, _, _ in pairs] == sorted((value for value, _, _ in pairs), reverse=True)
    monkeypatch.setattr(duplicates, "KEPT", 5)
    few = near_copies(groups)
    assert few[0] == count
    np.testing.assert_allclose([value for value, _, _ in few[1]], sorted(expected.values())[:-6:-1], atol=1e-6)


def test_memory_is_that_of_a_block_not_of_all_pairs() -> None:
    groups = [looks(5000, 1, centres=100), looks(5000, 2, centres=100)]  # all pairs: 100 MB
    tracemalloc.start()
    assert near_copies(groups)[0] > 100_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50e6


def test_another_action_is_an_error_that_lists_the_valid_ones() -> None:
    with pytest.raises(OptionError, match="the option duplicates is keep: expected refuse or drop"):
        Options(duplicates="keep")


def test_real_images_over_splits_are_no_near_copies(shared: Path, tmp_path: Path) -> None:
    """Different patients' chest X-rays look alike, and stay below; the same patient's copied image is found."""
    for split in ("train", "valid"):
        for path in sorted((shared / "data" / "chest-xray" / split).glob("*.png"))[:10]:
            (tmp_path / "in" / split).mkdir(parents=True, exist_ok=True)
            (tmp_path / "in" / split / path.name).write_bytes(path.read_bytes())
    rule = r"p(?P<patient>\d+)_"
    told = found(prepared(tmp_path / "in", tmp_path / "out", patient_pattern=rule))
    assert (told["dropped"], told["near"]) == ([], 0)
    planted = sorted((tmp_path / "in" / "valid").glob("*.png"))[7]
    with Image.open(planted) as image:
        image.save(tmp_path / "in" / "train" / "p99999999_000.jpg", quality=60)
    told = found(prepared(tmp_path / "in", tmp_path / "more", patient_pattern=rule))
    assert [pair["file"] for pair in told["near_pairs"]] == ["train/p99999999_000.jpg"]
    assert told["near_pairs"][0]["like"] == f"valid/{planted.name}"
    assert json.loads((tmp_path / "more" / "dataset.json").read_text())["duplicates"] == told
