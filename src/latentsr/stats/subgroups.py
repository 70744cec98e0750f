"""Methods compared within groups of images, such as those of one scanner, and whether a difference depends on them."""

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from scipy import stats

from latentsr.stats.comparison import COMPARISON_COLUMNS, compare_methods
from latentsr.stats.pairing import Pair, pair_columns, unit_means, wide
from latentsr.stats.significance import FEWEST, ROUNDING

ADJUSTED = ("dataset", "p_holm", "family")  # columns of comparisons that mean nothing here, or stand first
SUBGROUP_COLUMNS = (
    "dataset", "group", *(name for name in COMPARISON_COLUMNS if name not in ADJUSTED), "shared", "p_interaction",
)  # fmt: skip


def compare_subgroups(
    table: pd.DataFrame,
    groups: Mapping[str, Mapping[str, str]],
    *,
    pairs: Sequence[Pair],
    level: float = 0.95,
    draws: int = 10_000,
    seed: int = 0,
) -> pd.DataFrame:
    """One row a dataset, group, metric and pair (a, b): `compare_methods` by patient on the group's images alone.

    A patient with images of several groups counts in each, with that group's images. To the columns of
    `compare_methods` but those of adjusted tests come
        shared: patients of the dataset that stand in more than one group;
        p_interaction: `interaction` of all groups of the dataset in that metric and pair, the same in each of its rows.
    No p is adjusted: subgroups are looked at for ideas, and a test of each would find differences by chance alone.

    Args:
        table: tidy.
        groups: by dataset, the group of each image by id; an image without one is left out, and so is a dataset.
        pairs: (a, b) to compare.
        level: of the intervals.
        draws: resamples of the bootstrap.
        seed: of the bootstrap.
    """
    parts = []
    for dataset, rows in table.groupby("dataset", sort=True):
        member = rows["id"].map(groups.get(str(dataset), {}))
        found, means = [], {}
        for group, own in rows.groupby(member, sort=True):
            compared = compare_methods(own, pairs=pairs, level=level, draws=draws, seed=seed)
            found.append(compared.assign(group=str(group)))
            means[str(group)] = _patient_means(own, pairs)
        if found:
            parts.append(pd.concat(found, ignore_index=True).merge(_interactions(means), on=["metric", "a", "b"]))
    whole = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=SUBGROUP_COLUMNS)
    return whole[list(SUBGROUP_COLUMNS)]


def _patient_means(rows: pd.DataFrame, pairs: Sequence[Pair]) -> pd.DataFrame:
    """Each patient's mean difference, a row a patient, a column a (metric, a, b)."""
    paired = pair_columns(wide(rows), pairs)
    means = unit_means(paired.differences, paired.patients)
    labels = pd.MultiIndex.from_tuples(paired.labels, names=["metric", "a", "b"])
    return pd.DataFrame(means, index=sorted(set(paired.patients)), columns=labels)


def _interactions(means: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """`shared` and `p_interaction` of each metric and pair, from the patients' means of each group."""
    patients = pd.Series([patient for frame in means.values() for patient in frame.index])
    labels = next(iter(means.values())).columns
    tested = [interaction([frame[label].dropna() for frame in means.values()]) for label in labels]
    return labels.to_frame(index=False).assign(shared=int((patients.value_counts() > 1).sum()), p_interaction=tested)


def interaction(groups: Sequence["pd.Series[float]"]) -> float:
    """p that the mean over patients is the same in all groups of FEWEST patients or more; NaN without two such.

    Welch's analysis of variance, as the groups' sds and sizes need not be alike: it holds its level where the usual one
    does not, and loses little where it would have done (a test of ranks would also answer to a difference in spread).
    It takes groups for independent. Where patients stand in several, each two groups are compared by the t test of
    partially overlapping samples, which takes their pairing into account, and the least p is multiplied by the number
    of such tests (Bonferroni). NaN, too, where a group has no spread at all.

    Args:
        groups: of each, the patients' values by patient.

    Source: Welch 1951; Derrick, Russ, Toher and White 2017, Test statistics for the comparison of means for two samples
    that include both paired and independent observations.
    """
    judged = [values for values in groups if len(values) >= FEWEST]
    flat = any(values.std() <= ROUNDING * abs(values.mean()) for values in judged)
    if len(judged) < 2 or flat:
        return float("nan")
    if pd.concat(judged).index.is_unique:
        return float(stats.f_oneway(*judged, equal_var=False).pvalue)
    tests = [overlapping_t(a, b) for a, b in combinations(judged, 2)]
    return float(min(1.0, min(tests) * len(tests)))


def overlapping_t(a: "pd.Series[float]", b: "pd.Series[float]") -> float:
    """Two-sided p that two samples have one mean, some patients being in both; variances need not be equal.

    Without such patients it is Welch's t test, and the paired one where all are in both. NaN where all patients are in
    both and have one difference.

    Args:
        a: values by patient.
        b: those of the other sample.
    """
    both = a.index.intersection(b.index)
    n_a, n_b, n = len(a), len(b), len(both)
    errors = np.array([a.var() / n_a, b.var() / n_b])
    welch = errors.sum() ** 2 / (errors**2 / np.array([n_a - 1, n_b - 1])).sum()
    alike = np.nan_to_num(a[both].corr(b[both])) if n > 1 else 0.0
    error = np.sqrt(errors.sum() - 2 * alike * a.std() * b.std() * n / (n_a * n_b))
    alone = n_a + n_b - 2 * n
    degrees = welch if n < 2 else (n - 1) + (welch - n + 1) / (n_a + n_b) * alone
    return float(2 * stats.t.sf(abs(a.mean() - b.mean()) / error, degrees)) if error > 0 else float("nan")
