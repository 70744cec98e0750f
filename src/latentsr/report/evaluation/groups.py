"""Whole sets of images, subgroups and seeds in an evaluation's report."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pandas as pd

from latentsr.names import HR, RELIABLE_FID
from latentsr.report.blocks import Columns, Picture, Table, tabulate
from latentsr.report.evaluation.data import Evaluation, Row, in_both_orders
from latentsr.report.evaluation.tables import HEADLINE, SET_TITLES, comparison_table, metric_title, unit_of
from latentsr.report.figures import Interval, intervals
from latentsr.report.text import counted, decimals, estimate, number, p_value
from latentsr.stats.significance import FEWEST

FLOOR = "HR, other patches"  # the row of HR as a method


def set_table(evaluation: Evaluation, dataset: str) -> Table | None:
    """Distances of whole sets with intervals: sliced Wasserstein and its levels, FID and KID where measured."""
    rows = evaluation.frame("sets", dataset)
    if rows.empty:
        return None
    names = sorted(rows["metric"].unique(), key=_set_order)
    by_method = {name: own.set_index("metric") for name, own in rows.groupby("method")}

    def shown(name: str, row: Row) -> str:
        if "/" in name:  # the levels' intervals stand in sets.csv
            return number(row["value"], unit_of(evaluation, name))
        return estimate(row["value"], row["low"], row["high"], unit_of(evaluation, name))

    titles = {name: name for name in evaluation.methods} | {HR: FLOOR}
    cells = tuple(
        (title, *(shown(name, by_method[method].loc[name]) for name in names))
        for method, title in titles.items()
        if method in by_method
    )
    note = (
        "How far the SR images as a whole lie from the HR images as a whole, not each from its own; less is better. "
        "Sliced Wasserstein distance of Laplacian-pyramid patches (Karras 2018), its mean over levels and each level, "
        "named by how much coarser its pixels are (x1: the finest); the levels' intervals stand in sets.csv. "
        "Patches of SR and of HR lie at independent places: HR against HR is the floor. " + interval_note(rows)
    )
    if "fid" in names:
        images = int(rows["images"].iloc[0])
        few = f", below {RELIABLE_FID}: biased and unreliable, read KID instead" if images < RELIABLE_FID else ""
        note += f" FID of {images} images{few}; it has no interval, since its bias grows as images are left out."
    heads = [metric_title(evaluation, name) for name in names]
    return Table(f"Realism of the whole set on {dataset}", ("method", *heads), cells, note)


def set_difference_table(evaluation: Evaluation, dataset: str) -> Table | None:
    """Differences between all methods of the measures of whole sets that have intervals, by patient."""
    rows = evaluation.frame("set_comparisons", dataset)
    if rows.empty:
        return None
    found = in_both_orders(rows[rows["low"].notna() & ~rows["metric"].str.contains("/")])
    metrics = sorted({metric for metric, _, _ in found}, key=_set_order)
    chosen = [found[metric, *pair] for metric in metrics for pair in evaluation.pairs if (metric, *pair) in found]
    note = (
        "First minus second, below 0: the first is more realistic. The same patients are left out of both, so that "
        "what both owe to them drops out. Not adjusted for the number of rows. Levels: set_comparisons.csv."
    )
    heads = ("measure", "pair", "difference", "95 % interval", "patients")
    own: Columns = {"patients": lambda row: str(int(row["patients"]))}
    return comparison_table(evaluation, f"Realism: differences on {dataset}", heads, chosen, note, own=own)


def interval_note(rows: pd.DataFrame) -> str:
    """How the intervals in rows of the table `sets` were made, or why there are none."""
    if rows["low"].isna().all():
        return "No intervals: they need five patients or more."
    return (
        "In brackets 95 % intervals with the patient as the unit, by leaving out one group of patients after the other "
        "(at most 20 groups; SR and HR leave together): of such a measure neither images nor patients can be drawn "
        "twice, since a copy would count as a perfect match."
    )


def set_definitions(evaluation: Evaluation) -> Iterator[str]:
    """How the measures of whole sets are defined, of those that were measured."""
    measured = {str(name) for one in evaluation.datasets for name in evaluation.frame("sets", one).get("metric", ())}
    patients = [evaluation.frame("sets", one).get("patients", pd.Series(dtype=int)) for one in evaluation.datasets]
    one_patient = any(one.eq(1).any() for one in patients)
    measures = []
    if "swd" in measured:
        measures.append(
            "sliced Wasserstein, the mean distance of two sets of 7x7 patches of each Laplacian-pyramid level along "
            "random directions, times 1000 (Karras et al. 2018), at independent places of SR and HR; as many levels as "
            "the smallest image has, whose level "
            "is not under 16 px, of all images"
        )
    if "fid" in measured:
        features = f"of the features of {evaluation.run['features']}"
        measures.append(f"FID, the Frechet distance of normal distributions {features} (Heusel et al. 2017)")
        measures.append(
            f"KID, the unbiased squared maximum mean discrepancy {features} (Binkowski et al. 2018), from pairs of "
            "images of different patients"
            f"{' (of different images where there is but one patient)' * one_patient}: SR and HR of one image are no "
            "independent pair (Gretton et al. 2012)"
        )
    if measures:
        yield (
            f"Measures of whole sets: {'; '.join(measures)}. Their intervals are those of the delete-a-group jackknife "
            "over patients with Student's t (Kott 2001); FID has none, and no test is made of them."
        )


def _set_order(name: str) -> tuple[int, int]:
    if level := name.partition("/")[2]:
        return 1, int(level.removeprefix("x"))
    return 0, list(SET_TITLES).index(name) if name in SET_TITLES else 9


EXPLORATORY = (
    "Exploratory: no p is adjusted for the number of groups, measures and pairs, and no group is judged. p of the "
    "interaction: of the hypothesis that the mean difference is the same in all groups of "
    f"{FEWEST} patients or more. A difference that stands out in one group alone is an idea for another study."
)


def subgroup_table(evaluation: Evaluation, dataset: str) -> Table | None:
    """The main measures and pairs in each group, and the test of interaction; None where there are no groups."""
    rows, by = evaluation.frame("subgroups", dataset), evaluation.run["by"]
    if rows.empty:
        return None
    shared, apart = int(rows["shared"].iloc[0]), evaluation.run["datasets"][dataset]["ungrouped"]
    test = "Welch's analysis of variance of the patients' mean differences"
    if shared:
        test = (
            "t tests of each two groups for partially overlapping samples (Derrick et al. 2017), the least p times "
            "their number"
        )
    note = f"Difference: mean over the group's patients, as in the table of the main measures. Interaction: {test}."
    if shared:
        note += f" {counted(shared, 'patient')} with images of several groups count in each, with these images."
    if apart:
        note += f" {counted(apart, 'image')} without a value of {by} stand in no group."

    def difference(row: Row) -> str:
        unit = unit_of(evaluation, row["metric"])
        return estimate(row["difference"], row["low"], row["high"], unit, signed=True)

    own: Columns = {
        "group": lambda row: str(row["group"]),
        "images": lambda row: str(int(row["images"])),
        "difference [95 % interval]": difference,
        "p interaction": lambda row: p_value(row["p_interaction"]),
    }
    heads = ("measure", "pair", "group", "images", "patients", "difference [95 % interval]", "p interaction")
    ordered = _ordered(evaluation, dataset)
    table = comparison_table(evaluation, f"Subgroups on {dataset}", heads, ordered, note, own=own)
    return table and replace(table, columns=(*heads[:2], by, *heads[3:]))


def _ordered(evaluation: Evaluation, dataset: str) -> list[dict[Any, Any]]:
    """The rows by measure, in the order of METRICS, then as in the table."""
    rows, order = evaluation.frame("subgroups", dataset), list(evaluation.measures)
    place = rows["metric"].str.partition("/")[0].map(order.index)
    pair = rows[["a", "b"]].apply(tuple, axis=1)
    pairs = {one: number for number, one in enumerate(pair.drop_duplicates())}
    return rows.assign(place=place, pair=pair.map(pairs)).sort_values(["place", "pair", "group"]).to_dict("records")


def subgroup_picture(evaluation: Evaluation, dataset: str) -> Picture | None:
    """A forest of the groups' differences in the primary measure, or the first main one; None without groups."""
    if evaluation.frame("subgroups", dataset).empty:
        return None
    rows, primary = _ordered(evaluation, dataset), evaluation.run["primary"]
    metric = primary["metric"] if primary else rows[0]["metric"]
    shown = [
        Interval(str(row["group"]), row["difference"], row["low"], row["high"], f"{row['a']} – {row['b']}")
        for row in rows
        if row["metric"] == metric
    ]
    facts = evaluation.measure(metric)
    drawn = intervals(shown, quantity=f"Difference in {facts['title']}", unit=facts["unit"], reference=0)
    caption = f"By {evaluation.run['by']}: mean over the group's patients; whiskers: 95 % interval. Exploratory."
    return Picture(f"{facts['title']} by subgroup on {dataset}", drawn, caption)


