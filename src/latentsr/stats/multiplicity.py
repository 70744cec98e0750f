"""p-values of a family of tests, adjusted so that the chance of one false finding in all of them stays at the level."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from latentsr.errors import InputError


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """The adjusted p-values, (tests,), in the order given; each at least its own p and at most 1.

    NaN (a test that could not be made) stays NaN and does not count in the size of the family. InputError for p
    outside [0, 1].

    Source: Holm 1979, A simple sequentially rejective multiple test procedure; equal to statsmodels' multipletests.
    """
    p = np.asarray(p_values, dtype=np.float64)
    if p.ndim != 1 or ((p < 0) | (p > 1)).any():
        raise InputError(
            f"p-values of shape {p.shape} from {p.min(initial=1)} to {p.max(initial=0)}: expected (tests,) in [0, 1]"
        )
    adjusted = np.full(p.shape, np.nan)
    order = np.argsort(p)[: int((~np.isnan(p)).sum())]  # NaN sorts last
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * factors), 1)
    return adjusted
