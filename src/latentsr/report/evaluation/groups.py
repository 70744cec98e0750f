"""Whole sets of images, subgroups and seeds in an evaluation's report."""

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from latentsr.names import HR, RELIABLE_FID
from latentsr.report.evaluation.data import Evaluation
from latentsr.report.evaluation.tables import HEADLINE, metric_title
from latentsr.report.evaluation.verdict import told_pairs
from latentsr.report.figures import Interval, intervals
from latentsr.report.page import Picture, Table
from latentsr.report.text import counted, decimals, estimate, number, p_value
from latentsr.stats.significance import FEWEST

SET_TITLES = {"swd": "Sliced Wasserstein (x 1000)", "fid": "FID", "kid": "KID"}
FLOOR = "HR, other patches"  # the row of HR as a method


def set_table(evaluation: Evaluation, dataset: str) -> Table | None:
    """Distances of whole sets with intervals: sliced Wasserstein and its levels, FID and KID where measured."""
    rows = evaluation.frame("sets", dataset)
    if rows.empty:
        return None
    names = sorted(rows["metric"].unique(), key=_set_order)
    wide = rows.set_index(["method", "metric"])
    titles = {name: name for name in evaluation.methods} | {HR: FLOOR}
    measured = set(rows["method"])
    cells = tuple(
        (title, *(_cell(name, wide.loc[(method, name)]) for name in names))
        for method, title in titles.items()
        if method in measured
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
        fid_note = f" FID of {images} images{few}; it has no interval, since its bias grows as images are left out."
        note += fid_note
    heads = [set_title(evaluation, name) for name in names]
    return Table(f"Realism of the whole set on {dataset}", ("method", *heads), cells, note)


def set_difference_table(evaluation: Evaluation, dataset: str) -> Table | None:
    """Differences between all methods of the measures of whole sets that have intervals, by patient."""
    cells = tuple(_difference_cells(evaluation, dataset))
    note = (
        "First minus second, below 0: the first is more realistic. The same patients are left out of both, so that "
        "what both owe to them drops out. Not adjusted for the number of rows. Levels: set_comparisons.csv."
    )
    columns = ("measure", "pair", "difference", "95 % interval", "patients")
    return Table(f"Realism: differences on {dataset}", columns, cells, note) if cells else None


def floor(evaluation: Evaluation, dataset: str) -> float:
    """The sliced Wasserstein distance of HR from HR at other places, NaN where it was not measured."""
    rows = evaluation.frame("sets", dataset)
    found = rows if rows.empty else rows[(rows["method"] == HR) & (rows["metric"] == "swd")]["value"]
    return float(found.iloc[0]) if len(found) else float("nan")


def _difference_cells(evaluation: Evaluation, dataset: str) -> Iterator[tuple[str, ...]]:
    """A row a measure and pair, each pair the way round that it has in all tables."""
    rows = evaluation.frame("set_comparisons", dataset)
    if rows.empty:
        return
    chosen = rows[rows["low"].notna() & ~rows["metric"].str.contains("/")]
    found = {(row["metric"], row["a"], row["b"]): row for row in chosen.to_dict(orient="records")}
    for metric in sorted(chosen["metric"].unique(), key=_set_order):
        for a, b in told_pairs(evaluation):
            if (row := found.get((metric, a, b))) is not None:
                values = row["difference"], row["low"], row["high"]
            elif (row := found.get((metric, b, a))) is not None:
                values = -row["difference"], -row["high"], -row["low"]
            else:
                continue
            shown = estimate(*values, _unit(metric), signed=True)
            yield set_title(evaluation, metric), f"{a} – {b}", *shown, str(int(row["patients"]))


def set_title(evaluation: Evaluation, name: str) -> str:
    """A measure of whole sets in words, FID and KID with the features that they are of."""
    if level := name.partition("/")[2]:
        return f"level {level}"
    return SET_TITLES[name] if name == "swd" else f"{SET_TITLES[name]} ({evaluation.run['features']})"


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
    told = []
    if "swd" in measured:
        told.append(
            "sliced Wasserstein, the mean distance of two sets of 7x7 patches of each Laplacian-pyramid level along "
            "random directions, times 1000 (Karras et al. 2018), at independent places of SR and HR; as many levels as "
            "the smallest image has, whose level "
            "is not under 16 px, of all images"
        )
    if "fid" in measured:
        features = f"of the features of {evaluation.run['features']}"
        told.append(f"FID, the Frechet distance of normal distributions {features} (Heusel et al. 2017)")
        told.append(
            f"KID, the unbiased squared maximum mean discrepancy {features} (Binkowski et al. 2018), from pairs of "
            f"images of different patients{_of_one_patient(evaluation)}: SR and HR of one image are no independent "
            "pair (Gretton et al. 2012)"
        )
    if told:
        yield (
            f"Measures of whole sets: {'; '.join(told)}. Their intervals are those of the delete-a-group jackknife "
            "over patients with Student's t (Kott 2001); FID has none, and no test is made of them."
        )


def _of_one_patient(evaluation: Evaluation) -> str:
    """What KID is of where there are no two patients, if a dataset has but one."""
    patients = [evaluation.frame("sets", one).get("patients", pd.Series(dtype=int)) for one in evaluation.datasets]
    return " (of different images where there is but one patient)" if any(one.eq(1).any() for one in patients) else ""


def _cell(name: str, row: "pd.Series") -> str:
    """The value, with its interval but for levels: theirs stand in sets.csv."""
    if "/" in name:
        return number(row["value"], _unit(name))
    return " ".join(estimate(row["value"], row["low"], row["high"], _unit(name))).strip()


def _unit(name: str) -> str:
    """The unit by which decimals are chosen: sliced Wasserstein, in thousandths, has two as dB have."""
    return "dB" if name.partition("/")[0] == "swd" else ""


def _set_order(name: str) -> tuple[int, int]:
    level = name.partition("/")[2]
    return (
        (1, int(level.removeprefix("x"))) if level else (0, list(SET_TITLES).index(name) if name in SET_TITLES else 9)
    )


EXPLORATORY = (
    "Exploratory: no p is adjusted for the number of groups, measures and pairs, and no group is judged. p of the "
    "interaction: of the hypothesis that the mean difference is the same in all groups of "
    f"{FEWEST} patients or more. A difference that stands out in one group alone is an idea for another study."
)


def subgroup_table(evaluation: Evaluation, dataset: str) -> Table | None:
    """The main measures and pairs in each group, and the test of interaction; None where there are no groups."""
    rows = evaluation.frame("subgroups", dataset)
    if rows.empty:
        return None
    cells = tuple(
        (
            metric_title(evaluation, row["metric"]),
            f"{row['a']} – {row['b']}",
            str(row["group"]),
            str(int(row["images"])),
            str(int(row["n"])),
            _difference(evaluation, row),
            p_value(row["p_interaction"]),
        )
        for row in _ordered(evaluation, dataset)
    )
    columns = (
        "measure", "pair", evaluation.run["by"], "images", "patients", "difference [95 % interval]", "p interaction",
    )  # fmt: skip
    return Table(f"Subgroups on {dataset}", columns, cells, _note(evaluation, dataset))


def _ordered(evaluation: Evaluation, dataset: str) -> list[dict[Any, Any]]:
    """The rows by measure, in the order of METRICS, then as in the table."""
    rows, order = evaluation.frame("subgroups", dataset), list(evaluation.measures)
    place = rows["metric"].str.partition("/")[0].map(order.index)
    pair = rows[["a", "b"]].apply(tuple, axis=1)
    pairs = {one: number for number, one in enumerate(pair.drop_duplicates())}
    return rows.assign(place=place, pair=pair.map(pairs)).sort_values(["place", "pair", "group"]).to_dict("records")


def _difference(evaluation: Evaluation, row: Mapping[Any, Any]) -> str:
    unit = str(evaluation.measures[row["metric"].partition("/")[0]]["unit"])
    return " ".join(filter(None, estimate(row["difference"], row["low"], row["high"], unit, signed=True)))


def _note(evaluation: Evaluation, dataset: str) -> str:
    """How the test was made, and what stands in no group or in several."""
    rows, facts = evaluation.frame("subgroups", dataset), evaluation.run["datasets"][dataset]
    shared, apart = int(rows["shared"].iloc[0]), facts["ungrouped"]
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
        note += f" {counted(apart, 'image')} without a value of {evaluation.run['by']} stand in no group."
    return note


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
    facts = evaluation.measures[metric.partition("/")[0]]
    drawn = intervals(shown, quantity=f"Difference in {facts['title']}", unit=facts["unit"], reference=0)
    caption = f"By {evaluation.run['by']}: mean over the group's patients; whiskers: 95 % interval. Exploratory."
    return Picture(f"{facts['title']} by subgroup on {dataset}", drawn, caption)


def seed_table(evaluation: Evaluation, dataset: str) -> Table | None:
    """A row a method of several seeds and measure of the first table or of whole sets; None without such a method."""
    rows = evaluation.frame("seeds", dataset)
    if rows.empty:
        return None
    by_metric = dict(iter(rows.groupby("metric", sort=False)))
    cells = []
    for metric in (name for name in (*HEADLINE, *SET_TITLES) if name in by_metric):
        of_set = metric in SET_TITLES
        title = set_title(evaluation, metric) if of_set else metric_title(evaluation, metric)
        unit = "" if of_set else evaluation.measures[metric]["unit"]
        for row in by_metric[metric].to_dict(orient="records"):
            digits = decimals(row["greatest"], unit) + 1  # seeds differ by less than patients
            shown = (number(row[name], unit, digits=digits) for name in ("mean", "sd", "least", "greatest"))
            cells.append((title, row["method"], str(int(row["seeds"])), *shown))
    note = (
        "The mean over patients (or the measure of the whole set) of each seed: their mean, which all other tables "
        "show, sd, least and greatest. A method's value of an image is the mean of its seeds' values, not the value of "
        "their mean image. The 95 % intervals of this report are over patients, for these seeds. All measures: "
        "seeds.csv."
    )
    columns = ("measure", "method", "seeds", "mean", "sd over seeds", "least", "greatest")
    return Table(f"Seeds on {dataset}", columns, tuple(cells), note) if cells else None
