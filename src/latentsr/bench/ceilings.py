"""The images by which autoencoders are ranked: the same for all, whatever one of them gives back exactly."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from latentsr.autoencoders import Autoencoder
from latentsr.bench.contrasts import contrasts, unplaced
from latentsr.bench.prediction import expected_sr, regression
from latentsr.bench.roundtrip import EXACT, constant_ids, psnr_of, reconstructed, rows, timing, total
from latentsr.bench.screening_plan import BANDS, SPECTRUM, ScreeningPlan
from latentsr.bench.verdict import verdict, warnings
from latentsr.config import read_signed_json
from latentsr.data.records import Dataset, Record, loaded
from latentsr.io.raster import write_pixels
from latentsr.job import Parts
from latentsr.metrics import METRICS, Metric
from latentsr.names import DECODED_FILE, ERROR_FILE, HR, HR_FILE, WHITE_ERROR
from latentsr.stats.comparison import compare_methods
from latentsr.stats.paired import wide
from latentsr.stats.summary import column_means
from latentsr.stats.table import short_hash, write_table

Excluded = Mapping[str, frozenset[str]]


@dataclass(frozen=True)
class Judged:
    """A tidy table, and the ids of each dataset's images that rank nobody.

    `table` has NaN at these images, and where a lossy autoencoder has a finite value but another one has not: a mean
    of its finite values is of the same images for all lossy autoencoders.
    """

    table: pd.DataFrame
    excluded: Excluded

    @property
    def kept(self) -> pd.DataFrame:
        """The table's rows without the excluded images."""
        return self.table[~_among(self.table, self.excluded)]


def judged(table: pd.DataFrame, lossy: Collection[str], constant: Excluded) -> Judged:
    """The table as the ceilings need it.

    An image is excluded where HR is constant, or where a lossy autoencoder is above EXACT dB. A black image, say, comes
    back exactly from one autoencoder and at 150 dB from the next: neither says what is lost of an anatomy, and a mean
    without the first alone would rank the second too high.

    Args:
        table: tidy, all datasets and methods.
        lossy: the autoencoders that are ranked; if there are none, nothing is excluded.
        constant: the ids of each dataset's constant images.
    """
    own = table[table["method"].isin(lossy)]
    exact = own[(own["metric"] == "psnr") & ~(own["value"] <= EXACT)]
    excluded = {
        str(name): (constant.get(str(name), frozenset()) if len(own) else frozenset())
        | frozenset(exact.loc[exact["dataset"] == name, "id"])
        for name in table["dataset"].unique()
    }
    # Whether the row is a lossy autoencoder's, of an image and metric without a finite value of all of these.
    finite = own.assign(value=np.isfinite(own["value"]))
    whole = finite.groupby(["dataset", "id", "metric"])["value"].transform("all")
    incomplete = ~whole.reindex(table.index, fill_value=True).astype(bool)
    blank = _among(table, excluded) | incomplete
    return Judged(table.assign(value=table["value"].mask(blank)), excluded)


def _among(table: pd.DataFrame, excluded: Excluded) -> pd.Series:
    pairs = {(dataset, name) for dataset, names in excluded.items() for name in names}
    return pd.Series([pair in pairs for pair in zip(table["dataset"], table["id"], strict=True)], index=table.index)


SHOWN = 2  # images a dataset


def worst(parts: Parts, dataset: Dataset) -> tuple[Record, ...]:
    """The records that the parts' method, the reference, gives back with the lowest PSNR, the worst first.

    By id where it gives them back whole.
    """
    psnr = psnr_of(parts.read())
    records = [record for record in dataset.records if record.id in psnr]
    ordered = sorted(records, key=lambda one: (psnr[one.id] if math.isfinite(psnr[one.id]) else math.inf, one.id))
    return tuple(ordered[:SHOWN])


