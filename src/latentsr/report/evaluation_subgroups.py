"""Subgroups in an evaluation's report: what a column of the datasets' own says of the differences, unadjusted."""

from collections.abc import Mapping
from typing import Any

from latentsr.report.evaluation_data import Evaluation
from latentsr.report.evaluation_tables import metric_title
from latentsr.report.figures import Interval, intervals
from latentsr.report.numbers import counted, estimate, p_value
from latentsr.report.page import Picture, Table
from latentsr.stats.significance import FEWEST

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
