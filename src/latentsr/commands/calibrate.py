"""`latentsr calibrate`: intervals with a guarantee, from images that a model was not trained on."""

from pathlib import Path
from typing import Annotated

import typer

from latentsr import terminal
from latentsr.commands.options import MODEL, Defaults, Device, Json, Out, Overwrite, Subset
from latentsr.provenance import RESEARCH_USE


def calibrate(
    dataset: Annotated[Path, typer.Argument(metavar="DATASET", help="Folder made by 'prepare'.")],
    out: Out,
    model: Annotated[str, typer.Option(help="Model folder, or name of a shipped model.")] = MODEL,
    alpha: Annotated[float, typer.Option(help="Share of a patient's pixels, in the mean, that may be outside.")] = 0.1,
    delta: Annotated[
        float | None, typer.Option(help="RCPS: how probable a mean above alpha may be. Default: risk control in mean.")
    ] = None,
    split: Subset = "valid",
    limit: Annotated[int | None, typer.Option(help="Only so many images, evenly spread.")] = None,
    degradation: Annotated[
        str | None, typer.Option(help="How LR is made from HR; default: as the model was trained.")
    ] = None,
    samples: Annotated[int, typer.Option(help="Samples whose spread is calibrated.")] = 8,
    steps: Annotated[int | None, typer.Option(help="Network evaluations a sample; default: the model's own.")] = None,
    realism: Annotated[float | None, typer.Option(help="As in 'enhance'; default: the model's own.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the noise.")] = 0,
    batch: Annotated[int, typer.Option(min=1, help="Images at a time.")] = 4,
    device: Device = "auto",
    overwrite: Overwrite = False,
    json: Json = False,
    config: Defaults = None,
) -> None:
    """Writes a copy of a model whose error maps are intervals with a guarantee over patients; run again to go on."""
    given = dict(locals())
    from latentsr.calibrate import Calibrating
    from latentsr.calibrate import calibrate as run
    from latentsr.config import checked

    options = checked(Calibrating, {name: given[name] for name in Calibrating.model_fields}, "calibrate")
    with terminal.progress("calibrate", resumes=True) as report:
        record = run(dataset, model, out, options, device=device, overwrite=overwrite, progress=report)
    if json:
        terminal.show_json(record)
        return
    made, resplits = record["calibration"], record["resplits"]
    rule = "conformal risk control" if delta is None else f"RCPS, delta {delta:g}"
    terminal.show(f"alpha {alpha:g} ({rule}), patients {made['patients']}, images {made['images']}")
    terminal.show(f"interval: image ± {made['scale']:.3g} x width, {made['half_width']:.4f} of the range in the mean")
    terminal.show(f"share of pixels outside, mean over these patients: {made['risk']:.4f}")
    if resplits["mean"] is not None:
        terminal.show(
            f"{resplits['splits']} re-splits by patient: {resplits['mean']:.4f} of the pixels of patients left out, "
            f"above alpha in {100 * resplits['above_alpha']:.0f} % of them"
        )
    terminal.show(f"model in {out}, risks of all images in {out}.run. {RESEARCH_USE}")
