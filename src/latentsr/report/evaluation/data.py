"""What an evaluation wrote, read back for its report: tables, run.json and pictures. Nothing is measured again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from latentsr.config import read_json
from latentsr.errors import InputError
from latentsr.names import HR, MAPS, PICTURES, RUN
from latentsr.stats.table import read_table


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

    def truths(self, dataset: str) -> list[str]:
        """The methods most of whose images on a dataset are HR itself or were made from it: no restorations."""
        return [str(truth["method"]) for truth in self.run["truth"] if truth["dataset"] == dataset]

    @property
    def measures(self) -> dict[str, Mapping[str, Any]]:
        """The definitions of the measures by name."""
        return {str(one["name"]): one for one in self.run["measures"]}

    def frame(self, name: str, dataset: str) -> pd.DataFrame:
        """The rows of one dataset in a table; no rows where there is no such table."""
        return self._parts.get((name, dataset), pd.DataFrame({"dataset": []}))

    @cached_property
    def _parts(self) -> Mapping[tuple[str, str], pd.DataFrame]:
        """The tables by name and dataset."""
        return {
            (name, str(dataset)): rows
            for name, frame in self.frames.items()
            for dataset, rows in frame.groupby("dataset", sort=False)
        }

    def summary(self, dataset: str, metric: str) -> pd.DataFrame:
        """The summary's rows of one metric by method, in the methods' order, HR's last; missing methods left out."""
        found = self._summaries.get((dataset, metric))
        return self.frames["summary"].iloc[:0].set_index("method") if found is None else found

    @cached_property
    def _summaries(self) -> Mapping[tuple[Any, ...], pd.DataFrame]:
        """The summary's rows by dataset and metric, indexed by method in the order of `summary`."""
        order = {name: place for place, name in enumerate((*self.methods, HR))}
        rows = self.frames["summary"]
        rows = rows[rows["method"].isin(order)].sort_values("method", key=lambda one: one.map(order), kind="stable")
        return dict(iter(rows.set_index("method").groupby(["dataset", "metric"], sort=False)))

    def seed_sd(self, dataset: str, metric: str, method: str) -> float:
        """The sd over the seeds of a method of several, NaN for others."""
        rows = self.frame("seeds", dataset)
        found = rows[(rows["metric"] == metric) & (rows["method"] == method)]["sd"] if len(rows) else rows["dataset"]
        return float(found.iloc[0]) if len(found) else float("nan")

    def compared(self, dataset: str, metric: str, a: str, b: str) -> Mapping[str, Any] | None:
        """The row by patient that compares method `a` with `b`, or None."""
        return self._comparisons.get((dataset, metric, a, b))

    @cached_property
    def _comparisons(self) -> Mapping[tuple[str, ...], Mapping[str, Any]]:
        if "comparisons" not in self.frames:
            return {}
        rows = self.frames["comparisons"]
        told = rows[rows["unit"] == "patient"].to_dict(orient="records")
        return {(row["dataset"], row["metric"], row["a"], row["b"]): row for row in told}

    def parts(self, dataset: str, measure: str, parts: Sequence[str]) -> pd.DataFrame:
        """The means of a measure's parts: a row a method (HR last), a column a part; parts without values left out."""
        rows = self.frame("summary", dataset)
        wide = rows.pivot(index="method", columns="metric", values="mean")
        there = [part for part in parts if f"{measure}/{part}" in wide.columns]
        order = [name for name in (*self.methods, HR) if name in wide.index]
        chosen = wide.loc[order, [f"{measure}/{part}" for part in there]].set_axis(there, axis=1)
        return chosen.dropna(how="all").dropna(how="all", axis=1)

    def maps(self, dataset: str, method: str) -> NDArray[np.float64] | None:
        """(2, rows, columns): how often each pixel is hallucinated and how often lost, or None."""
        if not (self.folder / MAPS).is_file():
            return None
        with np.load(self.folder / MAPS, allow_pickle=False) as file:
            key = f"{self.datasets.index(dataset)}.{self.methods.index(method)}"
            return np.asarray(file[key], np.float64) if key in file.files and file[key].size else None

    def cases(self, dataset: str) -> list[Mapping[str, Any]]:
        """The pictured images of a dataset: case, hash, PSNR by method, zoom box."""
        return [one for one in self.run["pictures"]["cases"] if one["dataset"] == dataset]

    def path(self, case: Mapping[str, Any], file: str) -> Path:
        """One PNG file of a pictured image."""
        return self.folder / PICTURES / str(case["image"]) / file


def read_evaluation(folder: Path) -> Evaluation:
    """The finished evaluation in `folder`; InputError if there is none."""
    run = read_json(folder / RUN)
    if not isinstance(run, dict) or not {"tables", "truth"} <= run.keys():
        raise InputError(f"{folder}: holds no evaluation that a report can be made of; run 'latentsr evaluate' again")
    return Evaluation(folder, run, {name: read_table(folder / f"{name}.parquet") for name in run["tables"]})
