"""`latentsr screen`: compares autoencoders before any diffusion model is trained."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from latentsr import terminal
from latentsr.commands.options import (
    Cluster,
    Datasets,
    Defaults,
    Device,
    Json,
    Out,
    Overwrite,
    Paper,
    Processes,
    Subset,
)
from latentsr.provenance import RESEARCH_USE

COLUMNS = ("autoencoder", "latent", "AE ceiling, dB", "95 % interval", "MS-SSIM", "HaarPSI", "expected SR, dB")


def screen(
    datasets: Datasets,
    out: Out,
    vae: Annotated[
        list[str], typer.Option(help="Autoencoder: NAME (see 'models list'), FOLDER or LABEL=FOLDER; repeatable.")
    ],
    weights: Annotated[
        list[str] | None, typer.Option(help="LABEL=FILE_OR_FOLDER: published weights of one of them; repeatable.")
    ] = None,
    weights_config: Annotated[
        list[str] | None, typer.Option(help="LABEL=FILE: the config of these weights; repeatable.")
    ] = None,
    split: Subset = "valid",
    reference: Annotated[
        str | None, typer.Option(help="Compare with this one; default: the first that is not lossless.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(help="So many images of a dataset, spread over its patients; default: all.")
    ] = None,
    metric: Annotated[
        list[str] | None, typer.Option(help="Measures of the ceiling beside PSNR; default: ms_ssim, haarpsi, lpips.")
    ] = None,
    studies: Annotated[
        Path | None, typer.Option(help="CSV of your finished studies, columns ceiling and sr in dB.")
    ] = None,
    degradation: Annotated[
        str, typer.Option(help="How LR is made from HR, for the PSNR to expect of SR.")
    ] = "bicubic:4",
    batch: Annotated[int, typer.Option(min=1, help="Images at a time.")] = 8,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the bootstrap.")] = 0,
    device: Device = "auto",
    workers: Processes = None,
    ray: Cluster = None,
    paper: Paper = False,
    overwrite: Overwrite = False,
    json: Json = False,
    config: Defaults = None,
) -> None:
    """Measures what autoencoders keep of your images; run the same command again to resume."""
    given = {**locals(), "metrics": metric}
    from latentsr import judging
    from latentsr.bench import Screening
    from latentsr.workers import Workers

    crew = Workers(workers, ray, terminal.show_warning, terminal.show_stage)
    options = {name: value for name, value in given.items() if name in Screening.model_fields}
    with terminal.progress("screen", resumes=True) as report:
        result = judging.screen(
            datasets, vae, out, weights=weights or (), configs=weights_config or (), batch=batch, device=device,
            paper=paper, overwrite=overwrite, workers=crew, progress=report, **options,
        )  # fmt: skip
    if json:
        terminal.show_json({**result.record, "page": str(result.report)})
        return
    _show(result.record)
    terminal.show(f"see {result.report}; tables in {out}, figures in {out / 'report'}. {RESEARCH_USE}")


def _show(record: Mapping[str, Any]) -> None:
    """One table per dataset, then the verdict and the warnings."""
    for name, facts in record["datasets"].items():
        title = f"dataset {name}: images {facts['images']}, patients {facts['patients']}"
        rows = []
        for method in record["methods"]:
            own = {row["metric"]: row for row in _of(record["ceilings"], name, method)}
            (cost,), (expected,) = (_of(record[table], name, method) for table in ("cost", "expected"))
            psnr = own["psnr"]
            ceiling = "lossless" if psnr["lossless"] else _number(psnr["mean"], 2)
            interval = f"{psnr['low']:.2f} to {psnr['high']:.2f}" if psnr["low"] is not None else ""
            similar = [_number(own[metric]["mean"], 4) if metric in own else "" for metric in ("ms_ssim", "haarpsi")]
            sr = ""
            if expected["expected"] is not None:
                sr = f"{expected['expected']:.1f} ({expected['low']:.1f} to {expected['high']:.1f})"
                sr += " *" if expected["note"] else ""
            rows.append([method, cost["latent"], ceiling, interval, *similar, sr])
        terminal.show_table(title, COLUMNS, rows)
    for text in record["verdict"]:
        terminal.show(text)
    for text in record["warnings"]:
        terminal.show_warning(text)


def _of(rows: list[dict[str, Any]], dataset: str, method: str) -> list[dict[str, Any]]:
    return [row for row in rows if row["dataset"] == dataset and row["method"] == method]


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"
