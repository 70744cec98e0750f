"""Methods compared on the tidy table: effects with intervals, tests and effect sizes; within subgroups too."""

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from latentsr.errors import InputError
from latentsr.stats.bootstrap import cluster_intervals
from latentsr.stats.paired import (
    Pair,
    Paired,
    chosen_pairs,
    cohen_d,
    cohen_dz,
    pair_columns,
    rank_biserial,
    unit_means,
    unit_members,
    units_of,
    wide,
    wilcoxon,
)
from latentsr.stats.significance import FEWEST, ROUNDING, detectable, holm, mean_test
from latentsr.stats.table import check_table

COMPARISON_COLUMNS = (
    "dataset", "metric", "a", "b", "unit", "images", "patients", "n", "infinite", "missing", "mean_a", "mean_b",
    "difference", "low", "high", "sd_difference", "p", "p_holm", "family", "detectable", "d", "d_z", "rank_biserial",
    "p_wilcoxon", "least", "greatest", "units_below", "units_above", "images_below", "images_above", "loo_low",
    "loo_high", "image_weighted", "image_weighted_low", "image_weighted_high",
)  # fmt: skip
ONE_FAMILY = "all"
PRIMARY = "primary"  # the family of the one comparison that stands outside all others

Floats = NDArray[np.float64]


def compare_methods(
    table: pd.DataFrame,
    *,
    pairs: Sequence[Pair] | None = None,
    baseline: str | None = None,
    primary: tuple[str, str, str] | None = None,
    unit: str = "patient",
    families: Mapping[str, str] | None = None,
    level: float = 0.95,
    draws: int = 10_000,
    seed: int = 0,
) -> pd.DataFrame:
    """One row a dataset, metric, pair (a, b) of methods and unit: what a has that b has not, and how sure that is.

    A pair of values counts where both are finite. Columns:
        images, patients: in the dataset; `infinite` images where a value is infinite (the PSNR of identical images) and
            `missing` ones where one is NaN (no value) are left out of all that follows and counted here;
        n: units that remain, patients or images;
        mean_a, mean_b, difference: means over units, each the mean of its images; difference = mean_a - mean_b;
        low, high, sd_difference, p: Student's interval and two-sided test of `difference` and the sd of the units'
            differences, of `significance.mean_test`;
        p_holm: p adjusted (Holm) over all rows of this dataset, unit and `family`; p itself in the family PRIMARY;
        detectable: the difference that the unadjusted test finds with 80 % power, if the sd is as seen;
        d, d_z, rank_biserial: of the units, d the published effect size with the pooled sd, d_z the paired one;
        p_wilcoxon: the two-sided signed-rank p of the units, unadjusted, to compare with the literature;
        least, greatest: the smallest and largest difference of a unit; `units_below`, `units_above`, `images_below`,
            `images_above`: how many units and images have a difference below and above zero; `loo_low`, `loo_high`:
            the range of `difference` when any one unit is left out;
        image_weighted, image_weighted_low, image_weighted_high: the mean over images instead and its bootstrap interval
            drawn by unit: how much the weight of patients of many images matters.
    With one unit, or none, interval, tests and effect sizes are NaN. With several images a patient, the rows of unit
    "image" take them for independent: to compare with the literature, too sure of themselves.

    Args:
        table: tidy; every method and metric has every image of its dataset once.
        pairs: (a, b) to compare; if neither these nor a baseline are given, all pairs but those with `hr`.
        baseline: compare each other method with this one.
        primary: (a, b, metric) of the comparison specified in advance: in each dataset a family of its own.
        unit: "patient", "image" or "both".
        families: the family of each metric, chosen before the data were seen; None: all metrics are one.
        level: of the intervals.
        draws: resamples of the bootstrap.
        seed: of the bootstrap.

    Raises:
        InputError: images missing, twice or of two patients, which are listed; a method that a dataset does not have;
            a metric without a family; a primary comparison that there is not.
        OptionError: an unknown unit, pairs that are none.
    """
    units = units_of(unit)
    check_table(table)
    members = _families(table, families)
    parts = []
    for name, rows in table.groupby("dataset", sort=True):
        chosen = chosen_pairs(rows, pairs=pairs, baseline=baseline)
        paired = pair_columns(wide(rows), chosen)
        for one in units:
            found = _compared(paired, one, level, draws, seed)
            parts.append(_adjusted(found, members, primary).assign(dataset=str(name)))
    return _with_primary(pd.concat(parts, ignore_index=True)[list(COMPARISON_COLUMNS)], primary)


