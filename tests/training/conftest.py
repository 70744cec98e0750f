"""Small latent caches, and a model trained on one."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from latentsr.autoencoders import load_autoencoder
from latentsr.config import sha256
from latentsr.data.latents import LatentCache, fill_cache
from latentsr.data.records import Record, write_dataset
from latentsr.degrade import parse_degradation
from latentsr.io.raster import write_pixels
from latentsr.training.denoiser import TrainConfig
from latentsr.training.fit_denoiser import fit_denoiser

TINY = TrainConfig(channels=(8, 8), layers=1, groups=4, crop=8, batch=2, steps=8, validate_every=4, seed=3)


def _picture(seed: int, side: int) -> np.ndarray:
    smooth = np.random.default_rng(seed).normal(size=(side, side)).cumsum(0).cumsum(1)
    return np.uint8(255 * (smooth - smooth.min()) / np.ptp(smooth))


@pytest.fixture(scope="session")
def made() -> Callable[..., LatentCache]:
    """The cache of three pictures a split, under a folder."""

    def make(
        root: Path, splits: tuple[str, ...] = ("train", "valid"), autoencoder: str | Path = "haar", side: int = 32
    ) -> LatentCache:
        records = []
        for number, split in enumerate(splits):
            for n in range(3):
                path = root / "data" / f"{split}{n}.png"
                write_pixels(path, _picture(10 * number + n, side))
                records.append(Record(path.stem, path.stem, split, path.name, side, side, sha256(path)))
        dataset = write_dataset(root / "data", "made", records, {})
        return fill_cache([dataset], load_autoencoder(autoencoder), parse_degradation("bicubic:4"), root / "cache")

    return make


@pytest.fixture(scope="module")
def cache(made: Callable[..., LatentCache], tmp_path_factory: pytest.TempPathFactory) -> LatentCache:
    return made(tmp_path_factory.mktemp("made"))


@pytest.fixture(scope="module")
def trained(cache: LatentCache, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model of a training of 8 steps, to be read only."""
    return fit_denoiser(cache, tmp_path_factory.mktemp("trained") / "tiny", TINY, device="cpu", modalities=("MR",))
