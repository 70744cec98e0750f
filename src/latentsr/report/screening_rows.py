"""Rows of screening.json as the sections of its page take them, and how their values are written."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from latentsr.report.numbers import NONE, interval

Told = Mapping[str, Any]
Row = Mapping[str, Any]
LOSSLESS = "lossless"


def of(rows: Sequence[Row], dataset: str) -> list[Row]:
    """The rows of one dataset."""
    return [row for row in rows if row["dataset"] == dataset]


def by_ceiling(told: Told, dataset: str) -> list[Row]:
    """The PSNR rows of a dataset, the best first, then those without a mean, lossless ones last: they are unranked."""
    rows = [row for row in told["ceilings"] if row["dataset"] == dataset and row["metric"] == "psnr"]
    return sorted(rows, key=lambda row: (row["lossless"], row["mean"] is None, -(row["mean"] or 0.0)))


def lossless(told: Told, dataset: str) -> set[str]:
    """The autoencoders that give back every image of the dataset."""
    return {row["method"] for row in by_ceiling(told, dataset) if row["lossless"]}


def several_lossy(told: Told) -> bool:
    """Whether on some dataset two autoencoders or more lose something, so that there is a ranking."""
    return any(len(told["methods"]) - len(lossless(told, name)) > 1 for name in told["datasets"])


def written(value: float | None, form: str) -> str:
    """The value in that form, such as ".2f", or a dash for null."""
    return NONE if value is None else format(value, form)


def bracket(row: Row, digits: int = 2, *, signed: bool = False) -> str:
    """The interval after a blank, such as [27.10, 28.61], or nothing where there is none."""
    shown = interval(row["low"], row["high"], signed=signed, digits=digits)
    return f" {shown}" if shown else ""


def number(value: float | None, null: float = math.nan) -> float:
    """The value, NaN or what is given for null."""
    return null if value is None else value
