"""Measures of a whole set of images: how far the SR images together lie from the HR images together, nothing paired."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentsr.metrics import SET_METRICS
from latentsr.metrics.sets import (
    PATCHES_PER_IMAGE,
    fid,
    kid_left_out,
    patch_descriptors,
    sliced_wasserstein,
    swd_left_out,
)
from latentsr.names import RELIABLE_FID
from latentsr.stats.intervals import FEWEST_GROUPS, jackknife_interval, patient_groups

PATCHES = 16384  # of a level and set in all: what is kept of a set, and the time to sort it, end there
FEWEST = 16  # of an image and level
FEATURES, DESCRIPTORS, REFERENCE = "features", "swd", "reference"
SET_COLUMNS = ("dataset", "method", "metric", "images", "patients", "value", "low", "high")
SET_COMPARISON_COLUMNS = ("dataset", "a", "b", "metric", "images", "patients", "difference", "low", "high")

Extractor = Callable[[Tensor], Tensor]
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SetMeasure:
    """One measure of every method's set: `value` (methods,), and `without` (groups, methods): each group left out.

    `without` is None where a measure gets no interval. FID gets none: its bias grows as images are left out, and below
    RELIABLE_FID images is larger than what patients differ by.
    """

    value: Floats
    without: Floats | None


def patches_an_image(images: int) -> int:
    """How many patches are drawn of each level of each of so many images."""
    return int(np.clip(PATCHES // max(images, 1), FEWEST, PATCHES_PER_IMAGE))


def set_arrays(
    images: Tensor, ids: Sequence[str], *, seed: int, levels: int, patches: int, extractor: Extractor | None
) -> dict[str, NDArray[np.float32]]:
    """What set measures need of each image: `swd/LEVEL` (batch, patches, 49), and `features` (batch, features).

    An image's patches lie at places that follow from the seed and its id, the same for every method and HR as one of
    them. What these are compared with lies at other places (`reference_arrays`): at the same ones the distance would
    be zero for HR, fidelity would enter it, and the scale would have no floor.

    Args:
        images: (batch, 1, rows, columns) in [0, 1].
        ids: one an image.
        seed: of the patches' places.
        levels: of the pyramid, as many as the smallest image of the whole set has; none where it is 0.
        patches: of each image and level.
        extractor: of the features; None: none are taken.
    """
    found = _descriptors(images, [f"{seed}/{id}" for id in ids], DESCRIPTORS, levels, patches)
    if extractor is not None:
        found[FEATURES] = extractor(images).float().cpu().numpy()
    return found


def reference_arrays(
    hr: Tensor, ids: Sequence[str], *, seed: int, levels: int, patches: int
) -> dict[str, NDArray[np.float32]]:
    """HR's patches that all methods are compared with, `reference/swd/LEVEL`: at places independent of theirs."""
    return _descriptors(hr, [f"{seed}/{REFERENCE}/{id}" for id in ids], f"{REFERENCE}/{DESCRIPTORS}", levels, patches)


def _descriptors(
    images: Tensor, streams: Sequence[str], prefix: str, levels: int, patches: int
) -> dict[str, NDArray[np.float32]]:
    if not levels:
        return {}
    seeds = [int.from_bytes(hashlib.sha256(stream.encode()).digest()[:8], "big") >> 1 for stream in streams]
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    drawn = patch_descriptors(images, generators, levels=levels, patches=patches)
    return {f"{prefix}/{level}": value.float().cpu().numpy() for level, value in drawn.items()}


def array_order(name: str) -> tuple[str, int]:
    """What names of `set_arrays` are sorted by: features, then the levels, the finest first."""
    kind, _, level = name.partition("/")
    return kind, int(level.removeprefix("x") or 0)


def set_measures(
    name: str, methods: Sequence[NDArray[Any]], reference: NDArray[Any], patients: Sequence[str], seed: int
) -> dict[str, SetMeasure]:
    """What arrays of one kind say of the methods: one `swd/LEVEL`, or of features `fid` and `kid`.

    Args:
        name: of the arrays, as in `set_arrays`.
        methods: these arrays of all images together, of each method.
        reference: that of HR which they are compared with.
        patients: of each image, in the same order.
        seed: of the random directions and of the groups of patients.
    """
    groups = patient_groups(patients, seed=seed)
    if name != FEATURES:
        return {name: _swd(methods, reference, groups, seed)}
    if len(reference) < 2:
        return {}
    target, sets = torch.from_numpy(reference), [torch.from_numpy(features) for features in methods]
    members = np.unique(patients, return_inverse=True)[1]
    kids = [kid_left_out(features, target, members, groups) for features in sets]
    return {
        "fid": SetMeasure(np.array([fid(features, target) for features in sets]), None),
        "kid": SetMeasure(np.array([value for value, _ in kids]), np.stack([left for _, left in kids], axis=1)),
    }


