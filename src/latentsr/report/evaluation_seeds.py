"""The seeds of a method in an evaluation's report: how far they lie apart, which no interval over patients holds."""

from latentsr.report.evaluation_data import Evaluation
from latentsr.report.evaluation_headline import HEADLINE
from latentsr.report.evaluation_sets import SET_TITLES, set_title
from latentsr.report.evaluation_tables import metric_title
from latentsr.report.numbers import decimals, number
from latentsr.report.page import Table


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
