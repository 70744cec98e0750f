"""Methods compared pair by pair: differences, tests and effect sizes with intervals; within subgroups too; and means.

Columns of a comparison, of the pairs of values where both are finite:
    images, patients: in the dataset; `infinite` images where a value is infinite (the PSNR of identical images) and
        `missing` ones where one is NaN are left out of all that follows;
    n: units that remain, patients or images;
    mean_a, mean_b, difference: means over units, each the mean of its images; difference = mean_a - mean_b;
    low, high, sd_difference, p: Student's interval and two-sided test of `difference` and the sd of the units'
        differences, of `significance.mean_test`;
    p_holm: p adjusted (Holm) over all rows of this dataset, unit and `family`; p itself in the family PRIMARY;
    detectable: the difference that the unadjusted test finds with 80 % power, if the sd is the observed one;
    d, d_z, rank_biserial: of the units, d the published effect size with the pooled sd, d_z the paired one;
    p_wilcoxon: the two-sided signed-rank p of the units, unadjusted, to compare with the literature;
    least, greatest: the smallest and largest difference of a unit; `units_below`, `units_above`, `images_below`,
        `images_above`: how many units and images have a difference below and above zero; `loo_low`, `loo_high`: the
        range of `difference` with any one unit left out;
    image_weighted, image_weighted_low, image_weighted_high: the mean over images instead and its bootstrap interval
        drawn by unit: how much the weight of patients with many images matters.
With one unit, or none, interval, tests and effect sizes are NaN. With several images per patient, the rows of unit
"image" take them for independent: their intervals are too narrow.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from scipy import stats

from latentsr.errors import InputError
from latentsr.names import BICUBIC, HR, SHARES, SHARPNESS
from latentsr.stats.intervals import cluster_intervals
from latentsr.stats.paired import (
    ROUNDING,
    Floats,
    Pair,
    Paired,
    cohen_d,
    cohen_dz,
    cohen_h,
    dz_interval,
    pair_columns,
    paired_units,
    rank_biserial,
    unit_means,
    wide,
    wilcoxon,
)
from latentsr.stats.significance import FEWEST, detectable, holm, mean_test
from latentsr.stats.table import COLUMNS, check_table, sorted_table

COMPARISON_COLUMNS = (
    "dataset", "metric", "a", "b", "unit", "images", "patients", "n", "infinite", "missing", "mean_a", "mean_b",
    "difference", "low", "high", "sd_difference", "p", "p_holm", "family", "detectable", "d", "d_z", "rank_biserial",
    "p_wilcoxon", "least", "greatest", "units_below", "units_above", "images_below", "images_above", "loo_low",
    "loo_high", "image_weighted", "image_weighted_low", "image_weighted_high",
)  # fmt: skip
ONE_FAMILY = "all"
PRIMARY = "primary"  # the family of the one comparison that stands outside all others


def compare_methods(
    table: pd.DataFrame,
    *,
    pairs: Sequence[Pair],
    primary: tuple[str, str, str] | None = None,
    unit: str = "patient",
    families: Mapping[str, str] | None = None,
    draws: int = 10_000,
    seed: int = 0,
) -> pd.DataFrame:
    """One row per dataset, metric, pair (a, b) of methods and unit: COMPARISON_COLUMNS.

    Args:
        table: tidy; every method and metric has every image of its dataset once.
        pairs: (a, b) to compare.
        primary: (a, b, metric) of the comparison specified in advance: in each dataset a family of its own.
        unit: "patient", "image" or "both".
        families: the family of each metric, chosen before the data were seen; None: all metrics are one.
        draws: resamples of the bootstrap.
        seed: of the bootstrap.

    Raises:
        InputError: images missing, twice or of two patients, which are listed; a method that a dataset does not have;
            a metric without a family; a primary comparison that does not exist.
        OptionError: an unknown unit, invalid pairs.
    """
    units = paired_units(table, pairs, unit)
    metrics = sorted(table["metric"].unique())
    families = dict.fromkeys(metrics, ONE_FAMILY) if families is None else families
    if lacking := [metric for metric in metrics if metric not in families]:
        raise InputError(f"no family of tests for {', '.join(lacking)}: name one for each metric of the table")
    if PRIMARY in families.values():
        raise InputError(f"a family of tests named {PRIMARY}, which is the primary comparison's: choose another name")
    either_way = () if primary is None else ((primary[2], *primary[:2]), primary[::-1])
    parts = []
    for dataset, one, paired, members in units:
        rows = _compared(paired, members, draws, seed)
        family = [PRIMARY if label in either_way else families[label[0]] for label in paired.labels]
        rows = rows.assign(dataset=dataset, unit=one, family=pd.Series(family, dtype=object))
        parts.append(rows.assign(p_holm=rows.groupby("family", sort=False)["p"].transform(holm)))
    compared = pd.concat(parts, ignore_index=True)[list(COMPARISON_COLUMNS)]
    if primary is not None and not compared["family"].eq(PRIMARY).any():
        raise InputError(f"no comparison of {primary[0]} and {primary[1]} in {primary[2]}, which was to be the primary")
    return compared


def compare_shared(a: pd.DataFrame, b: pd.DataFrame, names: Pair, *, unit: str = "patient") -> pd.DataFrame:
    """`compare_methods` of two tidy tables, called `names`, over the images that both have, for each measure apart.

    COMPARISON_COLUMNS, without rows where they have no image in common; p_holm is p itself.
    """
    keys = ["dataset", "metric", "id"]
    both = a.merge(b[keys], on=keys)[keys]
    tables = [table.assign(method=name) for table, name in zip((a, b), names, strict=True)]
    parts = [
        compare_methods(sorted_table([table.merge(part, on=keys) for table in tables]), pairs=[names], unit=unit)
        for _, part in both.groupby(["dataset", "metric"], sort=False)
    ]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(COMPARISON_COLUMNS))


def _compared(paired: Paired, members: Sequence[str], draws: int, seed: int) -> pd.DataFrame:
    """The rows of one dataset and unit, without the columns that depend on other rows."""
    differences = paired.differences
    first, second = (unit_means(np.where(paired.usable, one, np.nan), members) for one in (paired.first, paired.second))
    units = unit_means(differences, members)
    tested = mean_test(units)
    low, high = cluster_intervals(differences, members, draws=draws, seed=seed)
    present = [one[~np.isnan(one)] for one in (first - second).T]
    frame = pd.DataFrame(units)
    total, least, greatest = frame.sum(), frame.min(), frame.max()
    others = pd.Series(np.maximum(tested.n - 1, 1)).where(tested.n > 1)  # units that remain when one is left out
    return pd.DataFrame(list(paired.labels), columns=["metric", "a", "b"]).assign(
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
        p_wilcoxon=[wilcoxon(one) for one in present],
        d=[cohen_d(a, b) for a, b in zip(first.T, second.T, strict=True)],
        d_z=[cohen_dz(one) for one in present],
        rank_biserial=[rank_biserial(one) if len(one) > 1 else np.nan for one in present],
        least=least,
        greatest=greatest,
        loo_low=(total - greatest) / others,
        loo_high=(total - least) / others,
        units_below=(units < 0).sum(axis=0),
        units_above=(units > 0).sum(axis=0),
        images_below=(differences < 0).sum(axis=0),
        images_above=(differences > 0).sum(axis=0),
    )


def _column_means(values: Floats) -> Floats:
    """(columns,): means without NaN; NaN, and no warning, where a column has nothing else."""
    return pd.DataFrame(values).mean().to_numpy(dtype=np.float64)


EFFECT_COLUMNS = ("dataset", "metric", "a", "b", "n", "d", "d_z", "d_z_low", "d_z_high", "rank_biserial", "h")


def effect_sizes(comparisons: pd.DataFrame) -> pd.DataFrame:
    """One row per comparison by patient: its effect sizes, with the 95 % interval of d_z, and Cohen's h of rates.

    `comparisons` is of `compare_methods`; `h` compares mean_a with mean_b of the measures in SHARES (0.2 is small, 0.5
    medium, 0.8 large: Cohen 1988) and is NaN for all others.

    InputError for a share outside [0, 1].
    """
    rows = comparisons[comparisons["unit"] == "patient"].reset_index(drop=True)
    low, high = dz_interval(rows["d_z"], rows["n"])
    rates = rows[["mean_a", "mean_b"]].where(rows["metric"].str.partition("/")[0].isin(SHARES))
    h = cohen_h(rates["mean_a"], rates["mean_b"])
    return rows.assign(d_z_low=low, d_z_high=high, h=h)[list(EFFECT_COLUMNS)]


ADJUSTED = ("dataset", "p_holm", "family")  # columns of comparisons that mean nothing here, or come first
SUBGROUP_COLUMNS = (
    "dataset", "group", *(name for name in COMPARISON_COLUMNS if name not in ADJUSTED), "shared", "p_interaction",
)  # fmt: skip


def compare_subgroups(
    table: pd.DataFrame,
    groups: Mapping[str, Mapping[str, str]],
    *,
    pairs: Sequence[Pair],
    draws: int = 10_000,
    seed: int = 0,
) -> pd.DataFrame:
    """One row per dataset, group, metric and pair (a, b): `compare_methods` by patient on the group's images alone.

    A patient with images of several groups counts in each, with that group's images. Added to the columns of
    `compare_methods`, without those of adjusted tests, are
        shared: patients of the dataset that are in more than one group;
        p_interaction: `interaction` of all groups of the dataset in that metric and pair, the same in each of its rows.
    No p is adjusted: subgroups are exploratory, and a test of each would find differences by chance alone.

    `groups` gives, by dataset, the group of each image by id; images and datasets without one are left out.
    """
    parts = [pd.DataFrame(columns=SUBGROUP_COLUMNS)]
    for dataset, rows in table.groupby("dataset", sort=True):
        compared, means = [], []
        for group, own in rows.groupby(rows["id"].map(groups.get(str(dataset), {})), sort=True):
            compared.append(compare_methods(own, pairs=pairs, draws=draws, seed=seed).assign(group=str(group)))
            paired = pair_columns(wide(own), pairs)
            patients = sorted(set(paired.patients))
            means.append(pd.DataFrame(unit_means(paired.differences, paired.patients), index=patients))
        if not compared:
            continue
        times = pd.Series([patient for frame in means for patient in frame.index]).value_counts()
        tested = [interaction([frame[column].dropna() for frame in means]) for column in means[0]]
        facts = compared[0][["metric", "a", "b"]].assign(shared=int((times > 1).sum()), p_interaction=tested)
        parts.append(pd.concat(compared, ignore_index=True).merge(facts, on=["metric", "a", "b"]))
    return pd.concat(parts[1:] or parts, ignore_index=True)[list(SUBGROUP_COLUMNS)]


def interaction(groups: Sequence["pd.Series[float]"]) -> float:
    """p that the mean over patients is the same in all groups of FEWEST patients or more; NaN without two such.

    `groups` holds, of each group, the patients' values by patient. Welch's analysis of variance, as the groups' sds and
    sizes need not be alike. It takes groups for independent: where patients are in several, each two groups are
    compared by the t test of partially overlapping samples, which takes their pairing into account, and the least p is
    multiplied by the number of such tests (Bonferroni). NaN, too, where a group has no spread.

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
    """Two-sided p that two samples, of values by patient, have one mean, some patients being in both.

    Variances need not be equal. Without such patients it is Welch's t test, and the paired one where all are in both.
    NaN where all patients are in both and have one difference.
    """
    both = a.index.intersection(b.index)
    n_a, n_b, n = len(a), len(b), len(both)
    errors = np.array([a.var() / n_a, b.var() / n_b])
    welch = errors.sum() ** 2 / (errors**2 / np.array([n_a - 1, n_b - 1])).sum()
    correlation = np.nan_to_num(a[both].corr(b[both])) if n > 1 else 0.0
    variance = errors.sum() - 2 * correlation * a.std() * b.std() * n / (n_a * n_b)
    if not variance > ROUNDING * errors.sum():  # what is left of equal differences is a rounding error
        return float("nan")
    alone = n_a + n_b - 2 * n
    degrees = welch if n < 2 else (n - 1) + (welch - n + 1) / (n_a + n_b) * alone
    return float(2 * stats.t.sf(abs(a.mean() - b.mean()) / np.sqrt(variance), degrees))


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


