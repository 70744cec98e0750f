"""`latentsr evaluate`: methods are compared with the truth."""

from typing import Annotated

import typer

from latentsr import terminal
from latentsr.commands.options import Datasets, Device, Json, Out, Overwrite
from latentsr.provenance import RESEARCH_USE


def evaluate(
    datasets: Datasets,
    out: Out,
    method: Annotated[
        list[str],
        typer.Option(help="NAME=FOLDER of SR images, or NAME=MODEL?steps=16; repeatable. Bicubic is added."),
    ],
    split: Annotated[str, typer.Option(help="Which images.")] = "valid",
    degradation: Annotated[str, typer.Option(help="How LR is made from HR.")] = "bicubic:4",
    metric: Annotated[list[str] | None, typer.Option(help="Only these measures; repeatable.")] = None,
    batch: Annotated[int, typer.Option(min=1, help="Images at a time.")] = 8,
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap.")] = 0,
    device: Device = "auto",
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Compares methods with bicubic and the truth: a tidy table, and its summary."""
    from latentsr.evaluation.job import Comparison, compare

    comparison = Comparison(tuple(method), split, degradation, tuple(metric) if metric else None, batch, seed, device)
    with terminal.progress("evaluate") as report:
        summary = compare(datasets, out, comparison, overwrite=overwrite, progress=report)
    if json:
        terminal.show_json(summary.to_dict(orient="records"))
        return
    terminal.show_summary(summary.to_dict(orient="records"))
    terminal.show(f"tables in {out}. {RESEARCH_USE}")