def _with_primary(rows: pd.DataFrame, primary: tuple[str, str, str] | None) -> pd.DataFrame:
    """The rows, if the primary comparison is among them in some dataset."""
    if primary is not None and not rows["family"].eq(PRIMARY).any():
        raise InputError(f"no comparison of {primary[0]} and {primary[1]} in {primary[2]}, which was to be the primary")
    return rows


def _families(table: pd.DataFrame, families: Mapping[str, str] | None) -> Mapping[str, str]:
    """The family of each of the table's metrics."""
    metrics = sorted(table["metric"].unique())
    found = dict.fromkeys(metrics, ONE_FAMILY) if families is None else families
    if lacking := [metric for metric in metrics if metric not in found]:
        raise InputError(f"no family of tests for {', '.join(lacking)}: name one for each metric of the table")
    if PRIMARY in found.values():
        raise InputError(f"a family of tests named {PRIMARY}, which is the primary comparison's: choose another name")
    return found


def _adjusted(rows: pd.DataFrame, families: Mapping[str, str], primary: tuple[str, str, str] | None) -> pd.DataFrame:
    """The rows of one dataset and unit with `family` and `p_holm`."""
    family = rows["metric"].map(families).astype(object)
    if primary is not None:
        a, b, metric = primary
        family[rows["metric"].eq(metric) & (rows["a"].eq(a) & rows["b"].eq(b) | rows["a"].eq(b) & rows["b"].eq(a))] = (
            PRIMARY
        )
    p_holm = rows.groupby(family, sort=False)["p"].transform(holm)
    return rows.assign(family=family, p_holm=p_holm)


def _compared(paired: Paired, unit: str, level: float, draws: int, seed: int) -> pd.DataFrame:
    """The rows of one dataset and unit, without the dataset's name."""
    members = unit_members(paired, unit)
    differences = paired.differences
    first, second = (unit_means(np.where(paired.usable, one, np.nan), members) for one in (paired.first, paired.second))
    units = unit_means(differences, members)
    tested = mean_test(units, level=level)
    low, high = cluster_intervals(differences, members, level=level, draws=draws, seed=seed)
    rows = pd.DataFrame(list(paired.labels), columns=["metric", "a", "b"]).assign(
        unit=unit,
        images=len(paired.patients),
        patients=len(set(paired.patients)),
        n=tested.n,
        infinite=paired.infinite.sum(axis=0),
        missing=paired.missing.sum(axis=0),
        mean_a=_column_means(first),
        mean_b=_column_means(second),
        difference=tested.mean,
        low=tested.low,
        high=tested.high,
        sd_difference=tested.sd,
        p=tested.p,
        detectable=tested.sd * np.array([detectable(n) for n in tested.n]),
        image_weighted=_column_means(differences),
        image_weighted_low=low,
        image_weighted_high=high,
    )
    for name, values in (("units", units), ("images", differences)):
        rows = rows.assign(**{f"{name}_below": (values < 0).sum(axis=0), f"{name}_above": (values > 0).sum(axis=0)})
    return rows.join(_effects(first, second)).join(_extremes(units))


def _column_means(values: Floats) -> Floats:
    """(columns,): means without NaN; NaN, and no warning, where a column has nothing else."""
    return pd.DataFrame(values).mean().to_numpy(dtype=np.float64)


