"""`latentsr evaluate`: compares methods with the truth and writes a report."""

from pathlib import Path
from typing import Annotated

import typer

from latentsr import terminal
from latentsr.commands.options import (
    Cluster,
    Datasets,
    Defaults,
    Degradation,
    Device,
    Json,
    Out,
    Overwrite,
    Paper,
    Subset,
)
from latentsr.provenance import RESEARCH_USE

Methods = Annotated[
    list[str],
    typer.Option(
        help="NAME=FOLDER of SR images named by id (of several datasets: FOLDER/DATASET), NAME=MODEL?realism=1, or "
        "bicubic+projection; repeatable. Bicubic is added. NAME@0, NAME@1 ..., or NAME@0..4=MODEL?realism=1, are "
        "seeds of one method NAME."
    ),
]
Masks = Annotated[
    Path | None,
    typer.Option(help="Folder of one mask per image, named by id: regions; default: the dataset's own."),
]
Primary = Annotated[
    str | None, typer.Option(help="METHOD:MEASURE or METHOD,OTHER:MEASURE: the one comparison fixed in advance.")
]
By = Annotated[
    str | None,
    typer.Option(help="Column of the datasets, see prepare: subgroups by its values, exploratory.", metavar="COLUMN"),
]

Protocol = Annotated[
    str,
    typer.Option(
        help="published: also the scores and comparisons of arXiv 2604.12152 as it made them (self-referential, "
        "truncated to 8 bit, unpaired), to set beside its values.",
        metavar="corrected|published",
    ),
]

KeepLatents = Annotated[
    bool,
    typer.Option("--keep-latents", help="Keep the latents that samplers draw, as latents/DATASET/METHOD/ID.npy."),
]


Features = Annotated[
    str | None, typer.Option(help="For FID and KID: inception, or a folder of a vision network as safetensors.")
]
Threads = Annotated[
    int | None,
    typer.Option(help="Threads that measure; default: the cores, up to 4. With --ray processes; default: free CPUs."),
]


def evaluate(
    datasets: Datasets,
    out: Out,
    method: Methods,
    split: Subset = "valid",
    limit: Annotated[int | None, typer.Option(help="Only so many images a dataset, evenly spread.")] = None,
    degradation: Degradation = "bicubic:4",
    metric: Annotated[list[str] | None, typer.Option(help="Only these measures, and LR PSNR; repeatable.")] = None,
    mean: Annotated[str | None, typer.Option(help="Method that is the posterior mean, for null-space parts.")] = None,
    reference_autoencoder: Annotated[
        str | None, typer.Option(help="Name or folder of the lossy autoencoder whose error is hallucination's floor.")
    ] = None,
    latent: Annotated[str | None, typer.Option(help="Autoencoder in whose latents images are compared.")] = None,
    masks: Masks = None,
    features: Features = None,
    margin: Annotated[
        list[str] | None, typer.Option(help="METRIC=0.15: test equivalence within this margin; repeatable.")
    ] = None,
    primary: Primary = None,
    pictured: Annotated[
        str | None, typer.Option(help="Method by whose PSNR pictures are chosen; default: the first given.")
    ] = None,
    by: By = None,
    batch: Annotated[int, typer.Option(min=1, help="Images at a time.")] = 8,
    workers: Threads = None,
    ray: Cluster = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the bootstrap.")] = 0,
    device: Device = "auto",
    show_ids: Annotated[bool, typer.Option("--show-ids", help="Errors name images by id, not by a hash.")] = False,
    protocol: Protocol = "corrected",
    keep_latents: KeepLatents = False,
    paper: Paper = False,
    overwrite: Overwrite = False,
    json: Json = False,
    config: Defaults = None,
) -> None:
    """Compares methods with bicubic and the truth: tables, statistics, pictures and a report; run again to go on."""
    given = {**locals(), "metrics": metric, "margins": margin or ()}
    from latentsr import judging
    from latentsr.bench.evaluation_plan import Comparison
    from latentsr.report.evaluation.tables import HEADLINE
    from latentsr.workers import Workers

    options = {name: value for name, value in given.items() if name in Comparison.model_fields}
    cluster = Workers(workers, ray, terminal.show_warning, terminal.show_stage) if ray else Workers()
    with terminal.progress("evaluate", resumes=True) as report:
        result = judging.evaluate(
            datasets, method, out, paper=paper, overwrite=overwrite, cluster=cluster, progress=report,
            stage=terminal.show_stage, **options,
        )  # fmt: skip
    for warning in result.warnings:
        terminal.show_warning(warning)
    if json:
        terminal.show_json(result.table("summary").to_dict(orient="records"))
        return
    summary = result.table("summary")  # the report holds all measures
    terminal.show_summary(summary[summary["metric"].isin(metric or HEADLINE)].to_dict(orient="records"))
    for sentence in (*result.verdict, *result.details):
        terminal.show(sentence)
    terminal.show(f"report in {result.report}, tables beside it. {RESEARCH_USE}")