def draw_pictures(
    autoencoder: Autoencoder, name: str, dataset: Dataset, shown: Sequence[Record], out: Path, *, device: str
) -> None:
    """Writes hr.png, NAME/decoded.png and NAME/error.png into a folder an image, named by its short hash.

    Error maps are grey from black, no error, to white, WHITE_ERROR and more. What is there already stays.
    """
    for record in shown:
        folder = out / short_hash(dataset.name, record.id)
        if (folder / name / ERROR_FILE).is_file():
            continue
        hr = loaded(dataset, [record], device)
        decoded = reconstructed(autoencoder, hr)
        error = (decoded - hr).abs() / WHITE_ERROR
        for path, image in ((HR_FILE, hr), (f"{name}/{DECODED_FILE}", decoded), (f"{name}/{ERROR_FILE}", error)):
            write_pixels(folder / path, np.round(image.clamp(0, 1)[0, 0].float().cpu().numpy() * 255).astype(np.uint8))


COST = "cost.json"
TABLES = (
    "table", "ceilings", "differences", "fingerprint", "latents", "cost", "expected", "baselines", "contrasts",
)  # fmt: skip
MEAN_COLUMNS = (
    "dataset", "method", "metric", "images", "excluded", "patients", "n", "infinite", "missing", "mean", "sd", "low",
    "high", "mean_images",
)  # fmt: skip
Folders = Callable[[int, str], Parts]


def conclude(plan: ScreeningPlan, out: Path, folders: Folders) -> dict[str, Any]:
    """Everything that screening.json says of the results; the tables are written to `out`, earlier ones replaced."""
    # The tidy table of all datasets and methods, sorted; HR's own values under the method `hr`, baselines' PSNR.
    names = [HR, *(one.name for one in plan.baselines), *(one.name for one in plan.candidates)]
    tables = [
        rows(folders(number, name).read(), dataset, name)
        for number, dataset in enumerate(plan.datasets)
        for name in names
    ]
    key = ["dataset", "id", "patient", "method", "metric"]
    table = pd.concat(tables, ignore_index=True).sort_values(key, ignore_index=True)
    lossless = _lossless(table, plan)
    lossy = [one.name for one in plan.identified if not one.spec.lossless]
    ranked = judged(table, lossy, _constant(plan, folders))
    means = mean_values(ranked)
    # Mean of each band and ring, and its paired difference to the reference, with intervals.
    parts = [*METRICS[BANDS].names, *METRICS[SPECTRUM].names]
    own = means[means["metric"].isin(parts)].merge(lossless, how="left")
    compared = _compared(ranked.kept[ranked.kept["metric"].isin(parts)], plan, lossless, plan.reference)
    against = compared.rename(columns={"a": "method", "low": "difference_low", "high": "difference_high"})
    kept = ["dataset", "method", "metric", "difference", "difference_low", "difference_high"]
    fingerprint = own.merge(against[kept], how="left", on=kept[:3])
    frames = {
        "table": table,
        "ceilings": means[means["metric"].isin(plan.ceiling)].reset_index(drop=True).merge(lossless),
        "differences": _differences(ranked.kept, plan, lossless),
        "fingerprint": fingerprint,
        "latents": _latents(plan, folders),
        "cost": _cost(plan, folders),
        "expected": _expected(means, plan, lossless),
        "baselines": _baselines(means, plan),
    }
    frames["contrasts"] = contrasts(plan.identified, frames["differences"])
    for name, frame in frames.items():
        write_table(frame, out, name, overwrite=True)
    told = {name: records(frame) for name, frame in frames.items() if name not in ("table", "fingerprint")}
    dataset_facts = {
        dataset.name: {
            "images": len(chosen),
            "excluded": len(ranked.excluded[dataset.name]),
            "patients": len({record.patient for record in chosen}),
            "sizes": sorted({f"{record.rows}x{record.columns}" for record in chosen}),
        }
        for dataset, chosen in zip(plan.datasets, plan.records, strict=True)
    }
    return {
        "datasets": dataset_facts,
        "measures": {name: _measure_facts(METRICS[name]) for name in plan.ceiling},
        "methods": {one.name: asdict(one.spec) | {"hash": one.hash} for one in plan.identified},
        **told,
        "regression": regression(plan.points, list(frames["expected"]["ceiling"])),
        "published_points": plan.options.studies is None,
        "worst": _worst(plan, folders, table),
        "verdict": verdict(
            frames, plan.points, published=plan.options.studies is None, unplaced=unplaced(plan.identified)
        ),
        "warnings": warnings(frames, _lone(plan)),
    }


