"""Bootstrap intervals of means, with the patient (or any cluster of images) as the unit that is drawn."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

BLOCK = 500  # draws at a time, so that memory does not grow with them


def cluster_intervals(
    values: ArrayLike, clusters: Sequence[str], *, draws: int = 10_000, level: float = 0.95, seed: int = 0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(low, high): the percentile interval of each column's mean over images, each (columns,).

    Whole clusters are drawn with replacement, and a drawn cluster brings all its images; the same draws serve all
    columns. An interval is NaN where fewer than two clusters have values.

    Args:
        values: (images, columns); NaN where an image has no value.
        clusters: the cluster, such as the patient, of each image.
        draws: number of resamples.
        level: share of the resampled means inside the interval.
        seed: of the random stream; one seed gives one interval, whatever the order of the images.

    Source: Efron and Tibshirani 1993, chapter 13 (percentile interval); Davison and Hinkley 1997, section 3.8
    (clusters).
    """
    sums, counts = _by_cluster(np.asarray(values, dtype=np.float64), clusters)
    means = np.concatenate([_resampled(sums, counts, n, rng) for n, rng in _blocks(draws, seed)])
    tail = (1 - level) / 2
    enough = (counts > 0).sum(axis=0) > 1
    bounds = np.full((2, sums.shape[1]), np.nan)
    # A draw can miss every image that has a value in a column: that draw then has no mean there.
    bounds[:, enough] = np.nanquantile(means[:, enough], [tail, 1 - tail], axis=0)
    return bounds[0], bounds[1]


def _by_cluster(
    values: NDArray[np.float64], clusters: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sum and number of the values in each cluster, (clusters, columns), clusters in the order of their names."""
    names, members = np.unique(np.asarray(clusters), return_inverse=True)
    sums, counts = np.zeros((2, len(names), values.shape[1]))
    np.add.at(sums, members, np.nan_to_num(values))
    np.add.at(counts, members, ~np.isnan(values))
    return sums, counts


def _blocks(draws: int, seed: int) -> list[tuple[int, np.random.Generator]]:
    """(draws, generator) of each block; all blocks share one stream."""
    rng = np.random.default_rng(seed)
    return [(min(BLOCK, draws - start), rng) for start in range(0, draws, BLOCK)]


def _resampled(
    sums: NDArray[np.float64], counts: NDArray[np.float64], draws: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """The columns' means in so many resamples, (draws, columns)."""
    clusters = len(sums)
    times = rng.multinomial(clusters, np.full(clusters, 1 / clusters), size=draws).astype(np.float64)
    with np.errstate(invalid="ignore"):
        return (times @ sums) / (times @ counts)
