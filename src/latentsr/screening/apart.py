"""Whether two autoencoders are told apart, and their difference in words: one rule for all that a screening says."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

FEW_PATIENTS = 8  # below, a bootstrap interval holds the truth less often than it says
LEVEL = 0.05
RULE = (
    "Told apart means: the 95 % interval of the paired difference, not adjusted for how many are compared, excludes "
    "zero, and the Wilcoxon p, adjusted for all comparisons on the dataset (Holm), is below 0.05."
)
Row = Mapping[str, Any]


def psnr_difference(differences: pd.DataFrame, dataset: str, a: str, b: str) -> Row | None:
    """The row of a minus b in PSNR, turned round where the table has b minus a; None if it has neither."""
    psnr = differences[(differences["dataset"] == dataset) & (differences["metric"] == "psnr")]
    for row in psnr[(psnr["a"] == a) & (psnr["b"] == b)].to_dict(orient="records"):
        return row
    for row in psnr[(psnr["a"] == b) & (psnr["b"] == a)].to_dict(orient="records"):
        return turned(row)
    return None


def turned(row: Row) -> dict[str, Any]:
    """The row of the pair (b, a)."""
    sides = {"a": row["b"], "b": row["a"]}
    return {**row, **sides, "difference": -row["difference"], "low": -row["high"], "high": -row["low"]}


def judgeable(row: Row | None) -> bool:
    """Whether enough patients stand behind the difference, with an interval and a test, to say anything."""
    if row is None or row["n"] < FEW_PATIENTS:
        return False
    return all(math.isfinite(row[name]) for name in ("low", "high", "p_holm"))


def told_apart(row: Row | None) -> bool:
    """As RULE says."""
    return row is not None and judgeable(row) and (row["low"] > 0 or row["high"] < 0) and row["p_holm"] < LEVEL


def gap(row: Row, sign: str = "") -> str:
    """The difference in dB with its interval."""
    interval = f"[{row['low']:.2f}, {row['high']:.2f}]" if math.isfinite(row["low"]) else "(no interval)"
    return f"{row['difference']:{sign}.2f} dB {interval}"


def listed(names: Sequence[str]) -> str:
    """Names as a sentence has them."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
