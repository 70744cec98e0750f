"""The published study as data: its outputs, values and claims, and what of a study here stands for them."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from pydantic import Field

from latentsr.config import Config, checked, read_yaml
from latentsr.names import listed
from latentsr.stats.comparison import compare_shared
from latentsr.stats.significance import mean_test
from latentsr.stats.table import COLUMNS

PUBLISHED, CORRECTED = "published", "corrected"
PROTOCOLS = (PUBLISHED, CORRECTED)
MINUS = " - "  # in the name of a difference of two methods
# What the corrected protocol has for a measure of the published one.
INSTEAD = {
    "self_psnr": "psnr", "self_ms_ssim": "ms_ssim", "truncated_bias": "intensity_bias",
    "roi_ssim_published": "roi_ssim", "sampled_cosine": "latent_cosine",
}  # fmt: skip
VALUE_COLUMNS = (
    "output", "dataset", "method", "metric", "published", "published_sd", "published_low", "published_high",
    "published_d", "published_p", "protocol", "samplings", "on", "measure", "ours", "sd", "low", "high", "d", "p",
    "n_patients", "note",
)  # fmt: skip
OUTPUT_COLUMNS = ("output", "title", "shows", "state", "reason", "note", "of", "dataset", "draws")
MADE, PARTLY, NOT_MADE = "made", "made in part", "not made"
NOTHING = pd.DataFrame({name: pd.Series(dtype=float if name == "value" else object) for name in COLUMNS})
OF_SETS = ("fid", "seconds")  # measures of a method on a whole set
NOT_AT_HAND = "the published value is not at hand"


class Value(Config):
    """A published value with what is known of its spread; `d` and `p` are of a difference."""

    value: float | None = None
    sd: float | None = None
    low: float | None = None
    high: float | None = None
    d: float | None = None
    p: float | None = None


class Output(Config):
    """A table, figure or note: `values` by method, measure and dataset, None where one is not at hand.

    `of` are the tables that a figure draws, on `dataset` alone if given, in the form `draws`; `reason` says why no
    study makes it; `note`, what cannot hold as printed or cannot be compared.
    """

    title: str
    shows: str
    note: str = ""
    reason: str = ""
    values: dict[str, dict[str, dict[str, float | Value | None]]] = Field(default_factory=dict)
    of: tuple[str, ...] = ()
    dataset: str | None = None
    draws: str | None = None


class Printed(Config):
    """A statement that cannot hold as it is printed, whatever is measured."""

    claim: str
    dataset: str
    published: str
    reason: str


class Publication(Config):
    """What published.yaml holds: titles of datasets and claims, outputs, and methods of no output."""

    datasets: dict[str, str]
    claims: dict[str, str]
    further: tuple[str, ...]
    outputs: dict[str, Output]
    cannot_hold: tuple[Printed, ...]

    @property
    def methods(self) -> tuple[str, ...]:
        """All names of methods."""
        names = [part for one in self.outputs.values() for name in one.values for part in name.split(MINUS)]
        return tuple(dict.fromkeys([*names, *self.further]))


@cache
def publication() -> Publication:
    """The published study, from the file beside this one."""
    file = Path(__file__).with_suffix(".yaml")
    return checked(Publication, read_yaml(file), file.name)


class Roles(Config):
    """Which datasets and samplings of a study stand for those of the published one, by the published names.

    Under the published and the corrected protocol: ARM:SAMPLING, or several that are measured on a dataset each.
    """

    datasets: dict[str, str] = Field(default_factory=dict)
    published: dict[str, str | tuple[str, ...]] = Field(default_factory=dict)
    corrected: dict[str, str | tuple[str, ...]] = Field(default_factory=dict)

    def samplings(self, protocol: str, method: str) -> tuple[str, ...]:
        """The ARM:SAMPLING that stand for a method; none where no arm does."""
        shown = (self.published if protocol == PUBLISHED else self.corrected).get(method, ())
        return (shown,) if isinstance(shown, str) else shown


class Mean(NamedTuple):
    """The mean over patients of a measure or difference, with Student's interval; `sd` is that of the images."""

    ours: float = np.nan
    sd: float = np.nan
    low: float = np.nan
    high: float = np.nan
    p: float = np.nan
    n_patients: int = 0


