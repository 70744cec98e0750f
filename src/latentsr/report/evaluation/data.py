"""What an evaluation wrote, read back for its report: tables, run.json and pictures. Nothing is measured again."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from latentsr.config import read_json
from latentsr.errors import InputError
from latentsr.names import HR, MAPS, PICTURES, RUN
from latentsr.stats.significance import turned
from latentsr.stats.table import read_table

Row = Mapping[Any, Any]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """An evaluation's folder: `run` is its run.json, `frames` its tables by name."""

    folder: Path
    run: Mapping[str, Any]
    frames: Mapping[str, pd.DataFrame]

    @property
    def datasets(self) -> list[str]:
        """The datasets' names, in the order in which they were given."""
        return list(self.run["datasets"])

    @property
    def methods(self) -> list[str]:
        """The methods' names, the baseline first, without HR."""
        return [str(method["name"]) for method in self.run["methods"]]

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """All pairs of methods, in one order on the whole page: the later before the earlier, but for the primary."""
        primary = self.run["primary"]
        asked = (primary["a"], primary["b"]) if primary else None
        return [pair if pair == asked else (pair[1], pair[0]) for pair in combinations(self.methods, 2)]

    def truths(self, dataset: str) -> list[str]:
        """The methods that are no restorations: on the dataset most of their images are HR or were made from it."""
        return [str(truth["method"]) for truth in self.run["truth"] if truth["dataset"] == dataset]

    @cached_property
    def measures(self) -> dict[str, Mapping[str, Any]]:
        """The definitions of the measures by name."""
        return {str(one["name"]): one for one in self.run["measures"]}

    def measure(self, metric: str) -> Mapping[str, Any]:
        """The definition of the measure of a tidy name, such as "psnr" or "subband_psnr/LL3"."""
        return self.measures[metric.partition("/")[0]]

    def title(self, metric: str) -> str:
        """The title of a tidy name, such as "Subband PSNR LL3"."""
        return f"{self.measure(metric)['title']} {metric.partition('/')[2]}".rstrip()

    def metrics(self, without: Collection[str]) -> list[str]:
        """The tidy names of all measures but some, in the order of METRICS."""
        chosen = [facts for name, facts in self.measures.items() if name not in without]
        return [
            metric for one in chosen for metric in [f"{one['name']}/{part}" for part in one["parts"]] or [one["name"]]
        ]

    def measured(self, dataset: str, names: Sequence[str], part: str = "") -> list[str]:
        """The names that have rows in a dataset's summary, `part` appended to each for the search."""
        return [name for name in names if not self.summary(dataset, name + part).empty]

    def frame(self, name: str, dataset: str) -> pd.DataFrame:
        """The rows of one dataset in a table; no rows where there is no such table."""
        frame = self.frames.get(name, pd.DataFrame({"dataset": []}))
        return frame[frame["dataset"] == dataset]

    def summary(self, dataset: str, metric: str) -> pd.DataFrame:
        """The summary's rows of one metric by method, in the methods' order, HR's last; missing methods left out."""
        found = self._summaries.get((dataset, metric))
        return self.frames["summary"].iloc[:0].set_index("method") if found is None else found

    @cached_property
    def _summaries(self) -> Mapping[tuple[Any, ...], pd.DataFrame]:
        order = {name: place for place, name in enumerate((*self.methods, HR))}
        rows = self.frames["summary"]
        rows = rows[rows["method"].isin(order)].sort_values("method", key=lambda one: one.map(order), kind="stable")
        return dict(iter(rows.set_index("method").groupby(["dataset", "metric"], sort=False)))

    def seed_sd(self, dataset: str, metric: str, method: str) -> float:
        """The sd over the seeds of a method of several, NaN for others."""
        rows = self.frame("seeds", dataset)
        found = rows[(rows["metric"] == metric) & (rows["method"] == method)]["sd"] if len(rows) else rows["dataset"]
        return float(found.iloc[0]) if len(found) else float("nan")

    def compared(self, dataset: str, metric: str, a: str, b: str) -> Row | None:
        """The comparison by patient of method `a` with `b`, in whichever order the table has them, or None."""
        return self._comparisons.get(dataset, {}).get((metric, a, b))

    def comparisons(self, dataset: str, metrics: Iterable[str], pairs: Collection[tuple[str, str]]) -> list[Row]:
        """The comparisons by patient, by metric and then in the order of the pairs, those that were made."""
        found = [self.compared(dataset, metric, *pair) for metric in metrics for pair in pairs]
        return [row for row in found if row is not None]

    @cached_property
    def _comparisons(self) -> dict[str, dict[tuple[str, str, str], Row]]:
        found = {}
        for dataset in self.datasets:
            if len(rows := self.frame("comparisons", dataset)):
                effects = self.frame("effects", dataset)[["metric", "a", "b", "d_z_low", "d_z_high", "h"]]
                found[dataset] = in_both_orders(rows[rows["unit"] == "patient"].merge(effects, on=["metric", "a", "b"]))
        return found

    def equivalence(self, dataset: str) -> list[Row]:
        """The rows of the equivalence table by patient, by metric and then in the order of `pairs`."""
        rows = self.frame("equivalence", dataset)
        if rows.empty:
            return []
        found = in_both_orders(rows[rows["unit"] == "patient"])
        metrics = dict.fromkeys(rows["metric"])
        return [found[metric, *pair] for metric in metrics for pair in self.pairs if (metric, *pair) in found]

    def set_values(self, dataset: str, metric: str) -> dict[str, float]:
        """A measure of the whole set by method, HR's against other patches of HR among them; empty if not measured."""
        rows = self.frame("sets", dataset)
        return {} if rows.empty else rows[rows["metric"] == metric].set_index("method")["value"].to_dict()

    def points(self, dataset: str, figure: str, model: str = "") -> pd.DataFrame:
        """The points of patients that a figure draws, of all methods; no rows where there are none."""
        rows = self.frame("points", dataset)
        return rows if rows.empty else rows[(rows["figure"] == figure) & (rows["model"] == model)]

    def parts(self, dataset: str, measure: str) -> pd.DataFrame:
        """The means of a measure's parts, one row per method (HR last), one column per part, those that have values."""
        if measure not in self.measures:
            return pd.DataFrame()
        rows = self.frame("summary", dataset)
        wide = rows.pivot(index="method", columns="metric", values="mean")
        names = {f"{measure}/{part}": part for part in self.measures[measure]["parts"]}
        order = [name for name in (*self.methods, HR) if name in wide.index]
        chosen = wide.loc[order, [name for name in names if name in wide.columns]].rename(columns=names)
        return chosen.dropna(how="all").dropna(how="all", axis=1)

    def maps(self, dataset: str, method: str) -> NDArray[np.float64] | None:
        """(2, rows, columns): how often each pixel is hallucinated and how often lost, or None."""
        if not (self.folder / MAPS).is_file():
            return None
        with np.load(self.folder / MAPS, allow_pickle=False) as file:
            key = f"{self.datasets.index(dataset)}.{self.methods.index(method)}"
            return np.asarray(file[key], np.float64) if key in file.files and file[key].size else None

    def cases(self, dataset: str) -> list[Row]:
        """The pictured images of a dataset: case, hash, PSNR by method, zoom box."""
        return [one for one in self.run["pictures"]["cases"] if one["dataset"] == dataset]

    def path(self, case: Row, file: str) -> Path:
        """One PNG file of a pictured image."""
        return self.folder / PICTURES / str(case["image"]) / file


def in_both_orders(rows: pd.DataFrame) -> dict[tuple[str, str, str], Row]:
    """The rows of pairs by metric and methods: each as it is, and turned, so that its second method comes first."""
    records = rows.to_dict("records")
    return {(row["metric"], row["a"], row["b"]): row for one in records for row in (turned(one), one)}


def read_evaluation(folder: Path) -> Evaluation:
    """The finished evaluation in `folder`; InputError if there is none."""
    run = read_json(folder / RUN)
    whole = isinstance(run, dict) and {"tables", "truth"} <= run.keys()
    if not whole or ("comparisons" in run["tables"] and "effects" not in run["tables"]):
        raise InputError(
            f"{folder}: no evaluation that a report can be made of; evaluate again, with the option overwrite"
        )
    return Evaluation(folder, run, {name: read_table(folder / f"{name}.parquet") for name in run["tables"]})
