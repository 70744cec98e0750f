"""Rows of screening.json as the sections of its page take them, and how their values are written."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

Told = Mapping[str, Any]
Row = Mapping[str, Any]
LOSSLESS, NONE = "lossless", "–"


def of(rows: Sequence[Row], dataset: str) -> list[Row]:
    """The rows of one dataset."""
    return [row for row in rows if row["dataset"] == dataset]


def by_ceiling(told: Told, dataset: str) -> list[Row]:
    """The PSNR rows of a dataset, the best first, lossless ones last: they are outside the ranking."""
    rows = [row for row in told["ceilings"] if row["dataset"] == dataset and row["metric"] == "psnr"]
    return sorted(rows, key=lambda row: (row["lossless"], -(row["mean"] or 0)))


def bracket(row: Row, digits: int = 2, *, signed: bool = False) -> str:
    """The interval after a blank, such as [27.10, 28.61], or nothing where there is none."""
    sign = "+" if signed else ""
    return "" if row["low"] is None else f" [{row['low']:{sign}.{digits}f}, {row['high']:{sign}.{digits}f}]"


def number(value: float | None) -> float:
    """The value, NaN for null."""
    return math.nan if value is None else value