def _effects(first: Floats, second: Floats) -> pd.DataFrame:
    """Effect sizes and signed-rank test of each column of (units, columns) pairs."""
    rows = []
    for a, b in zip(first.T, second.T, strict=True):
        differences = (a - b)[~np.isnan(a - b)]
        rows.append(
            {
                "p_wilcoxon": wilcoxon(differences),
                "d": cohen_d(a, b),
                "d_z": cohen_dz(differences),
                "rank_biserial": rank_biserial(differences) if len(differences) > 1 else np.nan,
            }
        )
    return pd.DataFrame(rows, columns=["p_wilcoxon", "d", "d_z", "rank_biserial"])


def _extremes(units: Floats) -> pd.DataFrame:
    """The least and greatest of the units' differences, and the range of their mean with any one of them left out."""
    frame = pd.DataFrame(units)
    n, total, least, greatest = frame.count(), frame.sum(), frame.min(), frame.max()
    left = np.maximum(n - 1, 1).where(n > 1)
    return pd.DataFrame(
        {
            "least": least,
            "greatest": greatest,
            "loo_low": (total - greatest) / left,
            "loo_high": (total - least) / left,
        }
    )


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
            # `shared` and `p_interaction` of each metric and pair, from the patients' means of each group.
            patients = pd.Series([patient for frame in means.values() for patient in frame.index])
            labels = next(iter(means.values())).columns
            tested = [interaction([frame[label].dropna() for frame in means.values()]) for label in labels]
            interactions = labels.to_frame(index=False).assign(
                shared=int((patients.value_counts() > 1).sum()), p_interaction=tested
            )
            parts.append(pd.concat(found, ignore_index=True).merge(interactions, on=["metric", "a", "b"]))
    whole = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=SUBGROUP_COLUMNS)
    return whole[list(SUBGROUP_COLUMNS)]


def _patient_means(rows: pd.DataFrame, pairs: Sequence[Pair]) -> pd.DataFrame:
    """Each patient's mean difference, a row a patient, a column a (metric, a, b)."""
    paired = pair_columns(wide(rows), pairs)
    means = unit_means(paired.differences, paired.patients)
    labels = pd.MultiIndex.from_tuples(paired.labels, names=["metric", "a", "b"])
    return pd.DataFrame(means, index=sorted(set(paired.patients)), columns=labels)


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


PUBLISHED_SEED, PUBLISHED_DRAWS = 42, 10_000
PUBLISHED_COLUMNS = (
    "dataset", "metric", "a", "b", "n", "mean_a", "mean_b", "difference", "low", "high", "d", "p_greater",
)  # fmt: skip


def compare_as_published(table: pd.DataFrame, pairs: Sequence[Pair], metrics: Sequence[str]) -> pd.DataFrame:
    """One row per dataset, metric and pair (a, b), compared as arXiv 2604.12152 does, to set beside its values.

    Images count as independent patients. `low` and `high` are percentiles of the difference of two means that are
    resampled apart, as if unpaired; `d` divides by the pooled sd; `p_greater` is the one-sided signed-rank test of a
    above b. None of it is what `compare_methods` recommends: paired images need the paired interval, over patients.
    """
    found = []
    for (dataset, metric), rows in table[table["metric"].isin(list(metrics))].groupby(["dataset", "metric"], sort=True):
        values = rows.pivot(index="id", columns="method", values="value")
        for a, b in pairs:
            if not {a, b} <= set(values.columns):
                continue
            both = values[[a, b]].replace([np.inf, -np.inf], np.nan).dropna()
            first, second = both[a].to_numpy(), both[b].to_numpy()
            if len(both) < 2:
                continue
            draws = np.random.default_rng(PUBLISHED_SEED)
            size = (PUBLISHED_DRAWS, len(both))
            means = [side[draws.integers(len(both), size=size)].mean(axis=1) for side in (first, second)]
            low, high = np.percentile(means[0] - means[1], [2.5, 97.5])
            p = stats.wilcoxon(first, second, alternative="greater").pvalue if (first != second).any() else 1.0
            numbers = (first.mean(), second.mean(), first.mean() - second.mean(), low, high, cohen_d(first, second), p)
            found.append((dataset, metric, a, b, len(both), *map(float, numbers)))
    return pd.DataFrame(found, columns=list(PUBLISHED_COLUMNS))
