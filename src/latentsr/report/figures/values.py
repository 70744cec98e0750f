"""What figures are drawn of: a value with its interval, a point; and the words for values that have no place."""

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from latentsr.errors import InputError

NAN = math.nan
LOSSLESS, NO_VALUE = "lossless", "no value"
TOLD = 12  # values that an alt text lists before it only counts the rest


class Interval(NamedTuple):
    """A row of a figure: a value and its interval, in the figure's unit; `group` is the heading that it stands under.

    +inf is a lossless result (the PSNR of identical images), NaN no value; without an interval both ends are NaN.
    """

    label: str
    centre: float
    low: float = NAN
    high: float = NAN
    group: str = ""

    @property
    def bounded(self) -> bool:
        """Whether centre and both ends can be drawn."""
        return bool(np.isfinite([self.centre, self.low, self.high]).all())


class Point(NamedTuple):
    """A point of a plane; `group` decides its mark, `label` stands beside it.

    `low` and `high` are an interval of y, `x_low` and `x_high` one of x; NaN where there is none.
    """

    label: str
    x: float
    y: float
    group: str = ""
    low: float = NAN
    high: float = NAN
    x_low: float = NAN
    x_high: float = NAN


def intervals_of(rows: Iterable[Sequence[Any]]) -> list[Interval]:
    """The rows as records, floats where numbers are; InputError without any."""
    found = []
    for row in rows:
        label, centre, low, high, group = Interval(*row)
        found.append(Interval(str(label), float(centre), float(low), float(high), str(group)))
    return required(found, "rows")


def points_of(rows: Iterable[Sequence[Any]]) -> list[Point]:
    """The points as records, floats where numbers are; InputError without any."""
    found = []
    for row in rows:
        label, x, y, group, *ends = Point(*row)
        found.append(Point(str(label), float(x), float(y), str(group), *map(float, ends)))
    return required(found, "points")


def checked_frame(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame as floats, names as text; InputError where it is empty or a method stands in it twice."""
    if frame.empty:
        raise InputError("a figure came without values: expected a frame with a row a method")
    found = frame.astype(np.float64)
    found.index, found.columns = found.index.map(str), found.columns.map(str)
    if not found.index.is_unique:
        twice = ", ".join(sorted(set(found.index[found.index.duplicated()])))
        raise InputError(f"twice in one figure: {twice}; average the rows, or draw a figure a dataset")
    return found


def required(items: list[Any], noun: str) -> list[Any]:
    """The items; InputError where there are none."""
    if not items:
        raise InputError(f"a figure came without {noun}: expected at least one")
    return items


def finite(values: Iterable[float]) -> NDArray[np.float64]:
    """Those of the values that are numbers, (n,)."""
    found = np.asarray(list(values), dtype=np.float64)
    return found[np.isfinite(found)]


def absence(value: float) -> str:
    """The word for a value without a place on an axis: "lossless" for +inf, else "no value"."""
    return LOSSLESS if value == math.inf else NO_VALUE


def decimals(values: Iterable[float]) -> int:
    """Digits after the point that tell these values apart: three significant digits of what they span."""
    shown = finite(values)
    span = float(np.ptp(shown)) if shown.size else 0.0
    span = span or float(np.abs(shown).max(initial=0.0)) / 10 or 1.0
    return int(np.clip(2 - math.floor(math.log10(span)), 0, 6))


def number(value: float, digits: int, *, signed: bool = False) -> str:
    """The value in words: its digits with a true minus, or why it has none."""
    if not math.isfinite(value):
        return absence(value)
    rounded = round(value, digits) + 0.0  # no minus before a zero
    text = f"{rounded:+.{digits}f}" if signed and rounded else f"{rounded:.{digits}f}"
    return text.replace("-", "\N{MINUS SIGN}")


def told(parts: Sequence[str]) -> str:
    """The parts as one text, the first TOLD of them, and how many more there are."""
    rest = len(parts) - TOLD
    return "; ".join(parts[:TOLD]) + (f"; and {rest} more" if rest > 0 else "")