def mean_values(ranked: Judged) -> pd.DataFrame:
    """One row a dataset, method and metric: the mean over patients of the finite values, with its interval.

    Columns: dataset, method, metric, images, `excluded` ones of these, patients of the others, `n` finite values of the
    others, `infinite` and `missing` ones (left out), `mean` and `sd` (ddof 1) over patients, `low` and `high` of 95 %,
    NaN where fewer than two patients have values, and `mean_images` over images.
    """
    parts = [
        _means(str(name), part, ranked.excluded.get(str(name), frozenset()))
        for name, part in ranked.table.groupby("dataset")
    ]
    return pd.concat(parts, ignore_index=True)


def _means(dataset: str, table: pd.DataFrame, excluded: Collection[str]) -> pd.DataFrame:
    values = wide(table)
    kept = values.index[~values.index.get_level_values("id").isin(excluded)]
    means = column_means(values).rename(columns={"mean_low": "low", "mean_high": "high"}).reset_index()
    means["missing"] -= len(excluded)  # whose values were made NaN, so that all means are of the same images
    counts = {"images": len(values), "excluded": len(excluded), "patients": kept.get_level_values("patient").nunique()}
    return means.assign(dataset=dataset, **counts)[list(MEAN_COLUMNS)]


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows for JSON: numbers that are not finite are null."""
    return [{key: _plain(value) for key, value in row.items()} for row in frame.to_dict(orient="records")]


def _plain(value: Any) -> Any:
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _lossless(table: pd.DataFrame, plan: ScreeningPlan) -> pd.DataFrame:
    """dataset, method, lossless: whether a lossless autoencoder gave back every image of the dataset."""
    specs = {one.name: one.spec.lossless for one in plan.identified}
    psnr = table[(table["metric"] == "psnr") & table["method"].isin(specs)]
    whole = psnr.assign(lossless=np.isposinf(psnr["value"]) & psnr["method"].map(specs).astype(bool))
    return whole.groupby(["dataset", "method"], as_index=False)["lossless"].all()


def _constant(plan: ScreeningPlan, folders: Folders) -> dict[str, frozenset[str]]:
    """The ids of each dataset's constant images."""
    return {
        dataset.name: frozenset().union(*(constant_ids(part) for part in folders(number, HR).read()))
        for number, dataset in enumerate(plan.datasets)
    }


def _differences(table: pd.DataFrame, plan: ScreeningPlan, lossless: pd.DataFrame) -> pd.DataFrame:
    """Paired differences of the ceilings between all autoencoders that lose something."""
    chosen = table[table["metric"].isin(plan.ceiling)]
    return _compared(chosen, plan, lossless, None)


def _compared(table: pd.DataFrame, plan: ScreeningPlan, lossless: pd.DataFrame, reference: str | None) -> pd.DataFrame:
    """`compare_methods` of a dataset's lossy autoencoders: all pairs, or each against the reference."""
    found = []
    for dataset in plan.datasets:
        here = lossless[lossless["dataset"] == dataset.name].set_index("method")["lossless"]
        names = [candidate.name for candidate in plan.candidates if not here[candidate.name]]
        pairs = [(a, b) for i, b in enumerate(names) for a in names[i + 1 :]]
        if reference is not None:
            pairs = [(name, reference) for name in names if name != reference and reference in names]
        chosen = table[(table["dataset"] == dataset.name) & table["method"].isin(names)]
        if pairs and len(chosen):
            found.append(compare_methods(chosen, pairs=pairs, seed=plan.options.seed))
    empty = pd.DataFrame(columns=["dataset", "metric", "a", "b", "unit", "n", "difference", "low", "high", "p_holm"])
    return pd.concat(found, ignore_index=True) if found else empty


