"""Intervals by resampling patients: the bootstrap of means, and the jackknife of one number of a whole set."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm
from scipy.stats import t as student

from latentsr.errors import InputError, OptionError

BLOCK = 960  # draws at a time, so that memory does not grow with them
COLUMNS_AT_ONCE = 256  # columns whose resampled means are held together: 20 MB at 10,000 draws

Floats = NDArray[np.float64]


def cluster_intervals(
    values: ArrayLike, clusters: Sequence[str], *, draws: int = 10_000, level: float = 0.95, seed: int = 0
) -> tuple[Floats, Floats]:
    """(low, high): the expanded percentile interval of each column's mean over images, each (columns,).

    Whole clusters are drawn with replacement, and a drawn cluster brings all its images, so a resampled mean is a
    ratio of sums; the same draws serve all columns. The plain percentile interval is too narrow with few clusters
    (it takes normal for Student quantiles, and n for n - 1): its levels are therefore moved outwards as
    `expanded_tail` says. Measured coverage of normal values at level 95 %, in 3,000 studies each: 94 to 95 % from 6
    patients on where these have about as many images, and more, up to 99 %, where few have most of the images (98 % of
    nine patients with 1 and one with 30, 99 % of thirty with 1 and three with 40): such intervals are too wide rather
    than too narrow. 92 % at 5 patients; with fewer the interval is the range of the resampled means and covers less (4:
    87 %, 3: 75 %). Of exponential patient means 91 to 95 % at 15 and 93 to 94 % at 60. An interval is NaN where fewer
    than two clusters have values.

    Args:
        values: (images, columns); NaN where an image has no value.
        clusters: the cluster, such as the patient, of each image; each image its own for a bootstrap by image.
        draws: number of resamples.
        level: share of intervals, over repeated studies, that shall hold the truth.
        seed: of the random stream; one seed gives one interval, whatever the order of the images.

    Source: Hesterberg 2015, What teachers should know about the bootstrap, the expanded percentile interval;
    Davison and Hinkley 1997, section 3.8 (clusters).
    """
    if not 0 < level < 1 or draws < 1:
        raise OptionError(f"level {level} and {draws} draws: expected a level between 0 and 1 and at least one draw")
    columns = np.asarray(values, dtype=np.float64)
    if columns.ndim != 2 or len(columns) != len(clusters):
        raise OptionError(f"values of shape {columns.shape} for {len(clusters)} clusters: expected (images, columns)")
    if np.isinf(columns).any():
        raise InputError("infinite values have no mean: leave them out (NaN) and count them apart")
    sums, counts = _by_cluster(columns, clusters)
    bounds = np.full((2, sums.shape[1]), np.nan)
    for at in _slices(np.flatnonzero((counts > 0).sum(axis=0) > 1)):
        # Drawn anew for each slice, block by block: all draws of 5,000 images at once would take 400 MB.
        blocks = [_resampled(times, sums[:, at], counts[:, at]) for times in _draws(len(sums), draws, seed)]
        bounds[:, at] = _bounds(np.concatenate(blocks, axis=1), expanded_tail(counts[:, at], level))
    return bounds[0], bounds[1]


def expanded_tail(counts: ArrayLike, level: float) -> Floats:
    """The quantile level of each column's lower bound, (columns,): normal(sqrt(n / (n - 1)) t), t Student's quantile.

    Student's t has n - 1 degrees of freedom, and n is the effective number of clusters: (sum of sizes)^2 / sum of
    squared sizes, which is their number where they are equally large. With it, the truth is covered at least as often
    where patients have very unequal numbers of images as where they have equal ones.

    Args:
        counts: (clusters, columns), the number of values in each cluster.
        level: of the interval.

    Source: Hesterberg 2015; Carter, Schnepel and Steigerwald 2017 (effective number of clusters).
    """
    sizes = np.asarray(counts, dtype=np.float64)
    effective = sizes.sum(axis=0) ** 2 / (sizes**2).sum(axis=0)
    spread = np.sqrt(effective / (effective - 1))
    return np.asarray(norm.cdf(spread * student.ppf((1 - level) / 2, effective - 1)), dtype=np.float64)


def _by_cluster(values: Floats, clusters: Sequence[str]) -> tuple[Floats, Floats]:
    """Sum and number of the values in each cluster, (clusters, columns), clusters in the order of their names."""
    names, members = np.unique(np.asarray(clusters), return_inverse=True)
    sums, counts = np.zeros((2, len(names), values.shape[1]))
    np.add.at(sums, members, np.where(np.isnan(values), 0, values))
    np.add.at(counts, members, ~np.isnan(values))
    return sums, counts


def _draws(clusters: int, draws: int, seed: int) -> Iterator[Floats]:
    """How often each cluster comes in each draw, blocks of (draws, clusters) of one stream."""
    rng = np.random.default_rng(seed)
    for start in range(0, draws, BLOCK):
        drawn = rng.integers(clusters, size=(min(BLOCK, draws - start), clusters))
        rows = np.arange(len(drawn))[:, None] * clusters
        yield np.bincount((drawn + rows).ravel(), minlength=drawn.size).reshape(drawn.shape).astype(np.float64)


def _slices(columns: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    return [columns[start : start + COLUMNS_AT_ONCE] for start in range(0, len(columns), COLUMNS_AT_ONCE)]


def _resampled(times: Floats, sums: Floats, counts: Floats) -> Floats:
    """The columns' means in each draw, (columns, draws); NaN where a draw has no image with a value."""
    patterns, pattern = np.unique(counts, axis=1, return_inverse=True)  # most columns lack no value: one division
    with np.errstate(invalid="ignore"):
        return (sums.T @ times.T) / (patterns.T @ times.T)[pattern.ravel()]


