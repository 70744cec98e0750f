"""Intervals of one number of a whole set, such as KID: the jackknife that leaves out a group of patients at a time."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import t as student

from latentsr.errors import InputError, OptionError

MOST_GROUPS = 20  # more cost time and hardly narrow Student's t
FEWEST_GROUPS = 5  # with fewer no interval is to be trusted

Floats = NDArray[np.float64]


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
