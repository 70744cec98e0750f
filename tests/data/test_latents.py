import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from latentsr.autoencoders import load_autoencoder
from latentsr.autoencoders.architectures import SmallKL
from latentsr.autoencoders.network import save_network
from latentsr.config import sha256, signed, write_json
from latentsr.data.latents import LatentCache, fill_cache, open_cache
from latentsr.data.records import Dataset, Record, write_dataset
from latentsr.degrade import enlarge, parse_degradation
from latentsr.errors import InputError, OptionError, StaleError
from latentsr.io.raster import write_pixels

BICUBIC = parse_degradation("bicubic:4")
ROLES = ("latent-up", "latent-native", "pixels")


def made(
    root: Path, n: int = 5, splits: tuple[str, ...] = ("train", "valid"), side: int = 32, name: str = "d"
) -> Dataset:
    records = []
    for split in splits:
        for i in range(n):
            pixels = np.random.default_rng([n, i, len(split)]).integers(0, 255, (side, side + 16), np.uint8)
            path = root / f"{split}{i}.png"
            write_pixels(path, pixels)
            records.append(Record(path.stem, f"p{i}", split, path.name, side, side + 16, sha256(path)))
    return write_dataset(root, name, records, {})


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return made(tmp_path / "data")


def filled(dataset: Dataset, out: Path, **options: object) -> LatentCache:
    return fill_cache([dataset], load_autoencoder("haar"), BICUBIC, out, **{"batch": 2, **options})