def mean_of(rows: pd.DataFrame) -> Mean:
    """Of the tidy rows of one measure; images without a finite value are left out, nothing left gives NaN."""
    finite = rows[np.isfinite(rows["value"])]
    if finite.empty:
        return Mean()
    found = mean_test(finite.groupby("patient")["value"].mean().to_numpy()[:, None])
    mean, low, high, p = (float(one[0]) for one in (found.mean, found.low, found.high, found.p))
    return Mean(mean, float(finite["value"].std()), low, high, p, int(found.n[0]))


def minus(a: pd.DataFrame, b: pd.DataFrame) -> pd.DataFrame:
    """Tidy rows of a - b, over the images that both have; measures of other names are subtracted if each has one."""
    if a.empty or b.empty:
        return NOTHING
    both = a.merge(b[["dataset", "id", "value"]], on=["dataset", "id"], suffixes=("", "_b"))
    with np.errstate(invalid="ignore"):
        return both.assign(value=both["value"] - both["value_b"]).drop(columns="value_b")


@dataclass(frozen=True)
class Measured:
    """What a study has measured, by the published names.

    Attributes:
        roles: of its design.
        images: the tidy table of each arm, whose methods are samplings.
        sets: measures of whole sets, such as FID, and the seconds that an image took, with the column `arm`.
        datasets: the name in these tables of each published dataset that something is measured on.
    """

    roles: Roles
    images: Mapping[str, pd.DataFrame]
    sets: pd.DataFrame
    datasets: Mapping[str, str]

    def rows(self, protocol: str, method: str, dataset: str, metric: str) -> pd.DataFrame:
        """The tidy rows of a method or a difference ("A - B") in one measure; none where it is not measured."""
        if MINUS in method:
            a, b = (self.rows(protocol, one, dataset, metric) for one in method.split(MINUS))
            return minus(a, b)
        keys = [
            (*text.partition(":")[::2], self.datasets.get(dataset), metric)
            for text in self.roles.samplings(protocol, method)
        ]
        found = [self._parts[key] for key in keys if key in self._parts]
        return pd.concat(found, ignore_index=True) if found else NOTHING

    @cached_property
    def _parts(self) -> dict[tuple[Any, ...], pd.DataFrame]:
        """The rows of each arm, sampling, dataset and measure."""
        by = ["method", "dataset", "metric"]
        return {(arm, *key): rows for arm, table in self.images.items() for key, rows in table.groupby(by, sort=False)}

    def mean(self, protocol: str, method: str, dataset: str, metric: str) -> Mean:
        """Of a method or a difference in one measure."""
        return mean_of(self.rows(protocol, method, dataset, metric))

    def of_set(self, protocol: str, method: str, dataset: str, metric: str) -> Mean:
        """A measure of a whole set, of several seeds the mean; NaN where it is not measured."""
        pairs = [text.partition(":")[::2] for text in self.roles.samplings(protocol, method)]
        own = self.sets[(self.sets["dataset"] == self.datasets.get(dataset)) & (self.sets["metric"] == metric)]
        own = own[[pair in pairs for pair in zip(own["arm"], own["method"], strict=True)]]
        if own.empty:
            return Mean()
        value, low, high = (float(own[name].mean()) for name in ("value", "low", "high"))
        return Mean(value, np.nan, low, high, np.nan, int(own["patients"].iloc[0]))

    def lacks(self, protocol: str, method: str, dataset: str, metric: str) -> str:
        """In words, why a value is not there."""
        parts = method.split(MINUS)
        if dataset not in self.roles.datasets:
            return f"no dataset stands for {publication().datasets[dataset].partition(',')[0]}"
        if without := [one for one in parts if not self.roles.samplings(protocol, one)]:
            return f"no arm stands for {listed(without)} under the {protocol} protocol"
        on, shown = self.roles.datasets[dataset], [self.roles.samplings(protocol, one) for one in parts]
        for samplings in shown:
            own = [self.images[arm] for text in samplings if (arm := text.partition(":")[0]) in self.images]
            if not any((table["dataset"] == self.datasets.get(dataset)).any() for table in own):
                return f"{listed(samplings)} is not measured on {on}"
        return (
            f"{metric.partition('/')[0]} is not measured of {listed([text for one in shown for text in one])} on {on}"
        )


