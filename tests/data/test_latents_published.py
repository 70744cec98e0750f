"""Latents as the study made and released them: posterior draws, and folders of hr_N.npy and lr_N.npy."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from latentsr.autoencoders import load_autoencoder
from latentsr.autoencoders.architectures import SmallKL
from latentsr.autoencoders.network import FrozenAutoencoder, save_network
from latentsr.data.latents import LatentCache, fill_cache
from latentsr.data.records import Dataset, read_dataset
from latentsr.degrade import parse_degradation
from latentsr.errors import InputError, OptionError, StaleError

X4 = parse_degradation("bicubic:4")
NATIVE = ("latent-native",)


@pytest.fixture
def dataset(tmp_path: Path, make_dataset: Callable[..., Dataset]) -> Dataset:
    pixels = [np.random.default_rng(n).integers(0, 256, (64, 64), dtype=np.uint8) for n in range(5)]
    made = make_dataset(tmp_path / "data", pixels, list("aabbc"))
    text = (made.root / "records.csv").read_text().replace(",valid,", ",train,", 3)
    (made.root / "records.csv").write_text(text)
    return read_dataset(made.root)


@pytest.fixture
def vae(tmp_path: Path) -> FrozenAutoencoder:
    torch.manual_seed(0)
    save_network(SmallKL(width=4, blocks=1, latent_channels=3), tmp_path / "vae")
    loaded = load_autoencoder(tmp_path / "vae")
    assert isinstance(loaded, FrozenAutoencoder)
    return loaded


def arrays(cache: LatentCache) -> dict[str, np.ndarray]:
    return {
        f"{split}/{role}": np.array(cache.array(split, role))
        for split in ("train", "valid")
        for role in ("hr", *NATIVE)
    }


def test_draws_follow_from_seed_and_id_and_spread_as_the_posterior(
    dataset: Dataset, vae: FrozenAutoencoder, tmp_path: Path
) -> None:
    def made(name: str, **options: object) -> dict[str, np.ndarray]:
        return arrays(fill_cache([dataset], vae, X4, tmp_path / name, conditions=NATIVE, **options))

    mean, one, again, other = made("m"), made("a", draw=1), made("b", draw=1, batch=1), made("c", draw=2)
    for name, values in one.items():
        np.testing.assert_allclose(values, again[name], atol=1e-5)  # whatever the batch
        assert np.abs(values - other[name]).max() > 0
    record = next(record for record in dataset.records if record.split == "train")
    image = 2 * torch.from_numpy(dataset.image(record))[None, None] - 1
    _, log_variance = vae.network.moments(image)  # type: ignore[operator]
    standard = (one["train/hr"][0] - mean["train/hr"][0]) / (log_variance[0] / 2).exp().detach().numpy()
    assert abs(standard.mean()) < 0.15
    assert standard.std() == pytest.approx(1, abs=0.1)
    with pytest.raises(StaleError):
        made("a", draw=2)


def test_what_has_no_posterior_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="no posterior"):
        fill_cache([dataset], load_autoencoder("haar"), X4, tmp_path / "haar", conditions=NATIVE, draw=0)


@pytest.fixture
def released(dataset: Dataset, vae: FrozenAutoencoder, tmp_path: Path) -> Callable[..., Path]:
    """(named, dtype) -> a folder as released, its latents numbered against the order of ids where they are named."""

    def write(named: bool = True, dtype: str = "float32") -> Path:
        made = fill_cache([dataset], vae, X4, tmp_path / "own", conditions=NATIVE)
        for split in ("train", "valid"):
            ids, folder = made.ids(split), tmp_path / "released" / f"{split}_latent"
            folder.mkdir(parents=True, exist_ok=True)
            order = ids[::-1] if named else sorted(ids)
            for number, id in enumerate(order):
                for role, name in (("hr", "hr"), ("latent-native", "lr")):
                    values = made.array(split, role)[ids.index(id)].astype(dtype)
                    np.save(folder / f"{name}_{number}.npy", values)
            if named:
                (folder / "filenames.txt").write_text("\n".join(order) + "\n")
        return tmp_path / "released"

    return write


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_released_latents_are_those_of_their_images(
    named: bool, dtype: str, dataset: Dataset, vae: FrozenAutoencoder, released: Callable[..., Path], tmp_path: Path
) -> None:
    folder = released(named, dtype)
    cache = fill_cache([dataset], vae, X4, tmp_path / "cache", conditions=NATIVE, released=folder)
    own = arrays(fill_cache([dataset], vae, X4, tmp_path / "own", conditions=NATIVE))
    for name, values in arrays(cache).items():
        np.testing.assert_allclose(values, own[name], atol=0 if dtype == "float32" else 1e-2)


@pytest.mark.parametrize("way", ["lr", "names", "image", "cut", "shape", "condition"])
def test_other_folders_are_one_line_and_leave_no_cache(
    way: str, dataset: Dataset, vae: FrozenAutoencoder, released: Callable[..., Path], tmp_path: Path
) -> None:
    folder, conditions, kind = released(), NATIVE, InputError
    inner = folder / "train_latent"
    if way == "lr":
        (inner / "lr_1.npy").unlink()
        words = "expected as many of each"
    elif way == "names":
        (inner / "filenames.txt").write_text("a\nb\n")
        words = "2 names"
    elif way == "image":
        text = (inner / "filenames.txt").read_text().split("\n")
        (inner / "filenames.txt").write_text("\n".join(["other", *text[1:]]))
        words = "no latents of 1 of"
    elif way == "cut":
        (inner / "hr_0.npy").write_bytes((inner / "hr_0.npy").read_bytes()[:-9])
        words = "cut off"
    elif way == "shape":
        for file in inner.glob("hr_*.npy"):
            np.save(file, np.zeros((4, 16, 16), np.float32))
        words = "makes"
    else:
        conditions, kind, words = ("pixels",), OptionError, "latent-native"
    with pytest.raises(kind, match=words) as error:
        fill_cache([dataset], vae, X4, tmp_path / "cache", conditions=conditions, released=folder)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "cache" / "manifest.json").exists()


def test_the_command_imports(
    dataset: Dataset, vae: FrozenAutoencoder, released: Callable[..., Path], tmp_path: Path, run: Callable
) -> None:
    done = run(
        "encode", dataset.root, "--vae", tmp_path / "vae", "--condition", "latent-native", "--import", released(),
        "-o", tmp_path / "cache",
    )  # fmt: skip
    assert done.status == 0, done.err
    assert (tmp_path / "cache" / "manifest.json").is_file()
