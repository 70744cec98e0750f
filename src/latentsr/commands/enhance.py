"""`latentsr enhance`: files in, the same tree out."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import typer

from latentsr import terminal
from latentsr.commands.options import MODEL, Device, Json, Out, Overwrite
from latentsr.provenance import RESEARCH_USE


def enhance(
    inputs: Annotated[list[Path], typer.Argument(metavar="IN...", help="DICOM, NIfTI, PNG, TIFF files or folders.")],
    out: Out,
    model: Annotated[str, typer.Option(help="Model folder, or name of a shipped model.")] = MODEL,
    scale: Annotated[int | None, typer.Option(help="Refuse a model of another scale.")] = None,
    steps: Annotated[
        int | None, typer.Option(help="Network evaluations. 1 (default): the posterior mean; 16: a sample.")
    ] = None,
    samples: Annotated[
        int, typer.Option(help="Samples to draw: their mean, and the spread of whole samples as a map.")
    ] = 1,
    realism: Annotated[
        float | None,
        typer.Option(help="0: posterior mean, 1: whole sample; between: fine detail first. Default: the model's own."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the noise.")] = 0,
    consistency: Annotated[bool, typer.Option(help="Make the result agree exactly with the input.")] = True,
    tile: Annotated[int, typer.Option(help="Tile side in latent pixels; 0: in one piece.")] = 128,
    solver: Annotated[str | None, typer.Option(help="ddpm, ddim, dpm++, unipc or euler.")] = None,
    device: Device = "auto",
    overwrite: Overwrite = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read and check all, write nothing.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Take images with burned-in annotation.")] = False,
    grey: Annotated[bool, typer.Option("--grey", help="Turn colour PNG and TIFF into grey.")] = False,
    json: Json = False,
) -> None:
    """Enlarges images with a trained model; the output tree mirrors the input."""
    sampling = _sampling(steps, samples, realism, seed, consistency, tile, solver)
    from latentsr.enhancement import Job, check_scale, enhance_files
    from latentsr.superres import SuperResolver

    resolver = SuperResolver.load(model, device=device)
    check_scale(resolver, scale)
    job = Job(resolver, sampling, out, overwrite=overwrite, dry_run=dry_run, force=force, grey=grey)
    with terminal.progress("enhance", resumes=True) as report:
        outcomes = enhance_files(
            inputs, job, progress=report, finished=lambda outcome: _show_outcome(outcome, out, json=json)
        )
    _show_end(outcomes, json=json)


def _sampling(
    steps: int | None, samples: int, realism: float | None, seed: int, consistency: bool, tile: int, solver: str | None
) -> Any:
    from latentsr.config import checked
    from latentsr.restoration import Sampling

    options = {
        "steps": steps if steps is not None else (16 if samples > 1 else 1),
        "samples": samples,
        "realism": realism,
        "seed": seed,
        "consistency": consistency,
        "tile": tile,
        "solver": solver,
    }
    return checked(Sampling, options, "enhance")


def _show_outcome(outcome: Any, out: Path, *, json: bool) -> None:
    """One line an input as soon as it is done, warnings and failures on standard error."""
    for warning in outcome.warnings:
        terminal.show_warning(f"{outcome.input}: {warning}")
    if outcome.status == "failed":
        named = outcome.input in outcome.reason
        terminal.show_error(outcome.reason if named else f"{outcome.input}: {outcome.reason}")
    elif not json:
        terminal.show(f"{outcome.status}  {out / outcome.output}  {outcome.size or outcome.reason}")


def _show_end(outcomes: list[Any], *, json: bool) -> None:
    """The count, or everything as JSON; exit status 1 if any input failed."""
    failed = sum(outcome.status == "failed" for outcome in outcomes)
    if json:
        terminal.show_json([dataclasses.asdict(outcome) for outcome in outcomes])
    else:
        terminal.show(f"{len(outcomes) - failed} of {len(outcomes)} done. {RESEARCH_USE}")
    if failed:
        raise typer.Exit(1)