def _latents(plan: ScreeningPlan, folders: Folders) -> pd.DataFrame:
    """One row a dataset, method and latent channel: mean, sd, and correlation with the neighbour on each axis."""
    tables = []
    for number, dataset in enumerate(plan.datasets):
        for candidate in plan.candidates:
            sums = total(folders(number, candidate.name).read())
            frame = pd.DataFrame(
                {
                    "channel": np.arange(len(sums.mean)),
                    "mean": sums.mean,
                    "sd": sums.sd,
                    "correlation_rows": sums.correlation("row"),
                    "correlation_columns": sums.correlation("column"),
                    "images": sums.images,
                }
            )
            tables.append(frame.assign(dataset=dataset.name, method=candidate.name))
    found = pd.concat(tables, ignore_index=True)
    return found[["dataset", "method", *found.columns.drop(["dataset", "method"])]]


def _cost(plan: ScreeningPlan, folders: Folders) -> pd.DataFrame:
    """One row a dataset and method: computed sizes and FLOPs, and seconds an image as measured, and on what."""
    return pd.DataFrame(
        [
            _cost_row(dataset.name, candidate.name, folders(number, candidate.name))
            for number, dataset in enumerate(plan.datasets)
            for candidate in plan.candidates
        ]
    )


def _cost_row(dataset: str, method: str, parts: Parts) -> dict[str, Any]:
    computed = read_signed_json(parts.folder / COST)
    channels, rows_, columns = computed.pop("shape")
    nonfinite = computed.pop("nonfinite")
    timed = timing(parts.read())
    return {
        "dataset": dataset,
        "method": method,
        "latent": f"{channels}x{rows_}x{columns}",
        "numbers": channels * rows_ * columns,
        "share": channels * rows_ * columns / (computed["rows"] * computed["columns"]),
        **computed,
        **{f"nonfinite_{name}": share for name, share in nonfinite.items()},
        **asdict(timed),
    }


def _expected(means: pd.DataFrame, plan: ScreeningPlan, lossless: pd.DataFrame) -> pd.DataFrame:
    """One row a dataset and method: the SR PSNR to expect of its ceiling."""
    found, psnr = [], means[means["metric"] == "psnr"]
    for row in psnr.merge(lossless).to_dict(orient="records"):
        ceiling = math.inf if row["lossless"] else row["mean"]
        names = {name: row[name] for name in ("dataset", "method")}
        found.append(names | asdict(expected_sr(ceiling, plan.points)))
    return pd.DataFrame(found)


def _baselines(means: pd.DataFrame, plan: ScreeningPlan) -> pd.DataFrame:
    """One row a dataset and baseline, these in their order: the mean PSNR of its SR, with its interval."""
    psnr = means[means["metric"] == "psnr"].drop(columns="metric")
    found = [psnr[psnr["method"] == one.name] for one in plan.baselines]
    return pd.concat(found).sort_values("dataset", kind="stable", ignore_index=True)


def _measure_facts(metric: Metric) -> dict[str, str]:
    return {"title": metric.title, "unit": metric.unit, "better": metric.better, "source": metric.source}


def _lone(plan: ScreeningPlan) -> set[str]:
    """The datasets, limit or not, in which each image has a patient of its own."""
    return {
        dataset.name
        for dataset in plan.datasets
        if len({record.patient for record in dataset.records}) == len(dataset.records) > 1
    }


def _worst(plan: ScreeningPlan, folders: Folders, table: pd.DataFrame) -> list[dict[str, Any]]:
    """The pictured images by their short hash, with every autoencoder's PSNR (null: given back whole)."""
    found = []
    psnr = table[(table["metric"] == "psnr") & table["method"].isin([one.name for one in plan.candidates])]
    for number, dataset in enumerate(plan.datasets):
        for record in worst(folders(number, plan.reference), dataset):
            own = psnr[(psnr["dataset"] == dataset.name) & (psnr["id"] == record.id)]
            values = dict(zip(own["method"], map(_plain, own["value"]), strict=True))
            found.append({"dataset": dataset.name, "image": short_hash(dataset.name, record.id), "psnr": values})
    return found
