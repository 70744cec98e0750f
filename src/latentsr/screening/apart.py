"""Whether two autoencoders are told apart, by the rule of `stats.significance`, and their difference in words."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from latentsr.stats.significance import LEVEL, judge, turned

RULE = (
    "Told apart means: the mean over patients of the paired difference is not zero, by Student's test with p adjusted "
    f"for all comparisons on the dataset (Holm) below {LEVEL:g}; intervals are of one difference alone."
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


def judgeable(row: Row | None) -> bool:
    """Whether enough patients stand behind the difference to say anything."""
    return row is not None and judge(row, "higher") != "few"


def told_apart(row: Row | None) -> bool:
    """As RULE says."""
    return row is not None and judge(row, "higher") in ("better", "worse")


def gap(row: Row, sign: str = "") -> str:
    """The difference in dB with its interval."""
    interval = f"[{row['low']:.2f}, {row['high']:.2f}]" if math.isfinite(row["low"]) else "(no interval)"
    return f"{row['difference']:{sign}.2f} dB {interval}"


def listed(names: Sequence[str]) -> str:
    """Names as a sentence has them."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