Members = Mapping[str, Sequence[str]]  # the names of a method's seeds by the method's own


def over_seeds(table: pd.DataFrame, members: Members) -> pd.DataFrame:
    """The tidy table with each method of several seeds in their place: per image and metric the mean of their values.

    It is NaN where one of the seeds has no value. Methods that are not among the seeds stay as they are.
    """
    parts = [table[~table["method"].isin([seed for seeds in members.values() for seed in seeds])]]
    for name, seeds in members.items():
        rows = table[table["method"].isin(seeds)]
        cells = rows.pivot(index=["dataset", "id", "patient", "metric"], columns="method", values="value")
        means = cells.reindex(columns=list(seeds)).mean(axis=1, skipna=False).rename("value").reset_index()
        parts.append(means.assign(method=name))
    return sorted_table(part[list(COLUMNS)] for part in parts)


def seed_means(table: pd.DataFrame, members: Members) -> pd.DataFrame:
    """Each seed's means, as in a summary of the table of all seeds.

    Columns: dataset, method, metric, `value` (mean over patients), `value_images` (mean over images).
    """
    seeds = table[table["method"].isin([seed for seeds in members.values() for seed in seeds])]
    parts = [
        column_means(wide(rows))[["mean", "mean_images"]].reset_index().assign(dataset=str(dataset))
        for dataset, rows in seeds.groupby("dataset", sort=True)
    ]
    found = pd.concat(parts, ignore_index=True).rename(columns={"mean": "value", "mean_images": "value_images"})
    return found[["dataset", "method", "metric", "value", "value_images"]]


