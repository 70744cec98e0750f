"""Images that are not what their name says: their LR fits another image's LR far better than its own, or nobody's.

Names that agree prove nothing: files numbered anew after a sort carry other images' names. But an SR image must reduce
to its own LR. This compares thumbnails of A(SR) with thumbnails of all LR images of the set.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

BETTER = 4.0  # another image's LR must fit so many times better (6 dB) than its own
FLOOR = 1e-5  # MSE of thumbnails below which an image fits its own LR, whoever fits better (duplicates in a set)
CHUNK = 512  # images a block of the comparison of all with all
FENCE, FAR, LOW = 3.0, 6.0, 40.0  # an outlier: interquartile ranges below the first quartile; dB below the median; dB
UNRELATED = 20.0  # dB: a method whose median LR PSNR lies below does not restore these inputs

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class Suspicion:
    """Images of one method that do not agree with their input.

    `kind`: `other`, they look like other images of the set (`resembles` says which, in the order of `images`);
    `outlier`, they fit their LR far worse than the method's others and no other LR explains them; `all`, the whole
    method does not reduce to its inputs. Images are rows of the set.
    """

    kind: Literal["other", "outlier", "all"]
    images: tuple[int, ...]
    resembles: tuple[int, ...] = ()


def suspicions(
    own: Floats, restored: Mapping[str, Floats], lr_psnr: Mapping[str, Floats]
) -> dict[str, list[Suspicion]]:
    """What is suspicious, by method; nothing for most.

    Args:
        own: thumbnails of the LR images, (images, pixels).
        restored: thumbnails of A(SR) by method, rows as in `own`.
        lr_psnr: PSNR of A(SR) against LR in dB by method, (images,).
    """
    return {method: _of_one(own, thumbs, lr_psnr[method]) for method, thumbs in restored.items()}


def _of_one(own: Floats, thumbs: Floats, lr_psnr: Floats) -> list[Suspicion]:
    nearest, swapped = nearest_other(own, thumbs)
    found = []
    if swapped.any():
        rows = np.flatnonzero(swapped)
        found.append(Suspicion("other", tuple(rows.tolist()), tuple(nearest[rows].tolist())))
    if np.median(lr_psnr) < UNRELATED and not swapped.any():
        found.append(Suspicion("all", tuple(range(len(own)))))
    elif (odd := outliers(lr_psnr) & ~swapped).any():
        found.append(Suspicion("outlier", tuple(np.flatnonzero(odd).tolist())))
    return found


def nearest_other(own: Floats, thumbs: Floats) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """The other image whose LR each image fits best, and whether it fits that far better than its own; (images,) each.

    With one image there is no other: it is its own nearest.
    """
    nearest, swapped = np.arange(len(own)), np.zeros(len(own), bool)
    targets = np.asarray(own, np.float64)
    for start in range(0, len(own) if len(own) > 1 else 0, CHUNK):
        rows = np.arange(start, min(start + CHUNK, len(own)))
        errors = _mse(np.asarray(thumbs[rows], np.float64), targets)
        mine = np.square(thumbs[rows] - targets[rows]).mean(axis=1)
        errors[np.arange(len(rows)), rows] = np.inf
        nearest[rows] = errors.argmin(axis=1)
        swapped[rows] = (mine > FLOOR) & (BETTER * errors.min(axis=1) < mine)
    return nearest, swapped


def _mse(first: Floats, second: Floats) -> Floats:
    """Mean squared error of every row of one with every row of the other."""
    squares = np.square(first).mean(axis=1)[:, None] + np.square(second).mean(axis=1)[None]
    return np.asarray((squares - 2 * first @ second.T / first.shape[1]).clip(min=0))


def outliers(lr_psnr: Floats) -> NDArray[np.bool_]:
    """Which images fit their LR far worse than the others of the method, (images,)."""
    values = np.where(np.isinf(lr_psnr), 200.0, lr_psnr)  # dB: exact is far above whatever is in doubt
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    fence = min(low - FENCE * (high - low), middle - FAR, LOW)
    return np.asarray(values < fence)