def _swd(methods: Sequence[NDArray[Any]], reference: NDArray[Any], groups: NDArray[np.intp], seed: int) -> SetMeasure:
    target, sets = _flat(reference), [_flat(drawn) for drawn in methods]
    whole = sliced_wasserstein(sets, target, generator=_directions(seed))
    if groups.max() + 1 < FEWEST_GROUPS:
        return SetMeasure(whole, None)
    of_patches = np.repeat(groups, reference.shape[1])
    seen, without = swd_left_out(sets, target, of_patches, generator=_directions(seed))
    return SetMeasure(whole, without + (whole - seen))  # `seen` is along fewer directions than the value


def _directions(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _flat(drawn: NDArray[Any]) -> Tensor:
    return torch.from_numpy(drawn).flatten(0, 1)


def with_mean_level(found: Mapping[str, SetMeasure]) -> dict[str, SetMeasure]:
    """The measures, and `swd`: the mean over the levels, if there are any."""
    levels = [one for name, one in found.items() if name.startswith(f"{DESCRIPTORS}/")]
    if not levels:
        return dict(found)
    without = [one.without for one in levels if one.without is not None]
    mean = SetMeasure(np.mean([one.value for one in levels], axis=0), np.mean(without, axis=0) if without else None)
    return {**found, DESCRIPTORS: mean}


def set_rows(
    dataset: str, methods: Sequence[str], found: Mapping[str, SetMeasure], patients: Sequence[str], seed: int
) -> pd.DataFrame:
    """One row a method and measure: its value and the interval, NaN where there is none.

    Args:
        dataset: its name.
        methods: their names, in the order of the measures' values.
        found: the measures by name.
        patients: of each image.
        seed: of the groups of patients.
    """
    sizes = np.bincount(patient_groups(patients, seed=seed))
    rows = []
    for name, one in found.items():
        low, high = _interval(one.value, one.without, sizes)
        least = SET_METRICS[name.partition("/")[0]].range[0]
        rows += [
            (dataset, method, name, len(patients), len(set(patients)), *numbers)
            for method, *numbers in zip(methods, one.value, np.maximum(low, least), high, strict=True)
        ]
    rows.sort(key=lambda row: methods.index(row[1]))
    return pd.DataFrame(rows, columns=list(SET_COLUMNS))


def set_comparison_rows(
    dataset: str,
    methods: Sequence[str],
    pairs: Sequence[tuple[str, str]],
    found: Mapping[str, SetMeasure],
    patients: Sequence[str],
    seed: int,
) -> pd.DataFrame:
    """One row a pair (a, b) and measure: a's value minus b's, and the interval of the same patients left out of both.

    Of `set_rows`' arguments, and `pairs` of methods.
    """
    sizes = np.bincount(patient_groups(patients, seed=seed))
    first, second = ([methods.index(pair[side]) for pair in pairs] for side in (0, 1))
    rows = []
    for name, one in found.items():
        difference = one.value[first] - one.value[second]
        without = None if one.without is None else one.without[:, first] - one.without[:, second]
        bounds = zip(difference, *_interval(difference, without, sizes), strict=True)
        rows += [
            (dataset, a, b, name, len(patients), len(set(patients)), *numbers)
            for (a, b), numbers in zip(pairs, bounds, strict=True)
        ]
    return pd.DataFrame(rows, columns=list(SET_COMPARISON_COLUMNS))


def _interval(value: Floats, without: Floats | None, sizes: NDArray[np.intp]) -> tuple[Floats, Floats]:
    if without is None:
        nothing = np.full(value.shape, np.nan)
        return nothing, nothing
    return jackknife_interval(value, without, sizes.tolist())


def set_cautions(rows: pd.DataFrame) -> list[str]:
    """What to know of these measures: FID of few images."""
    few = rows[rows["metric"].eq("fid") & rows["images"].lt(RELIABLE_FID)]
    return [
        f"FID of '{dataset}' is of {images} images: below {RELIABLE_FID} it is biased and unreliable; read KID instead."
        for dataset, images in few[["dataset", "images"]].drop_duplicates().itertuples(index=False)
    ]
