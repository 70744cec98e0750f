"""The evaluate job: datasets and methods as texts, in; tidy table and summary, out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from latentsr.baselines import BICUBIC
from latentsr.config import manifest, write_json
from latentsr.data.records import Dataset, check_names, read_dataset
from latentsr.degrade import parse_degradation
from latentsr.device import resolve_device
from latentsr.errors import StaleError
from latentsr.evaluation.measure import evaluate
from latentsr.evaluation.methods import parse_method
from latentsr.metrics import find_metrics
from latentsr.provenance import RESEARCH_USE
from latentsr.stats.summary import summarise
from latentsr.stats.table import write_table

RUN = "run.json"


@dataclass(frozen=True)
class Comparison:
    """What is compared, and how: `methods` as `parse_method` reads them; bicubic is added as the baseline."""

    methods: tuple[str, ...]
    split: str = "valid"
    degradation: str = "bicubic:4"
    metrics: tuple[str, ...] | None = None
    batch: int = 8
    seed: int = 0
    device: str = "auto"


def compare(
    folders: Sequence[Path],
    out: Path,
    comparison: Comparison,
    *,
    overwrite: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> pd.DataFrame:
    """The summary of the tidy table; `out` then holds table and summary (Parquet and CSV) and `run.json`.

    StaleError if there is a table or summary already and not `overwrite`. `progress` counts the images of each dataset
    anew.
    """
    made = [out / f"{name}.parquet" for name in ("table", "summary")]
    if not overwrite and any(path.exists() for path in (out / RUN, *made)):  # before hours of work, not after
        raise StaleError(f"{out}: holds an evaluation already; give another -o, or --overwrite")
    find_metrics(comparison.metrics)
    datasets = [read_dataset(folder) for folder in folders]
    check_names(datasets)
    tables = [_table(dataset, comparison, progress) for dataset in datasets]
    table = pd.concat(tables, ignore_index=True)
    summary = summarise(table, seed=comparison.seed)
    write_table(table, out, "table", overwrite=overwrite)
    write_table(summary, out, "summary", overwrite=overwrite)
    data = {dataset.name: dataset.hash for dataset in datasets}
    write_json(out / RUN, manifest(note=RESEARCH_USE, comparison=comparison, data=data))
    return summary


def _table(dataset: Dataset, comparison: Comparison, progress: Callable[[int, int], None]) -> pd.DataFrame:
    degradation = parse_degradation(comparison.degradation)
    device = resolve_device(comparison.device)
    texts = dict.fromkeys((BICUBIC, *comparison.methods))  # the baseline once, also where it is asked for
    records = dataset.select(comparison.split)
    methods = [parse_method(text, records=records, degradation=degradation, device=device) for text in texts]
    return evaluate(
        dataset,
        methods,
        degradation,
        metrics=comparison.metrics,
        split=comparison.split,
        batch=comparison.batch,
        device=device,
        progress=progress,
    )