def seed_spread(values: pd.DataFrame, members: Members) -> pd.DataFrame:
    """One row per dataset, method and metric: mean, sd (ddof 1), least and greatest of its seeds' values.

    `seeds` is the number of those with a finite value; the others are left out. `mean_images` and `sd_images` are of
    the seeds' means over images, as published. Intervals over patients do not include these sds. `values` has one row
    per seed, as of `seed_means`; measures of whole sets have no `value_images` (NaN).
    """
    names = {seed: name for name, seeds in members.items() for seed in seeds}
    cells = ["value", "value_images"]
    finite = values[cells].where(values[cells].abs() < float("inf"))
    rows = values.assign(**finite, method=values["method"].map(names)).dropna(subset=["method"])
    groups = rows.groupby(["dataset", "method", "metric"], sort=False)
    spread = groups["value"].agg(seeds="count", mean="mean", sd="std", least="min", greatest="max")
    return spread.join(groups["value_images"].agg(mean_images="mean", sd_images="std")).reset_index()


RATIO_METRICS = (SHARPNESS, "blockiness")
SUMMARY_COLUMNS = (
    "dataset", "method", "metric", "images", "patients", "n", "infinite", "missing", "mean", "sd", "mean_low",
    "mean_high", "mean_images", "sd_images", "ratio_to_hr", "pairs", "difference", "low", "high",
)  # fmt: skip


