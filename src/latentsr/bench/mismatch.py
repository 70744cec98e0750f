"""Images that are not what their name says: their LR fits another image's LR far better than its own, or nobody's.

Names that agree prove nothing: files numbered anew after a sort carry other images' names. But an SR image must reduce
to its own LR. This compares thumbnails of A(SR) with thumbnails of all LR images of the split, also of those that a
limit left out, and how well each image fits its LR with how well bicubic's does.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from latentsr.upscalers import BICUBIC

BETTER = 4.0  # another image's LR must fit so many times better (6 dB) than its own
FLOOR = 1e-5  # MSE of thumbnails below which an image fits its own LR, whoever fits better (duplicates in a set)
CHUNK = 512  # images a block of the comparison of all with all
FENCE, FAR, LOW = 3.0, 6.0, 40.0  # an outlier: interquartile ranges below the first quartile; dB below the median; dB
UNEXPLAINED = 10.0  # dB below bicubic's LR PSNR of the same image: another image, or hardly the same
MOST = 0.5  # a larger share of unexplained images is said of the method as a whole

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class Suspicion:
    """Images of one method that do not agree with their input.

    `kind`: `other`, they look like other images of the set (`resembles` says which, in the order of `images`);
    `outlier`, they fit their LR far worse than the method's others, or than bicubic's, and no other LR explains them;
    `all`, the same of most of the method's images. Images are rows of the set; above these, of those not measured.
    """

    kind: Literal["other", "outlier", "all"]
    images: tuple[int, ...]
    resembles: tuple[int, ...] = ()


def suspicions(
    own: Floats, restored: Mapping[str, Floats], lr_psnr: Mapping[str, Floats], others: Floats | None = None
) -> dict[str, list[Suspicion]]:
    """What is suspicious, by method; nothing for most.

    Args:
        own: thumbnails of the LR images, (images, pixels).
        restored: thumbnails of A(SR) by method, rows as in `own`.
        lr_psnr: PSNR of A(SR) against LR in dB by method, (images,); bicubic's, if there, is what is to be expected.
        others: thumbnails of LR images that were not measured, (others, pixels).
    """
    all_lr = own if others is None else np.concatenate([own, others])
    expected = lr_psnr.get(BICUBIC)
    return {method: _of_one(all_lr, thumbs, lr_psnr[method], expected) for method, thumbs in restored.items()}


def _of_one(all_lr: Floats, thumbs: Floats, lr_psnr: Floats, expected: Floats | None) -> list[Suspicion]:
    nearest, swapped = nearest_other(all_lr, thumbs)
    found = []
    if swapped.any():
        rows = np.flatnonzero(swapped)
        found.append(Suspicion("other", tuple(rows.tolist()), tuple(nearest[rows].tolist())))
    odd = outliers(lr_psnr)
    if expected is not None:
        odd |= lr_psnr < np.minimum(expected - UNEXPLAINED, LOW)
    if (odd := odd & ~swapped).any():
        kind: Literal["all", "outlier"] = "all" if odd.mean() > MOST else "outlier"
        found.append(Suspicion(kind, tuple(np.flatnonzero(odd).tolist())))
    return found


def nearest_other(own: Floats, thumbs: Floats) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """The other image whose LR each image fits best, and whether it fits that far better than its own; (images,) each.

    With one LR there is no other: it is its own nearest.

    Args:
        own: thumbnails of LR images, those of `thumbs` first and in its order, then any others.
        thumbs: thumbnails of A(SR), (images, pixels).
    """
    nearest, swapped = np.arange(len(thumbs)), np.zeros(len(thumbs), bool)
    targets = np.asarray(own, np.float64)
    for start in range(0, len(thumbs) if len(own) > 1 else 0, CHUNK):
        rows = np.arange(start, min(start + CHUNK, len(thumbs)))
        # Mean squared error of every row of one with every row of the other.
        first = np.asarray(thumbs[rows], np.float64)
        squares = np.square(first).mean(axis=1)[:, None] + np.square(targets).mean(axis=1)[None]
        errors = np.asarray((squares - 2 * first @ targets.T / first.shape[1]).clip(min=0))
        mine = np.square(thumbs[rows] - targets[rows]).mean(axis=1)
        errors[np.arange(len(rows)), rows] = np.inf
        nearest[rows] = errors.argmin(axis=1)
        swapped[rows] = (mine > FLOOR) & (BETTER * errors.min(axis=1) < mine)
    return nearest, swapped


def outliers(lr_psnr: Floats) -> NDArray[np.bool_]:
    """Which images fit their LR far worse than the others of the method, (images,)."""
    values = np.where(np.isinf(lr_psnr), 200.0, lr_psnr)  # dB: exact is far above whatever is in doubt
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    fence = min(low - FENCE * (high - low), middle - FAR, LOW)
    return np.asarray(values < fence)
