"""The screening job: a plan in; tables, pictures and screening.json out. It goes on where it ended."""

import gc
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from latentsr.bench.pictures import draw_roundtrips, worst
from latentsr.bench.prediction import expected_sr, measured_baseline, regression
from latentsr.bench.roundtrip import (
    EXACT,
    Arrays,
    cost_of,
    measured,
    measured_hr,
    median_seconds,
    parameters_of,
    rows,
    setup_of,
    total,
)
from latentsr.bench.screening_plan import BANDS, SPECTRUM, ScreeningPlan
from latentsr.bench.verdict import contrasts, unplaced, verdict, warnings
from latentsr.config import manifest, read_signed_json, signed, write_json
from latentsr.data.records import Dataset, Record, batches, commonest, loaded, sizes
from latentsr.errors import OptionError
from latentsr.job import JobFolder, Parts, Progress, silent
from latentsr.metrics import METRICS
from latentsr.names import HR, PICTURES, SCREENING, SCREENING_PAGE, SUPPLEMENT
from latentsr.provenance import RESEARCH_USE
from latentsr.stats.comparison import column_means, compare_methods
from latentsr.stats.paired import wide
from latentsr.stats.table import short_hash, sorted_table, write_table
from latentsr.workers import Pool, Workers

LARGE = 10_000_000  # parameters, whose memory is worth the second in which Python looks for reference cycles
PROBED, PROBED_CPU = 4, 1  # images on which half precision is tried: a CPU takes seconds for one

Work = Callable[[Tensor, list[str]], Arrays]  # of HR images and their ids


def screen(
    plan: ScreeningPlan,
    out: Path,
    *,
    batch: int = 8,
    device: str = "cpu",
    overwrite: bool = False,
    workers: Workers = Workers(),
    progress: Progress = silent,
) -> Mapping[str, Any]:
    """The content of `out`/screening.json, beside which lie the tables and the pictures.

    An interrupted screening goes on, a finished one is returned; `batch`, `device` and `workers` may be others then.
    One autoencoder and one batch of images lie in memory at a time, of each worker.

    Raises:
        StaleError: `out` holds a screening of other data, autoencoders or options, and not `overwrite`; or anything
            else.
        OptionError: a batch below 1.
        InputError: an image that cannot be read, or does not fit an autoencoder.
        ModelError: an autoencoder that gives values which are not finite.
    """
    if batch < 1:
        raise OptionError(f"the option batch is {batch}: expected 1 image or more")
    # The folder of a screening; page and supplement are written by the report.
    tables = (f"{name}.{end}" for name in TABLES for end in ("parquet", "csv"))
    results = frozenset((PICTURES, SCREENING_PAGE, SUPPLEMENT, *tables))
    folder = JobFolder(out, "screening", SCREENING, results, decided_by="data, autoencoders or options")
    folder.check()
    with workers.pool(device) as pool:
        if overwrite or not folder.whole:
            pool.connect()  # before anything is removed or written
        folder.claim(plan.key, overwrite=overwrite)
        if not folder.whole:
            folder.begin(plan.key)
            _run(plan, folder, batch, device, pool, progress)
    record: Mapping[str, Any]
    if folder.whole:
        record = folder.finished()
    else:
        record = folder.finish(manifest(note=RESEARCH_USE, key=plan.key, **plan.facts, **conclude(plan, folder)))
    folder.drop_parts()
    return record


