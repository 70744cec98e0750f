"""Simulated studies for the words of an evaluation's report, and what is true of them, computed from single values.

Each has patients of unequal numbers of images, effects around zero, around the margin and far from both, patients that
a method fails on, images that are HR itself and images without a value.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import stdtr, stdtrit

from latentsr.bench.sets import SET_COLUMNS
from latentsr.bench.tables import directed, family_of, measure_facts
from latentsr.metrics import METRICS
from latentsr.report.evaluation.data import Evaluation
from latentsr.stats.comparison import compare_methods, summarise
from latentsr.stats.significance import compare_equivalence
from latentsr.stats.table import COLUMNS

SETS, MARGIN = tuple(f"set{n}" for n in range(10)), 0.15
SCALES = {  # of a measure's effects, and its mean
    "psnr": (1.0, 30.0), "haarpsi": (0.05, 0.7), "gmsd": (0.02, 0.1), "lost/2sigma": (0.02, 0.05),
    "laplacian_variance": (0.01, 0.02), "lr_psnr": (20.0, 60.0),
}  # fmt: skip
LESS = ("gmsd", "lost/2sigma")
TITLES = {METRICS[name.partition("/")[0]].title: name for name in SCALES}


def simulated(number: int) -> Evaluation:
    """An evaluation of up to three methods on ten sets, of which the first has but few patients."""
    rng = np.random.default_rng(number)
    methods = ["bicubic", "mine", "theirs", "third"][: 2 + number % 3]
    primary = [None, ("mine", "bicubic", "psnr"), (methods[-1], methods[-2], "haarpsi"), ("bicubic", "mine", "psnr")]
    chosen = primary[rng.choice(4, p=[0.1, 0.5, 0.3, 0.1])]
    table = pd.concat([_values(rng, name, methods, few=name == "set0") for name in SETS], ignore_index=True)
    pairs = [(later, earlier) for earlier, later in combinations(methods, 2)]
    compared = table[table["metric"].isin(directed(METRICS.values()))]
    families = {name: family_of(name) for name in compared["metric"].unique()}
    sets = [(name, one, "swd/x1", 9, 9, rng.gamma(4), np.nan, np.nan) for name in SETS for one in methods]
    comparisons = compare_methods(compared, pairs=pairs, primary=chosen, families=families, draws=20)
    frames = {
        "table": table,
        "summary": summarise(table),
        "comparisons": comparisons,
        "effects": comparisons.assign(d_z_low=np.nan, d_z_high=np.nan, h=np.nan),  # no words rest on these
        "equivalence": compare_equivalence(table, {"psnr": MARGIN}, pairs=pairs),
        "sets": pd.DataFrame(sets, columns=list(SET_COLUMNS)),
    }  # fmt: skip
    images = table[table["metric"].eq("psnr") & table["method"].eq("bicubic")].groupby("dataset")
    run = {
        "datasets": {name: {"images": len(rows), "patients": rows["patient"].nunique()} for name, rows in images},
        "methods": [{"name": name} for name in methods],
        "measures": measure_facts(table),
        "character": [],
        "primary_given": number % 2 == 0,
        "primary": None if chosen is None else dict(zip("ab", chosen, strict=False)) | {"metric": chosen[2]},
        "truth": [],
        "pairing": [],
        "reference_autoencoder": {"name": "vae"},
    }
    return Evaluation(Path(), run, frames)


def _values(rng: np.random.Generator, dataset: str, methods: list[str], *, few: bool) -> pd.DataFrame:
    """The tidy rows of one dataset."""
    count = rng.integers(2, 6) if few else rng.integers(6, 26)
    patients = np.repeat(np.arange(count), rng.choice([1, 1, 2, 3, 12], count))
    weights = np.bincount(patients)[patients]
    columns: dict[tuple[str, str], np.ndarray] = {}
    for metric, (scale, mean) in SCALES.items():
        hard = rng.normal(0, 2 * scale, count)[patients]
        for method in [*methods, "hr"] if metric == "laplacian_variance" else methods:
            effect = 0.0 if method == "bicubic" else scale * rng.choice([0, 0, MARGIN, -MARGIN, 0.4, -0.4, 1.5, -1.5])
            own = rng.normal(0, 0.3 * scale, count)[patients] + (weights > 3) * rng.normal(0, 0.5 * scale)
            values = mean + hard + effect + own + rng.normal(0, 0.3 * scale, len(patients))
            if method != "bicubic" and rng.random() < 0.1:  # one patient that it fails on
                values = values - 10 * scale * (patients == count - 1)
            values = np.abs(values) if metric.startswith(("l", "h")) else values  # no share is below zero
            if method != "bicubic" and rng.random() < 0.1:  # images that are HR, or have no value
                left_out = rng.random(len(patients)) < rng.choice([0.2, 0.9]) if rng.random() < 0.5 else hard < 0
                values = np.where(left_out, np.inf if metric == "psnr" else np.nan, values)
            columns[method, metric] = values
    images = np.arange(len(patients)).astype(str)
    names, metrics = (np.repeat(one, len(images)) for one in zip(*columns, strict=True))
    cells = (dataset, np.tile(images, len(columns)), np.tile(patients.astype(str), len(columns)), names, metrics)
    return pd.DataFrame(dict(zip(COLUMNS, (*cells, np.concatenate(list(columns.values()))), strict=True)))


@dataclass(frozen=True)
class Pair:
    """What is true of a pair of methods in a measure: of patients' means of differences, one after the other."""

    units: np.ndarray
    images: np.ndarray

    @property
    def n(self) -> int:
        return len(self.units)

    @cached_property
    def difference(self) -> float:
        return float(np.mean(self.units)) if self.n else np.nan

    @cached_property
    def error(self) -> float:
        return float(np.std(self.units, ddof=1) / np.sqrt(self.n)) if self.n > 1 else np.nan

    @cached_property
    def p(self) -> float:
        return float(2 * stdtr(self.n - 1, -abs(self.difference) / self.error)) if self.n > 1 else np.nan

    def ends(self, level: float = 0.95) -> tuple[float, float]:
        reach = stdtrit(self.n - 1, (1 + level) / 2) * self.error if self.n > 1 else np.nan
        return self.difference - reach, self.difference + reach

    @property
    def equivalent(self) -> bool:
        """Whether it is shown to lie within MARGIN."""
        low, high = self.ends(0.9)
        return self.n > 5 and low > -MARGIN and high < MARGIN


