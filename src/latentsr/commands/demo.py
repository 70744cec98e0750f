"""`latentsr demo`: super-resolution of images that come with the dependencies."""

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from latentsr import terminal
from latentsr.commands.options import MODEL, Defaults, Device, Json, Model, Out, Overwrite
from latentsr.provenance import RESEARCH_USE


def demo(
    out: Out = Path("demo"),
    model: Model = MODEL,
    steps: Annotated[
        int | None, typer.Option(min=2, help="Network evaluations of a sample. Default: the model's own.")
    ] = None,
    samples: Annotated[int, typer.Option(min=2, help="Samples for the spread.")] = 4,
    device: Device = "auto",
    overwrite: Overwrite = False,
    json: Json = False,
    config: Defaults = None,
) -> None:
    """The main job on real MR images that come with pydicom, on the model that comes with the package."""
    from latentsr.demo import run_demo
    from latentsr.upscalers.model import SuperResolver

    resolver = SuperResolver.load(model, device=device)
    with terminal.progress("demo") as report:
        result = run_demo(out, resolver, steps=steps, samples=samples, overwrite=overwrite, progress=report)
    if json:
        terminal.show_json(dataclasses.asdict(result) | {"files": [str(path) for path in result.files]})
        return
    terminal.show(f"{result.enhanced.output}: {result.enhanced.size}")
    terminal.show_records("a window of an abdominal MR, degraded by four and restored", result.table)
    terminal.show(f"see {result.panel}; all in {out}. {RESEARCH_USE}")