def _run(plan: ScreeningPlan, folder: JobFolder, batch: int, device: str, pool: Pool, progress: Progress) -> None:
    """All parts and pictures: HR, the baselines, then one autoencoder after the other, the reference first."""
    done = 0

    def count(images: int) -> None:
        nonlocal done
        done += images
        progress(done, plan.images)

    def stream(number: int, name: str, work: Work, counted: bool = True) -> Parts:
        parts, told = parts_of(plan, folder, number, name), count if counted else None
        measure_images(plan, number, parts, work, batch=batch, device=device, pool=pool, progress=told)
        return parts

    numbers = range(len(plan.datasets))
    for number in numbers:
        stream(number, HR, partial(_of_hr, partial(measured_hr, metrics=plan.metrics)), counted=False)
    for baseline in plan.baselines:
        work = partial(measured_baseline, method=baseline.method, degradation=plan.degradation)
        for number in numbers:
            stream(number, baseline.name, work)
    for candidate in sorted(plan.candidates, key=lambda one: one.name != plan.reference):
        autoencoder = candidate.load(device)
        for number in numbers:
            work = partial(_of_hr, partial(measured, autoencoder, metrics=plan.metrics))
            parts = stream(number, candidate.name, work)
            if not (parts.folder / COST).is_file():
                probed = commonest(plan.records[number])[: PROBED_CPU if device == "cpu" else PROBED]
                cost = cost_of(autoencoder, loaded(plan.datasets[number], probed, device))
                write_json(parts.folder / COST, signed(asdict(cost)))
            shown = worst(parts_of(plan, folder, number, plan.reference), plan.datasets[number])
            pictures = folder.root / PICTURES
            draw_roundtrips(autoencoder, candidate.name, plan.datasets[number], shown, pictures, device=device)
        large = parameters_of(autoencoder) > LARGE
        del autoencoder
        if large:  # it may lie in reference cycles, and the next one is as large
            gc.collect()


def _of_hr(measure: Callable[[Tensor], Arrays], hr: Tensor, _ids: list[str]) -> Arrays:
    """What the measure makes of the images, whose ids change nothing."""
    return measure(hr)


def measure_images(
    plan: ScreeningPlan,
    number: int,
    parts: Parts,
    work: Work,
    *,
    batch: int,
    device: str,
    pool: Pool = Pool(Workers()),
    progress: Callable[[int], None] | None = None,
) -> None:
    """Keeps the arrays that `work` makes of HR images and their ids, of those of dataset `number` not in `parts` yet.

    One batch lies in memory at a time. `progress` is called with the number of images that were done since.
    """
    progress, done = progress or (lambda images: None), parts.done()
    progress(len(done))
    dataset = plan.datasets[number]
    make, waiting = partial(_arrays, dataset, work, batch, device), batches(plan.records[number], batch, done)
    for alike, made in pool.map(
        make, waiting, name=lambda alike: f"images from {short_hash(dataset.name, alike[0].id)}"
    ):
        parts.write([record.id for record in alike], made())
        progress(len(alike))


def _arrays(dataset: Dataset, work: Work, batch: int, device: str, alike: Sequence[Record]) -> Arrays:
    """What the work makes of images of one size, and what its seconds were measured on."""
    images = loaded(dataset, alike, device)
    return work(images, [record.id for record in alike]) | setup_of(device, batch)


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


COST = "cost.json"
TABLES = (
    "table", "ceilings", "differences", "fingerprint", "latents", "cost", "expected", "baselines", "contrasts",
)  # fmt: skip
MEAN_COLUMNS = (
    "dataset", "method", "metric", "images", "excluded", "patients", "n", "infinite", "missing", "mean", "sd", "low",
    "high", "mean_images",
)  # fmt: skip


def parts_of(plan: ScreeningPlan, folder: JobFolder, number: int, method: str) -> Parts:
    """Those of a method on the plan's dataset `number`: by its name, as the key does not tell A B from B A."""
    return Parts(folder.parts / plan.datasets[number].folder_name / method)