def _bounds(means: Floats, tails: Floats) -> Floats:
    """Lower and upper quantile of each row's finite means, (2, rows)."""
    bounds = []
    for row, tail in zip(means, tails, strict=True):
        bounds.append(np.quantile(row[~np.isnan(row)], [tail, 1 - tail]))
    return np.array(bounds).T


MOST_GROUPS = 20  # more cost time and hardly narrow Student's t
FEWEST_GROUPS = 5  # with fewer no interval is to be trusted


def patient_groups(clusters: Sequence[str], *, most: int = MOST_GROUPS, seed: int = 0) -> NDArray[np.intp]:
    """The group, from 0, that each image belongs to: each patient one of its own, or at most `most` groups of patients.

    Patients are dealt to groups in a random order, those of many images first, each to the group of fewest images: a
    patient is in one group with all images, and groups are about equally large. The order of images changes nothing.

    Args:
        clusters: the patient of each image.
        most: groups, 2 or more.
        seed: of the random order.
    """
    if most < 2:
        raise OptionError(f"{most} groups: expected 2 or more")
    names, members, sizes = np.unique(np.asarray(clusters), return_inverse=True, return_counts=True)
    if len(names) <= most:
        return members
    drawn = np.random.default_rng(seed).permutation(len(names))
    group, filled = np.zeros(len(names), np.intp), np.zeros(most, np.intp)
    for patient in drawn[np.argsort(-sizes[drawn], kind="stable")]:
        group[patient] = filled.argmin()
        filled[group[patient]] += sizes[patient]
    return group[members]


def jackknife_interval(
    value: ArrayLike, without: ArrayLike, sizes: Sequence[int], *, level: float = 0.95
) -> tuple[Floats, Floats]:
    """(low, high), each (columns,): value -+ t times the jackknife's standard error, patients being the unit.

    What a set of images is as a whole (KID, sliced Wasserstein) has no value an image, so its mean cannot be
    bootstrapped. Nor may its images be: a draw with replacement holds an image twice, and then an unbiased kernel
    distance compares the image with itself, a sorted one finds it matched. Leaving groups out never doubles an image.
    Student's t has one degree of freedom less than there are effective groups, (sum of sizes)^2 / sum of squared sizes,
    which is their number where they are equally large. NaN with fewer than FEWEST_GROUPS groups.

    The interval is of the value of sets of as many images: a bias that depends on their number stays in it.

    Args:
        value: of all images, (columns,).
        without: (groups, columns): the same with each group of images left out.
        sizes: images in each group.
        level: share of intervals, over repeated studies, that shall hold the truth.

    Measured coverage at level 95 %: of a mean 94 to 95 % from 5 patients on, also of unequal numbers of images; of a
    standard deviation, whose spread is skewed, 91 % at 5 to 8 patients, 93 % at 20 and 94 to 95 % from 60 on.

    Source: Shao and Tu 1995, The jackknife and bootstrap, chapter 2; Kott 2001, The delete-a-group jackknife;
    MacKinnon, Nielsen and Webb 2023, Cluster-robust inference (CV3J: groups of unequal size); Carter, Schnepel and
    Steigerwald 2017 (effective number of clusters).
    """
    whole, left = np.asarray(value, np.float64), np.asarray(without, np.float64)
    counts = np.asarray(sizes, np.float64)
    if not 0 < level < 1:
        raise OptionError(f"level {level}: expected a number between 0 and 1, such as 0.95")
    if left.shape != (len(counts), *whole.shape) or whole.ndim != 1:
        raise InputError(
            f"values of shape {left.shape} without each of {len(counts)} groups, and {whole.shape} of all: expected "
            "(groups, columns) and (columns,)"
        )
    if len(counts) < FEWEST_GROUPS:
        nothing = np.full(whole.shape, np.nan)
        return nothing, nothing
    effective = counts.sum() ** 2 / (counts**2).sum()
    error = np.sqrt((len(counts) - 1) * left.var(axis=0))
    reach = student.ppf((1 + level) / 2, effective - 1) * error
    return whole - reach, whole + reach
