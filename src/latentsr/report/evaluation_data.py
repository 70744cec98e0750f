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
from latentsr.stats.table import read_table

RUN, MAPS, PICTURES = "run.json", "maps.npz", "pictures"
HR, BASELINE = "hr", "bicubic"
SHARPNESS, LR_PSNR = "laplacian_variance", "lr_psnr"  # which the report treats unlike other measures


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
        """The methods whose images on a dataset are all HR itself, or HR but for rounding: no restorations."""
        return [str(truth["method"]) for truth in self.run["truth"] if truth["dataset"] == dataset]

    @property
    def measures(self) -> dict[str, Mapping[str, Any]]:
        """The definitions of the measures by name."""
        return {str(one["name"]): one for one in self.run["measures"]}

    def frame(self, name: str, dataset: str) -> pd.DataFrame:
        """The rows of one dataset in a table; no rows where there is no such table."""
        if name not in self.frames:
            return pd.DataFrame({"dataset": []})
        return self._by_dataset[name].get(dataset, self.frames[name].iloc[:0])

    @cached_property
    def _by_dataset(self) -> dict[str, dict[str, pd.DataFrame]]:
        return {
            name: {str(dataset): rows for dataset, rows in table.groupby("dataset", sort=False)}
            for name, table in self.frames.items()
        }

    def summary(self, dataset: str, metric: str) -> pd.DataFrame:
        """The summary's rows of one metric by method, in the methods' order, HR's last; missing methods left out."""
        found = self._summaries.get((dataset, metric), self.frame("summary", dataset).iloc[:0].set_index("method"))
        return found.loc[[name for name in (*self.methods, HR) if name in found.index]]

    @cached_property
    def _summaries(self) -> dict[tuple[str, str], pd.DataFrame]:
        grouped = self.frames["summary"].groupby(["dataset", "metric"], sort=False)
        return {(str(dataset), str(metric)): rows.set_index("method") for (dataset, metric), rows in grouped}

    def seed_sd(self, dataset: str, metric: str, method: str) -> float:
        """The sd over the seeds of a method of several, NaN for others."""
        rows = self.frame("seeds", dataset)
        found = rows[(rows["metric"] == metric) & (rows["method"] == method)]["sd"] if len(rows) else rows["dataset"]
        return float(found.iloc[0]) if len(found) else float("nan")

    def compared(self, dataset: str, metric: str, a: str, b: str, unit: str = "patient") -> Mapping[str, Any] | None:
        """The row that compares method `a` with `b`, or None."""
        return self._comparisons.get((dataset, metric, a, b, unit))

    @cached_property
    def _comparisons(self) -> dict[tuple[str, ...], Mapping[str, Any]]:
        rows = self.frames["comparisons"].to_dict(orient="records") if "comparisons" in self.frames else []
        return {tuple(row[key] for key in ("dataset", "metric", "a", "b", "unit")): row for row in rows}

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