def summarise(table: pd.DataFrame) -> pd.DataFrame:
    """One row per dataset, method and metric, sorted by these.

    Columns: `images` and `patients` in the dataset; those of `column_means`; `ratio_to_hr`, mean over HR's mean, for
    Laplacian variance and blockiness; `pairs` of images where both the method and bicubic are finite, `difference` the
    mean over patients of method minus bicubic there, and `low`, `high` its interval, as in `compare_methods`. NaN where
    a number is not defined: all differences if the table does not have bicubic.

    Raises:
        InputError: images twice, or missing for some method.
    """
    parts = []
    for dataset, rows in check_table(table).groupby("dataset", sort=True):
        values = wide(rows)
        means = column_means(values)
        ratios = [
            mean / means["mean"].get((HR, metric), np.nan) if metric in RATIO_METRICS else np.nan
            for (_, metric), mean in means["mean"].items()
        ]
        methods = values.columns.get_level_values("method").unique()
        paired = pair_columns(values, [(method, BICUBIC) for method in methods if method != BICUBIC])
        found = mean_test(unit_means(paired.differences, paired.patients))
        compared = pd.DataFrame(paired.labels, columns=["metric", "method", "baseline"]).assign(
            pairs=np.isfinite(paired.differences).sum(axis=0), difference=found.mean, low=found.low, high=found.high
        )
        whole = means.assign(ratio_to_hr=ratios, images=len(values), patients=len(set(paired.patients)))
        whole = whole.join(compared.set_index(["method", "metric"])).reset_index()
        parts.append(whole.assign(dataset=str(dataset)))
    return pd.concat(parts, ignore_index=True)[list(SUMMARY_COLUMNS)]


def column_means(values: pd.DataFrame) -> pd.DataFrame:
    """The mean of each column of `wide`'s values over patients, one row per column (method, metric).

    Columns: `n` finite values, which alone count; `infinite` ones (the PSNR of identical images) and `missing` ones (an
    image too small), both left out; `mean` and `sd` (ddof 1) over patients, each the mean of its images; `mean_low`,
    `mean_high` Student's 95 % interval; `mean_images` and `sd_images` over images, as much of the literature has them.
    """
    finite = values.where(np.isfinite(values))
    patients = list(values.index.get_level_values("patient").astype(str))
    found = mean_test(unit_means(finite.to_numpy(dtype=np.float64), patients))
    return pd.DataFrame(
        {
            "n": finite.count(),
            "infinite": np.isinf(values).sum(),
            "missing": values.isna().sum(),
            "mean": found.mean,
            "sd": found.sd,
            "mean_low": found.low,
            "mean_high": found.high,
            "mean_images": finite.mean(),
            "sd_images": finite.std(ddof=1),
        }
    )