def conclude(plan: ScreeningPlan, folder: JobFolder) -> dict[str, Any]:
    """The results as screening.json holds them; writes the tables, replacing earlier ones."""
    names = [HR, *(one.name for one in plan.baselines), *(one.name for one in plan.candidates)]
    parts = {
        (dataset.name, name): parts_of(plan, folder, number, name)
        for number, dataset in enumerate(plan.datasets)
        for name in names
    }
    frames, excluded = _frames(plan, parts)
    for name, frame in frames.items():
        write_table(frame, folder.root, name, overwrite=True)
    published, table = plan.options.studies is None, frames["table"]
    # By image every autoencoder's PSNR, None where it gave it back whole.
    own = table[table["metric"].eq("psnr") & table["method"].isin([one.name for one in plan.candidates])]
    psnr = {
        image: dict(zip(rows["method"], map(_plain, rows["value"]), strict=True))
        for image, rows in own.groupby(["dataset", "id"])
    }
    pictured = [
        (dataset.name, record.id)
        for dataset in plan.datasets
        for record in worst(parts[dataset.name, plan.reference], dataset)
    ]
    lone = {one.name for one in plan.datasets if len({r.patient for r in one.records}) == len(one.records) > 1}
    return {
        "datasets": {
            dataset.name: {
                "images": len(chosen),
                "excluded": len(excluded[dataset.name]),
                "patients": len({record.patient for record in chosen}),
                "sizes": sizes(chosen),
            }
            for dataset, chosen in zip(plan.datasets, plan.records, strict=True)
        },
        "measures": {
            name: {key: getattr(METRICS[name], key) for key in ("title", "unit", "better", "source")}
            for name in plan.ceiling
        },
        "methods": {one.name: asdict(one.spec) | {"hash": one.hash} for one in plan.identified},
        **{name: records(frame) for name, frame in frames.items() if name not in ("table", "fingerprint")},
        "regression": regression(plan.points, list(frames["expected"]["ceiling"])),
        "published_points": published,
        "worst": [{"dataset": name, "image": short_hash(name, id), "psnr": psnr[name, id]} for name, id in pictured],
        "verdict": verdict(frames, plan.points, published=published, unplaced=unplaced(plan.identified)),
        "warnings": warnings(frames, lone),
    }


def _frames(
    plan: ScreeningPlan, parts: Mapping[tuple[str, str], Parts]
) -> tuple[dict[str, pd.DataFrame], Mapping[str, Collection[str]]]:
    """The tables by name, and the ids of the excluded images by dataset."""
    datasets = {dataset.name: dataset for dataset in plan.datasets}
    tables = [rows(found.read(), datasets[dataset], method) for (dataset, method), found in parts.items()]
    table = sorted_table(tables)
    specs = {one.name: one.spec.lossless for one in plan.identified}
    # Whether a lossless autoencoder gave back every image of the dataset.
    psnr = table[(table["metric"] == "psnr") & table["method"].isin(specs)]
    whole = psnr.assign(lossless=np.isposinf(psnr["value"]) & psnr["method"].map(specs).astype(bool))
    lossless = whole.groupby(["dataset", "method"], as_index=False)["lossless"].all()

    constant = {
        dataset: frozenset(id for part in parts[dataset, HR].read() for id in np.array(part.ids)[part["constant"]])
        for dataset in datasets
    }
    ranked = judged(table, [name for name, one in specs.items() if not one], constant)
    means = mean_values(ranked)

    # Mean of each band and ring, and its paired difference to the reference, with intervals.
    bands = [*METRICS[BANDS].names, *METRICS[SPECTRUM].names]
    compared = _compared(ranked.kept[ranked.kept["metric"].isin(bands)], plan, lossless, plan.reference)
    against = compared.rename(columns={"a": "method", "low": "difference_low", "high": "difference_high"})
    key = ["dataset", "method", "metric"]
    own = means[means["metric"].isin(bands)].merge(lossless, how="left")
    ceilings = means[means["metric"].isin(plan.ceiling)].reset_index(drop=True).merge(lossless)
    differences = _compared(ranked.kept[ranked.kept["metric"].isin(plan.ceiling)], plan, lossless, None)

    psnr = means[means["metric"] == "psnr"]
    expected = [
        {"dataset": row["dataset"], "method": row["method"]}
        | asdict(expected_sr(math.inf if row["lossless"] else row["mean"], plan.points))
        for row in psnr.merge(lossless).to_dict(orient="records")
    ]
    baselines = pd.concat([psnr[psnr["method"] == one.name] for one in plan.baselines]).drop(columns="metric")
    own_parts = {(dataset, method): found for (dataset, method), found in parts.items() if method in specs}
    latents = pd.concat([_latents(*name, found) for name, found in own_parts.items()], ignore_index=True)
    # Of neighbouring latent values: the median over channels and both axes.
    axes = latents.melt(["dataset", "method"], ["correlation_rows", "correlation_columns"], value_name="correlation")
    typical = axes.groupby(["dataset", "method"], as_index=False).agg(latent_correlation=("correlation", "median"))
    cost = pd.DataFrame([_cost(*name, found) for name, found in own_parts.items()])
    frames = {
        "table": table,
        "ceilings": ceilings,
        "differences": differences,
        "fingerprint": own.merge(
            against[[*key, "difference", "difference_low", "difference_high"]], how="left", on=key
        ),
        "latents": latents,
        "cost": cost.merge(typical, how="left", on=["dataset", "method"]),
        "expected": pd.DataFrame(expected),
        "baselines": baselines.sort_values("dataset", kind="stable", ignore_index=True),
        "contrasts": contrasts(plan.identified, differences),
    }
    return frames, ranked.excluded


