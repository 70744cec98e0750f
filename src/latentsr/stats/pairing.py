"""Two methods side by side on the same images: the pairs that a table offers, and their values."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from latentsr.errors import InputError, OptionError

REFERENCE = "hr"
UNITS = ("patient", "image")

Pair = tuple[str, str]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Paired:
    """The values of some pairs of methods on a dataset's images: one column a pair and metric, one row an image.

    `first` and `second`, both (images, columns), hold the two methods' values as measured, NaN and infinities in it;
    `labels` the (metric, a, b) of each column, `patients` the patient of each image.
    """

    labels: tuple[tuple[str, str, str], ...]
    patients: tuple[str, ...]
    first: Floats
    second: Floats

    @property
    def usable(self) -> NDArray[np.bool_]:
        """(images, columns): where both values are finite, so that they have a difference."""
        return np.isfinite(self.first) & np.isfinite(self.second)

    @property
    def missing(self) -> NDArray[np.bool_]:
        """(images, columns): where one of the values is NaN, so that the measure has none."""
        return np.isnan(self.first) | np.isnan(self.second)

    @property
    def infinite(self) -> NDArray[np.bool_]:
        """(images, columns): where no value is NaN but one is infinite, such as the PSNR of identical images."""
        return ~self.missing & ~self.usable

    @property
    def differences(self) -> Floats:
        """(images, columns): first minus second, NaN where a value is not finite."""
        return np.subtract(self.first, self.second, out=np.full(self.first.shape, np.nan), where=self.usable)


def wide(rows: pd.DataFrame) -> pd.DataFrame:
    """The values of one dataset's rows of a tidy table: an image a row (id, patient), a column a (method, metric).

    Both are sorted, so that the order of the tidy table's rows changes nothing.
    """
    # Not pivot_table, which would average rows away without a word.
    cells = rows.set_index(["id", "patient", "method", "metric"])["value"]
    return cells.unstack(["method", "metric"]).sort_index().sort_index(axis=1)


def pair_columns(values: pd.DataFrame, pairs: Sequence[Pair]) -> Paired:
    """The values of each pair (a, b) and each metric that both methods have, in the order of metrics, then pairs.

    `values` is that of `wide`: images are paired by its rows, never by position in the tidy table.
    """
    metrics = values.columns.get_level_values("metric").unique()
    labels = [
        (metric, a, b)
        for metric in sorted(metrics)
        for a, b in pairs
        if (a, metric) in values.columns and (b, metric) in values.columns
    ]
    at = {cell: number for number, cell in enumerate(values.columns)}
    numbers = values.to_numpy(dtype=np.float64)
    return Paired(
        labels=tuple(labels),
        patients=tuple(values.index.get_level_values("patient").astype(str)),
        first=numbers[:, [at[a, metric] for metric, a, _ in labels]],
        second=numbers[:, [at[b, metric] for metric, _, b in labels]],
    )


def chosen_pairs(rows: pd.DataFrame, *, pairs: Sequence[Pair] | None = None, baseline: str | None = None) -> list[Pair]:
    """The pairs (a, b) to compare in one dataset's rows: `pairs`, else each other method with `baseline`, else all.

    HR (the method named `hr`) is compared only where `pairs` or `baseline` names it. Of all pairs, a is the one that
    comes later in the order of names, so that (a, b) and (b, a) are not both there.

    Raises:
        OptionError: both `pairs` and `baseline`, a method paired with itself, or a pair given twice.
        InputError: a method that the dataset does not have; the ones it has are listed.
    """
    if pairs is not None and baseline is not None:
        raise OptionError("both pairs and baseline: give one of them")
    methods = sorted(rows["method"].unique())
    compared = [method for method in methods if method != REFERENCE]
    if pairs is None:
        wanted = [(b, a) for a, b in combinations(compared, 2)]
        if baseline is not None:
            wanted = [(method, baseline) for method in compared if method != baseline]
    else:
        wanted = [(a, b) for a, b in pairs]
    named = {method for pair in wanted for method in pair} | ({baseline} if baseline else set())
    if unknown := sorted(named - set(methods)):
        name = rows["dataset"].iloc[0]
        raise InputError(f"no method {', '.join(unknown)} in dataset {name}: it has {', '.join(methods)}")
    _check_pairs(wanted)
    return wanted


def _check_pairs(pairs: Sequence[Pair]) -> None:
    if wrong := [f"{a} with {b}" for a, b in pairs if a == b] or [
        f"{a} with {b} twice" for a, b in pairs if pairs.count((a, b)) > 1
    ]:
        raise OptionError(f"pairs {', '.join(sorted(set(wrong)))}: expected two methods, each pair once")


def units_of(unit: str) -> tuple[str, ...]:
    """The units of analysis that a text asks for: one, or patient and image for "both"; OptionError otherwise."""
    if unit not in (*UNITS, "both"):
        raise OptionError(f"unit '{unit}': expected patient, image or both")
    return UNITS if unit == "both" else (unit,)


def unit_members(paired: Paired, unit: str) -> list[str]:
    """The unit that each image belongs to: its patient, or itself alone."""
    return list(paired.patients) if unit == "patient" else [f"{number:09d}" for number in range(len(paired.patients))]


def unit_means(values: Floats, members: Sequence[str]) -> Floats:
    """(units, columns): each unit's mean over its images that have a value, NaN where none has; units sorted by name.

    Args:
        values: (images, columns).
        members: the unit, such as the patient, of each image.
    """
    return pd.DataFrame(values).groupby(np.asarray(members), sort=True).mean().to_numpy(dtype=np.float64)