def seed_table(evaluation: Evaluation, dataset: str) -> Table | None:
    """One row per method of several seeds and measure of the first table or of whole sets; None without such."""
    rows = evaluation.frame("seeds", dataset)
    if rows.empty:
        return None

    def shown(row: Row, name: str) -> str:
        unit = "" if row["metric"] in SET_TITLES else unit_of(evaluation, row["metric"])
        # Seeds differ by less than patients.
        return number(row[name], unit, digits=decimals(row["greatest"], unit) + 1)

    columns: Columns = {
        "measure": lambda row: metric_title(evaluation, row["metric"]),
        "method": lambda row: row["method"],
        "seeds": lambda row: str(int(row["seeds"])),
        "mean": lambda row: shown(row, "mean"),
        "sd over seeds": lambda row: shown(row, "sd"),
        "least": lambda row: shown(row, "least"),
        "greatest": lambda row: shown(row, "greatest"),
    }
    note = (
        "The mean over patients (or the measure of the whole set) of each seed: their mean, which all other tables "
        "show, sd, least and greatest. A method's value of an image is the mean of its seeds' values, not the value of "
        "their mean image. The 95 % intervals of this report are over patients, for these seeds. All measures: "
        "seeds.csv."
    )
    chosen = [row for name in (*HEADLINE, *SET_TITLES) for row in rows[rows["metric"] == name].to_dict("records")]
    return tabulate(f"Seeds on {dataset}", columns, chosen, note)