def mean_values(ranked: Judged) -> pd.DataFrame:
    """One row a dataset, method and metric: the mean over patients of the finite values, with its interval.

    Columns: dataset, method, metric, images, `excluded` ones of these, patients of the others, `n` finite values of the
    others, `infinite` and `missing` ones (left out), `mean` and `sd` (ddof 1) over patients, `low` and `high` of 95 %,
    NaN where fewer than two patients have values, and `mean_images` over images.
    """
    found = []
    for dataset, table in ranked.table.groupby("dataset"):
        values, excluded = wide(table), ranked.excluded.get(str(dataset), frozenset())
        kept = values.index[~values.index.get_level_values("id").isin(excluded)]
        means = column_means(values).rename(columns={"mean_low": "low", "mean_high": "high"}).reset_index()
        means["missing"] -= len(excluded)  # whose values were made NaN, so that all means are of the same images
        patients = kept.get_level_values("patient").nunique()
        found.append(means.assign(dataset=dataset, images=len(values), excluded=len(excluded), patients=patients))
    return pd.concat(found, ignore_index=True)[list(MEAN_COLUMNS)]


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows for JSON: numbers that are not finite are null."""
    return [{key: _plain(value) for key, value in row.items()} for row in frame.to_dict(orient="records")]


def _plain(value: Any) -> Any:
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and not math.isfinite(value) else value


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


def _latents(dataset: str, method: str, parts: Parts) -> pd.DataFrame:
    """One row per latent channel: mean, sd, and correlation with the neighbour on each axis."""
    sums = total(parts.read())
    return pd.DataFrame(
        {
            "dataset": dataset,
            "method": method,
            "channel": np.arange(len(sums.mean)),
            "mean": sums.mean,
            "sd": sums.sd,
            "correlation_rows": sums.correlation("row"),
            "correlation_columns": sums.correlation("column"),
            "images": sums.images,
        }
    )


def _cost(dataset: str, method: str, parts: Parts) -> dict[str, Any]:
    """Computed sizes and FLOPs, and seconds an image as measured, and on what."""
    computed = read_signed_json(parts.folder / COST)
    channels, rows_, columns = computed.pop("shape")
    nonfinite = computed.pop("nonfinite")
    (encoding, decoding), setup = median_seconds(parts.read(), lambda part: part["seconds"])
    return {
        "dataset": dataset,
        "method": method,
        "latent": f"{channels}x{rows_}x{columns}",
        "numbers": channels * rows_ * columns,
        "share": channels * rows_ * columns / (computed["rows"] * computed["columns"]),
        **computed,
        **{f"nonfinite_{name}": share for name, share in nonfinite.items()},
        "encode_seconds": encoding,
        "decode_seconds": decoding,
        **setup,
    }
