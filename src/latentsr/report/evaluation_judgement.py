"""When a difference between two methods is called one: interval, test and effect must agree; and how it is told."""

from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np

from latentsr.report.evaluation_data import Evaluation
from latentsr.report.numbers import estimate, p_value
from latentsr.stats.comparison import LEVEL

Row = Mapping[str, Any]
Kind = Literal["better", "worse", "open", "unproved"]
OPENINGS: Mapping[Kind, str] = {
    "better": "is better than {other} in ",
    "worse": "is worse than {other} in ",
    "open": "is not told apart from {other} in ",
    "unproved": "differs from {other} in ",
}


class Judgement(NamedTuple):
    """Whether a pair's first method is better than its second in a measure, in words such as "PSNR by 1.58 dB".

    `open`: the difference may as well be none; `unproved`: the interval says there is one, no test bears it out. `why`
    is a clause that says so.
    """

    kind: Kind
    words: str
    why: str = ""


def judgement(evaluation: Evaluation, dataset: str, metric: str, pair: tuple[str, str]) -> Judgement | None:
    """What is to be said of a pair of methods in one measure; None where they were not compared."""
    row = either_way(evaluation, dataset, metric, pair)
    if row is None or not np.isfinite(row["difference"]):
        return None
    name, _, part = metric.partition("/")
    facts = evaluation.measures[name]
    unit, title = facts["unit"], " ".join(filter(None, (facts["title"], part)))
    kind, why = _weighed(row, facts["better"])
    if kind in ("better", "worse"):
        low, high = sorted((abs(row["low"]), abs(row["high"])))
        amount = " ".join(estimate(abs(row["difference"]), low, high, unit, unit_shown=True))
        return Judgement(kind, f"{title} by {amount}")
    ends = row["low"], row["high"]
    shown = " ".join(estimate(row["difference"], *ends, unit, signed=True, unit_shown=True)).strip()
    return Judgement(kind, f"{title} by {shown}" if kind == "unproved" else f"{title} ({shown})", why)


def either_way(evaluation: Evaluation, dataset: str, metric: str, pair: tuple[str, str]) -> Row | None:
    """The comparison of a pair's first with its second method, turned round where the table has the second first."""
    if (row := evaluation.compared(dataset, metric, *pair)) is not None:
        return dict(row)
    if (back := evaluation.compared(dataset, metric, pair[1], pair[0])) is None:
        return None
    turned = {name: -back[name] for name in ("difference", "d_z", "rank_biserial")}
    kept = {name: back[name] for name in ("p_holm", "p_least", "n")}
    return turned | kept | {"low": -back["high"], "high": -back["low"]}


def _weighed(row: Row, better: str) -> tuple[Kind, str]:
    """Whether interval, test and effect by patient agree that there is a difference, and why not.

    The difference and its interval are of the mean over images, the test and d_z of patients' means: where patients
    have unequally many images, these can point to different sides.
    """
    if not np.isfinite(row["p_holm"]):
        return "unproved", ", which one patient cannot test"
    if row["low"] <= 0 <= row["high"]:
        return "open", ": the interval holds zero"
    if row["p_least"] >= LEVEL:
        return "unproved", f", which no test of {int(row['n'])} patients can prove once adjusted for all pairs"
    if not row["p_holm"] < LEVEL:
        return "unproved", f", not significant once adjusted for all pairs, p {p_value(row['p_holm'])}"
    if any(row[name] * row["difference"] < 0 for name in ("d_z", "rank_biserial")):
        return "open", ": by image and by patient the sign differs"
    return ("better" if (row["difference"] > 0) == (better == "higher") else "worse"), ""


def told(judgements: Iterable[Judgement | None], other: str) -> str:
    """Such as "is better than bicubic in PSNR by 1.58 dB [1.41, 1.75] and HaarPSI by 0.03 [0.02, 0.04]"."""
    found = [one for one in judgements if one is not None]
    groups = dict.fromkeys((one.kind, one.why) for kind in OPENINGS for one in found if one.kind == kind)
    parts = [
        OPENINGS[kind].format(other=other) + " and ".join(one.words for one in found if one[::2] == (kind, why)) + why
        for kind, why in groups
    ]
    return "; it ".join(parts)