def content(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*.npy"))}


def test_every_role_is_what_the_autoencoder_says_of_the_image(dataset: Dataset, tmp_path: Path) -> None:
    cache, haar = filled(dataset, tmp_path / "cache", conditions=ROLES), load_autoencoder("haar")
    for split in ("train", "valid"):
        assert cache.ids(split) == [record.id for record in dataset.select(split)]
        assert cache.datasets(split) == ["d"] * 5
        hr = torch.from_numpy(np.stack([dataset.image(r) for r in dataset.select(split)]))[:, None] * 2 - 1
        lr = BICUBIC.apply(hr)
        expected = {
            "hr": haar.encode(hr), "latent-up": haar.encode(enlarge(lr, 4)),
            "latent-native": haar.encode(lr), "pixels": lr,
        }  # fmt: skip
        for role, values in expected.items():
            array = cache.array(split, role)
            assert isinstance(array, np.memmap)
            assert not array.flags.writeable
            assert np.allclose(array, values, atol=1e-6), role
    assert np.allclose(cache.array("valid", "image") * 2 - 1, hr)
    assert not (cache.root / "train" / "image.npy").exists()


def test_statistics_are_those_of_the_training_split(dataset: Dataset, tmp_path: Path) -> None:
    cache = filled(dataset, tmp_path / "cache", conditions=ROLES)
    arrays = {role: cache.array("train", role).astype(np.float64) for role in ("hr", *ROLES)}
    arrays["residual"] = arrays["hr"] - arrays["latent-up"]
    assert set(cache.statistics) == set(arrays)
    for role, array in arrays.items():
        assert np.allclose(cache.statistics[role]["mean"], array.mean(axis=(0, 2, 3)), atol=1e-9)
        assert np.allclose(cache.statistics[role]["sd"], array.std(axis=(0, 2, 3)), atol=1e-9)


def test_batches_and_order_of_filling_change_nothing(dataset: Dataset, tmp_path: Path) -> None:
    first, second = (filled(dataset, tmp_path / f"cache{n}", batch=n) for n in (1, 4))
    assert content(first.root) == content(second.root)
    assert first.hash == second.hash


def test_batches_change_the_latents_of_a_network_by_rounding_alone(dataset: Dataset, tmp_path: Path) -> None:
    """What docs/evaluation.md says of a KL autoencoder."""
    save_network(SmallKL(width=8, blocks=2), tmp_path / "vae")
    autoencoder = load_autoencoder(tmp_path / "vae")
    first, second = (
        fill_cache([dataset], autoencoder, BICUBIC, tmp_path / f"cache{n}", batch=n).array("train", "hr")
        for n in (1, 4)
    )
    assert np.abs(first - second).max() <= 1e-6 * np.abs(first).max()


@pytest.mark.parametrize("place", [2, 8])
def test_resume_after_sigkill_equals_an_undisturbed_run(
    dataset: Dataset, tmp_path: Path, forked: Callable, place: int
) -> None:
    """Killed in the first batch between its roles, and in a later one of the second split."""
    haar, encoded = load_autoencoder("haar"), []
    encode = haar.encode

    def encode_until_killed(images: torch.Tensor) -> torch.Tensor:
        encoded.append(images)
        if len(encoded) == place:
            os.kill(os.getpid(), signal.SIGKILL)
        return encode(images)

    def killed() -> None:
        haar.encode = encode_until_killed
        fill_cache([dataset], haar, BICUBIC, tmp_path / "killed", batch=2)

    assert forked(killed) == -signal.SIGKILL
    with pytest.raises(InputError, match=r"unfinished|no cache"):
        open_cache(tmp_path / "killed")
    resumed, undisturbed = filled(dataset, tmp_path / "killed"), filled(dataset, tmp_path / "undisturbed")
    assert content(resumed.root) == content(undisturbed.root)
    for key in ("key", "ids", "statistics", "datasets"):
        assert resumed.manifest[key] == undisturbed.manifest[key]
    assert {p.name for p in resumed.root.iterdir()} == {"train", "valid", "manifest.json"}


class Breaking:
    """A Haar that fails at its n-th call."""

    def __init__(self, n: int) -> None:
        self.inner, self.left = load_autoencoder("haar"), n
        self.spec, self.hash, self.folder = self.inner.spec, self.inner.hash, None

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt
        return self.inner.encode(images)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        return self.inner.decode(latents)


@pytest.mark.parametrize("n", [2, 3, 5])
def test_an_unfinished_cache_of_other_data_is_never_mixed_with(tmp_path: Path, n: int) -> None:
    with pytest.raises(KeyboardInterrupt):
        fill_cache([made(tmp_path / "more", 9)], Breaking(n), BICUBIC, tmp_path / "cache", batch=2)
    fewer = made(tmp_path / "fewer", 3)
    if not (tmp_path / "cache").exists():
        assert len(filled(fewer, tmp_path / "cache").array("train", "hr")) == 3
        return
    with pytest.raises(StaleError, match="of other autoencoder, dataset, degradation or condition"):
        filled(fewer, tmp_path / "cache")


def test_a_finished_cache_is_returned_and_anything_else_is_stale(dataset: Dataset, tmp_path: Path) -> None:
    cache = filled(dataset, tmp_path / "cache")
    before = {path: path.stat().st_mtime_ns for path in cache.root.rglob("*")}
    assert filled(dataset, tmp_path / "cache").manifest == cache.manifest
    others = [
        (dataset, "haar-2", BICUBIC, {}),
        (dataset, "haar", parse_degradation("lanczos:4"), {}),
        (dataset, "haar", BICUBIC, {"conditions": ("pixels",)}),
        (made(tmp_path / "other", 4), "haar", BICUBIC, {}),
    ]
    for data, name, degradation, options in others:
        with pytest.raises(StaleError, match="choose another output folder"):
            fill_cache([data], load_autoencoder(name), degradation, tmp_path / "cache", **options)
    assert {path: path.stat().st_mtime_ns for path in cache.root.rglob("*")} == before


def test_several_datasets_share_a_cache(dataset: Dataset, tmp_path: Path) -> None:
    second = made(tmp_path / "second", 2, ("train",), name="e")
    cache = fill_cache([dataset, second], load_autoencoder("haar"), BICUBIC, tmp_path / "cache")
    assert cache.datasets("train") == ["d"] * 5 + ["e"] * 2
    assert len(cache.array("train", "hr")) == 7


def test_bad_input_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    good = made(tmp_path / "good")
    cases = [
        ([good, made(tmp_path / "mixed", side=48, name="e")], {}, InputError, r"2 sizes.*option size"),
        ([good, made(tmp_path / "same")], {}, InputError, "datasets named d, d: expected different names"),
        (
            [made(tmp_path / "no-train", splits=("valid",))],
            {},
            InputError,
            "no images in split 'train'; there are valid",
        ),
        ([made(tmp_path / "odd", side=30)], {}, InputError, "not a multiple of the scale 4"),
        ([good], {"conditions": ("pixel",)}, OptionError, "^condition pixel: expected some of latent-up"),
        ([made(tmp_path / "small", side=8)], {"conditions": ("latent-native",)}, InputError, "multiples of 4"),
    ]
    for datasets, options, error, message in cases:
        with pytest.raises(error, match=message):
            fill_cache(datasets, load_autoencoder("haar"), BICUBIC, tmp_path / "cache", **options)
        assert not (tmp_path / "cache").exists(), message


def test_non_finite_latents_are_an_error(dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    haar = load_autoencoder("haar")
    monkeypatch.setattr(type(haar), "encode", lambda self, images: images * torch.nan)
    with pytest.raises(InputError, match="haar gave non-finite latents"):
        fill_cache([dataset], haar, BICUBIC, tmp_path / "cache")


def test_missing_roles_and_caches_say_what_to_run(dataset: Dataset, tmp_path: Path) -> None:
    cache = filled(dataset, tmp_path / "cache", conditions=("pixels",))
    with pytest.raises(InputError, match="run 'encode' with the condition latent-up"):
        cache.array("train", "latent-up")
    with pytest.raises(InputError, match="no cache; run 'encode'"):
        open_cache(tmp_path)
    assert "residual" not in cache.statistics


@pytest.mark.parametrize("content", ["[]", "{}", '{"key": "f00d", "weights_sha256": "f00d"}'])
def test_the_manifest_of_something_else_is_no_cache(dataset: Dataset, tmp_path: Path, content: str) -> None:
    (tmp_path / "vae").mkdir()
    (tmp_path / "vae" / "manifest.json").write_text(content)
    with pytest.raises(InputError, match="is that of no latent cache"):
        open_cache(tmp_path / "vae")
    with pytest.raises(StaleError, match="latent cache"):
        filled(dataset, tmp_path / "vae")


def interrupted(dataset: Dataset, out: Path, n: int) -> None:
    """Fills until the n-th call of `encode`; a batch makes two."""
    with pytest.raises(KeyboardInterrupt):
        fill_cache([dataset], Breaking(n), BICUBIC, out, batch=2)


@pytest.mark.parametrize("name", ["train/hr.npy", "train/pixels.npy", "valid/image.npy"])
@pytest.mark.parametrize("way", ["vanished", "altered", "cut", "reshaped", "number"])
def test_finished_rows_that_are_not_as_they_were_written_are_stale(
    dataset: Dataset, tmp_path: Path, name: str, way: str
) -> None:
    """They were filled with zeros where the file had vanished."""
    interrupted(dataset, tmp_path / "cache", 9)
    path = tmp_path / "cache" / name
    content = path.read_bytes()
    place = 128 + 4 * 7  # a value of the first row
    if way == "vanished":
        path.unlink()
    elif way in ("reshaped", "number"):
        np.save(path, np.zeros((5, 3) if way == "reshaped" else (), np.float32))
    else:
        path.write_bytes(
            content[:200] if way == "cut" else content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
        )
    with pytest.raises(StaleError, match=rf"{path.name}: .*remove the folder .*cache and run 'encode' again"):
        filled(dataset, tmp_path / "cache")


def test_an_altered_record_of_what_is_finished_is_stale(dataset: Dataset, tmp_path: Path) -> None:
    interrupted(dataset, tmp_path / "cache", 5)
    partial = tmp_path / "cache" / "manifest.partial.json"
    text = partial.read_text()
    assert '"train": 4' in text
    partial.write_text(text.replace('"train": 4', '"train": 5'))
    with pytest.raises(StaleError, match=r"manifest\.partial\.json: altered; remove the folder"):
        filled(dataset, tmp_path / "cache")


def test_the_manifest_has_the_sha256_of_every_array_also_after_a_resume(dataset: Dataset, tmp_path: Path) -> None:
    interrupted(dataset, tmp_path / "cache", 5)
    cache = filled(dataset, tmp_path / "cache", batch=3)
    files = {path.relative_to(cache.root).as_posix()[:-4]: sha256(path) for path in cache.root.rglob("*.npy")}
    assert cache.manifest["sha256"] == files
    cache.check([("train", "hr"), ("valid", "image")])


@pytest.mark.parametrize("place", [60, 128, -1])
def test_one_altered_byte_of_an_array_is_noticed_before_use(dataset: Dataset, tmp_path: Path, place: int) -> None:
    cache = filled(dataset, tmp_path / "cache")
    path = cache.root / "train" / "hr.npy"
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"hr\.npy: cut off or altered since 'encode'; remove"):
        cache.check([("train", "pixels"), ("train", "hr")])


def test_one_altered_value_of_the_manifest_is_noticed(dataset: Dataset, tmp_path: Path) -> None:
    path = filled(dataset, tmp_path / "cache").root / "manifest.json"
    text = path.read_text()
    path.write_text(text.replace('"size": [\n    32', '"size": [\n    33'))
    assert path.read_text() != text
    with pytest.raises(InputError, match=r"manifest\.json: altered"):
        open_cache(path.parent)


def test_a_cache_of_nan_is_blamed_by_its_rows(dataset: Dataset, tmp_path: Path) -> None:
    """Whoever made it so: its hashes are right."""
    cache = filled(dataset, tmp_path / "cache")
    path = cache.root / "train" / "hr.npy"
    array = np.load(path)
    array[[1, 3], 0, 2] = np.nan
    np.save(path, array)
    manifest = {**cache.manifest, "sha256": cache.manifest["sha256"] | {"train/hr": sha256(path)}}
    write_json(cache.root / "manifest.json", signed(manifest))
    with pytest.raises(InputError, match=r"hr\.npy: NaN or infinity in 2 of 5 rows \(1, 3; .* under ids\.train\)"):
        open_cache(cache.root).check([("train", "hr")])


@pytest.mark.parametrize("array", [np.zeros((5, 16)), np.zeros((4, 16, 8, 12), np.float32), np.zeros(1), "text"])
def test_an_array_of_another_shape_is_one_line(dataset: Dataset, tmp_path: Path, array: np.ndarray) -> None:
    cache = filled(dataset, tmp_path / "cache")
    np.save(cache.root / "train" / "hr.npy", array)
    with pytest.raises(InputError, match=r"hr\.npy: cut off or altered"):
        cache.array("train", "hr")


@pytest.mark.parametrize("left", [0, 64, -4])
def test_a_cut_array_is_one_line(dataset: Dataset, tmp_path: Path, left: int) -> None:
    cache = filled(dataset, tmp_path / "cache")
    path = cache.root / "train" / "hr.npy"
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(InputError, match=r"hr\.npy: cut off or altered"):
        cache.array("train", "hr")


def test_arrays_take_their_disk_space_before_they_are_filled(dataset: Dataset, tmp_path: Path) -> None:
    """A full disk is then an error at the start, and not a fault of the memory map."""
    path = filled(dataset, tmp_path / "cache").root / "train" / "hr.npy"
    assert path.stat().st_blocks * 512 >= path.stat().st_size


def test_images_that_changed_since_they_were_prepared_are_refused_before_any_work(
    dataset: Dataset, tmp_path: Path
) -> None:
    write_pixels(dataset.root / "valid1.png", np.zeros((32, 48), np.uint8))
    with pytest.raises(InputError, match=r"dataset 'd': 1 of 10 image files are missing or changed") as caught:
        filled(dataset, tmp_path / "cache")
    assert "valid1" not in str(caught.value)
    assert not (tmp_path / "cache").exists()


def test_a_trained_autoencoder_travels_with_the_cache(dataset: Dataset, tmp_path: Path) -> None:
    save_network(SmallKL(width=4, blocks=1), tmp_path / "vae")
    (tmp_path / "vae" / "logs").mkdir()
    autoencoder = load_autoencoder(tmp_path / "vae")
    cache = fill_cache([dataset], autoencoder, BICUBIC, tmp_path / "cache")
    kept = load_autoencoder(open_cache(cache.root).autoencoder)
    assert kept.hash == autoencoder.hash
    assert not (cache.root / "autoencoder" / "logs").exists()
    assert filled(made(tmp_path / "data2"), tmp_path / "cache2").autoencoder == "haar"