def compare_values(measured: Measured) -> pd.DataFrame:
    """One row per output, method, measure, dataset and protocol: VALUE_COLUMNS, the published value beside ours.

    `ours` is the mean over patients with Student's interval and, of a difference, `p`; `d` is with the pooled sd, as
    published. `note` says why one of both is missing.
    """
    cells = [
        (name, dataset, method, metric, value)
        for name, output in publication().outputs.items()
        for method, metrics in output.values.items()
        for metric, values in metrics.items()
        for dataset, value in values.items()
    ]
    rows = []
    for name, dataset, method, metric, value in cells:
        known = value if isinstance(value, Value) else Value(value=value)
        for protocol in PROTOCOLS:
            first, _, part = metric.partition("/")
            measure = metric if protocol == PUBLISHED else "/".join(filter(None, (INSTEAD.get(first, first), part)))
            mean = measured.of_set if metric in OF_SETS else measured.mean
            own = mean(protocol, method, dataset, measure)
            there = np.isfinite(own.ours)
            notes = [] if known.value is not None else [NOT_AT_HAND]
            notes += [] if there else [measured.lacks(protocol, method, dataset, measure)]
            parts = method.split(MINUS)
            samplings = MINUS.join(", ".join(measured.roles.samplings(protocol, one)) for one in parts)
            d = np.nan
            if there and len(parts) == 2:
                pair = [measured.rows(protocol, one, dataset, measure) for one in parts]
                d = float(compare_shared(pair[0], pair[1], ("a", "b"))["d"].iloc[0])
            rows.append({
                "output": name, "dataset": dataset, "method": method, "metric": metric, "published": known.value,
                **{f"published_{key}": getattr(known, key) for key in ("sd", "low", "high", "d", "p")},
                "protocol": protocol, "samplings": samplings if there else "",
                "on": measured.roles.datasets.get(dataset, ""), "measure": measure, **own._asdict(),
                "p": own.p if len(parts) == 2 else np.nan, "d": d, "note": "; ".join(notes),
            })  # fmt: skip
    table = pd.DataFrame(rows, columns=list(VALUE_COLUMNS))
    numbers = [name for name in VALUE_COLUMNS if name.startswith("published")]
    return table.astype(dict.fromkeys(numbers, float))


def compare_outputs(values: pd.DataFrame) -> pd.DataFrame:
    """One row per output: OUTPUT_COLUMNS; whether the study has made it, or why not. `values` of `compare_values`."""
    rows = []
    for name, output in publication().outputs.items():
        own = values[values["output"].isin(output.of or (name,))]
        own = own if output.dataset is None else own[own["dataset"] == output.dataset]
        made = own[np.isfinite(own["ours"])]
        keys = ["output", "dataset", "method", "metric"]
        lacking = own.merge(made[keys].drop_duplicates(), on=keys, how="left", indicator=True)
        lacking = lacking[lacking["_merge"] == "left_only"]
        state = NOT_MADE if made.empty else PARTLY if len(lacking) else MADE
        missing = [note.removeprefix(NOT_AT_HAND).strip("; ") for note in lacking["note"]]
        reason = output.reason or "; ".join(dict.fromkeys(missing))
        drawn = " ".join(output.of), output.dataset or "", output.draws or ""
        rows.append((name, output.title, output.shows, state, reason, output.note, *drawn))
    return pd.DataFrame(rows, columns=list(OUTPUT_COLUMNS))
