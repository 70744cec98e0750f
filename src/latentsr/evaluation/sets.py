"""Measures of a whole set of images: how far the SR images together lie from the HR images together, nothing paired."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentsr.metrics.distribution import RELIABLE_FID, SET_METRICS
from latentsr.metrics.pyramid import PATCHES_PER_IMAGE, SMALLEST_LEVEL, patch_descriptors

PATCHES = 16384  # of a level and set in all: what is kept of a set, and the time to sort it, end there
FEWEST = 16  # of an image and level
FEATURES, DESCRIPTORS = "features", "swd"
SET_COLUMNS = ("dataset", "method", "metric", "images", "value")

Extractor = Callable[[Tensor], Tensor]


def patches_an_image(images: int) -> int:
    """How many patches are drawn of each level of each of so many images."""
    return int(np.clip(PATCHES // max(images, 1), FEWEST, PATCHES_PER_IMAGE))


def set_arrays(
    images: Tensor, ids: Sequence[str], *, seed: int, patches: int, extractor: Extractor | None
) -> dict[str, NDArray[np.float32]]:
    """What set measures need of each image: `swd/LEVEL` (batch, patches, 49), and `features` (batch, features).

    An image's patches lie at places that follow from the seed and its id, the same for HR and every method. No patches
    of images under 16 px.
    """
    found: dict[str, NDArray[np.float32]] = {}
    if min(images.shape[-2:]) >= SMALLEST_LEVEL:
        drawn = patch_descriptors(images, [_generator(seed, id) for id in ids], patches=patches)
        found |= {f"{DESCRIPTORS}/{level}": value.float().cpu().numpy() for level, value in drawn.items()}
    if extractor is not None:
        found[FEATURES] = extractor(images).float().cpu().numpy()
    return found


def _generator(seed: int, id: str) -> torch.Generator:
    digest = hashlib.sha256(f"{seed}/{id}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def set_rows(
    dataset: str, reference: Mapping[str, NDArray[Any]], methods: Mapping[str, Mapping[str, NDArray[Any]]], seed: int
) -> pd.DataFrame:
    """One row a method and measure: `swd/LEVEL`, `swd` (the mean over levels), and with features `fid` and `kid`.

    Args:
        dataset: its name.
        reference: HR's arrays as of `set_arrays`, all images together; only what all images have.
        methods: the same of each method.
        seed: of the random directions.
    """
    rows = []
    for method, arrays in methods.items():
        levels = {name: _swd(arrays[name], reference[name], seed) for name in reference if name != FEATURES}
        values = dict(levels)
        if levels:
            values[DESCRIPTORS] = float(np.mean(list(levels.values())))
        if FEATURES in reference and len(reference[FEATURES]) > 1:
            pair = [torch.from_numpy(each[FEATURES]) for each in (arrays, reference)]
            values |= {name: one.function(*pair) for name, one in SET_METRICS.items() if one.takes == FEATURES}
        images = len(next(iter(reference.values()), ()))
        rows += [(dataset, method, name, images, value) for name, value in values.items()]
    return pd.DataFrame(rows, columns=list(SET_COLUMNS))


def _swd(sr: NDArray[Any], hr: NDArray[Any], seed: int) -> float:
    generator = torch.Generator().manual_seed(seed)
    flat = [torch.from_numpy(np.ascontiguousarray(each)).flatten(0, 1) for each in (sr, hr)]
    return SET_METRICS[DESCRIPTORS].function(*flat, generator=generator)


def set_cautions(rows: pd.DataFrame) -> list[str]:
    """What to know of these measures: FID of few images."""
    few = rows[rows["metric"].eq("fid") & rows["images"].lt(RELIABLE_FID)]
    return [
        f"FID of '{dataset}' is of {images} images: below {RELIABLE_FID} it is biased and unreliable; read KID instead."
        for dataset, images in few[["dataset", "images"]].drop_duplicates().itertuples(index=False)
    ]