class Truth:
    """What is true of an evaluation, by dataset, measure and pair, computed from its table of values."""

    def __init__(self, evaluation: Evaluation) -> None:
        self.evaluation, self.methods = evaluation, evaluation.methods
        rows = evaluation.frames["table"]
        self.values = {
            key: (part["patient"].to_numpy(), part["value"].to_numpy())
            for key, part in rows.groupby(["dataset", "metric", "method"])
        }
        primary = evaluation.run["primary"]
        self.primary = None if primary is None else (primary["metric"], frozenset((primary["a"], primary["b"])))
        self.adjusted = {dataset: self._holm(dataset) for dataset in SETS}

    def mean(self, dataset: str, metric: str, method: str) -> float:
        """Over patients, of the finite values."""
        patients, values = self.values[dataset, metric, method]
        kept = np.isfinite(values)
        return float(np.mean(_by(patients[kept], values[kept]))) if kept.any() else np.nan

    def pair(self, dataset: str, metric: str, a: str, b: str) -> Pair:
        (patients, one), (_, other) = (self.values[dataset, metric, name] for name in (a, b))
        kept = np.isfinite(one) & np.isfinite(other)
        differences = one[kept] - other[kept]
        return Pair(_by(patients[kept], differences), differences)

    def p_holm(self, dataset: str, metric: str, a: str, b: str) -> float:
        return self.adjusted[dataset][metric, frozenset((a, b))]

    def finding(self, dataset: str, metric: str, a: str, b: str) -> str:
        found = self.pair(dataset, metric, a, b)
        if found.n < 6:
            return "too few patients"
        if self.p_holm(dataset, metric, a, b) >= 0.05:
            return "not told apart"
        return "better" if (found.difference > 0) != (metric in LESS) else "worse"

    def worse(self, dataset: str, method: str) -> set[str]:
        """The titles of the measures in which a method is worse than bicubic."""
        tested = [name for name in SCALES if name not in ("lr_psnr", "laplacian_variance")]
        return {
            title
            for title, name in TITLES.items()
            if name in tested and self.finding(dataset, name, method, "bicubic") == "worse"
        }

    def _holm(self, dataset: str) -> dict[tuple[str, frozenset[str]], float]:
        """p adjusted step by step within main, other and part measures; of the primary comparison p itself."""
        families: dict[str, dict] = {}
        for metric in SCALES:
            if metric in ("lr_psnr", "laplacian_variance"):
                continue
            family = "parts" if "/" in metric else "main" if metric in ("psnr", "haarpsi") else "whole"
            for a, b in combinations(self.methods, 2):
                key = (metric, frozenset((a, b)))
                own = "primary" if key == self.primary else family
                families.setdefault(own, {})[key] = self.pair(dataset, metric, a, b).p
        found = {}
        for tests in families.values():
            known = sorted((p, n) for n, p in enumerate(tests.values()) if np.isfinite(p))
            least = 0.0
            adjusted = dict.fromkeys(range(len(tests)), np.nan)
            for rank, (p, n) in enumerate(known):
                least = adjusted[n] = max(least, min(1.0, p * (len(known) - rank)))
            found |= {key: adjusted[n] for n, key in enumerate(tests)}
        return found


def _by(patients: np.ndarray, values: np.ndarray) -> np.ndarray:
    return np.array([values[patients == one].mean() for one in dict.fromkeys(patients)])
