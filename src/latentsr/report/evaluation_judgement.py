"""A difference between two methods in words, by the rule of `stats.significance`."""

from collections.abc import Mapping
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from latentsr.report.evaluation_data import Evaluation
from latentsr.report.numbers import estimate, number, p_value
from latentsr.stats.significance import LEVEL, Finding, judge, turned

FINDINGS: Mapping[Finding, str] = {
    "better": "better", "worse": "worse", "open": "not told apart", "few": "too few patients",
}  # fmt: skip


class Judgement(NamedTuple):
    """What is said of a pair's first method against its second in a measure.

    `amount` is the difference with its interval: its size where the first is better or worse, such as "PSNR by 1.58 dB
    [1.41, 1.75]", with its sign otherwise; `why` a clause that says what keeps it from being a finding.
    """

    finding: Finding
    amount: str
    p: str
    why: str = ""

    def sentence(self, first: str, second: str) -> str:
        """Such as "mine is better than bicubic in PSNR by 1.58 dB [1.41, 1.75], p < 0.001"."""
        verb = {"open": "is not told apart from", "few": "differs from"}.get(
            self.finding, f"is {FINDINGS[self.finding]} than"
        )
        return f"{first} {verb} {second} in {self.amount}{self.p}{self.why}"


def judgement(evaluation: Evaluation, dataset: str, metric: str, pair: tuple[str, str]) -> Judgement | None:
    """What is to be said of a pair of methods in one measure; None where they were not compared."""
    row = either_way(evaluation, dataset, metric, pair)
    if row is None or not np.isfinite(row["difference"]):
        return None
    name, _, part = metric.partition("/")
    facts = evaluation.measures[name]
    unit, title = facts["unit"], " ".join(filter(None, (facts["title"], part)))
    finding = judge(row, facts["better"])
    p = f", p {p_value(row['p_holm'], sign=True)}" if np.isfinite(row["p_holm"]) else ""
    if finding in ("better", "worse"):
        towards = row if row["difference"] > 0 else turned(row)
        ends = towards["low"], towards["high"]
        return Judgement(finding, f"{title} by {_bounded(towards['difference'], ends, unit)}", p)
    amount = f"{title} by {_bounded(row['difference'], (row['low'], row['high']), unit, signed=True)}"
    if finding == "few":
        return Judgement(finding, amount, "", f", {too_few(int(row['n']))}")
    adjusted = " adjusted for its family of tests" if row["p"] < LEVEL else ""
    power = f"{adjusted}; 80 % power from {number(row['detectable'], unit, unit_shown=True)}"
    return Judgement(finding, amount, p, power)


def too_few(patients: int) -> str:
    """Such as "which 3 patients are too few to judge"."""
    return "which one patient cannot show" if patients == 1 else f"which {patients} patients are too few to judge"


def _bounded(value: float, ends: tuple[float, float], unit: str, *, signed: bool = False) -> str:
    return " ".join(filter(None, estimate(value, *ends, unit, signed=signed, unit_shown=True)))


def either_way(evaluation: Evaluation, dataset: str, metric: str, pair: tuple[str, str]) -> Mapping[str, Any] | None:
    """The comparison of a pair's first with its second method, turned round where the table has the second first."""
    if (row := evaluation.compared(dataset, metric, *pair)) is not None:
        return row
    back = evaluation.compared(dataset, metric, pair[1], pair[0])
    return None if back is None else turned(back)


def told_pairs(evaluation: Evaluation) -> list[tuple[str, str]]:
    """All pairs of methods, each one way round on the whole page: the later minus the earlier, but for the primary."""
    primary = evaluation.run["primary"]
    asked = [(primary["a"], primary["b"])] if primary else []
    return [
        (earlier, later) if (earlier, later) in asked else (later, earlier)
        for earlier, later in combinations(evaluation.methods, 2)
    ]


def equivalence_rows(evaluation: Evaluation, dataset: str) -> list[Mapping[str, Any]]:
    """The rows of the equivalence table by patient, in the order of `told_pairs` and turned as they are."""
    rows = evaluation.frame("equivalence", dataset)
    if rows.empty:
        return []
    found = {(row["metric"], row["a"], row["b"]): row for row in rows[rows["unit"] == "patient"].to_dict("records")}
    for metric, a, b in list(found):
        row = found[metric, a, b]
        ends = {"difference": -row["difference"], "low": -row["high"], "high": -row["low"]}
        found[metric, b, a] = {**row, "a": b, "b": a, **ends}
    metrics = dict.fromkeys(rows["metric"])
    return [found[metric, *pair] for metric in metrics for pair in told_pairs(evaluation) if (metric, *pair) in found]
