"""`latentsr enhance`: files in, the same tree out."""

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from latentsr import terminal
from latentsr.commands.options import MODEL, Axis, Cluster, Defaults, Device, Json, MaxPixels, Out, Overwrite, Processes
from latentsr.errors import OptionError
from latentsr.names import first_few
from latentsr.provenance import RESEARCH_USE
from latentsr.terminal import show_stage as stage

Scale = Annotated[
    int | None, typer.Option(min=2, help="Refuse a model of another scale; of bicubic the scale, default 4.")
]
MadeBy = Annotated[
    str | None,
    typer.Option(
        help="What made the input of the image sought, such as kspace:4 or blur:1,bicubic:4,noise:0.02. "
        "Default: what the model was trained on."
    ),
]
Steps = Annotated[
    int | None,
    typer.Option(help="Network evaluations. 1: the posterior mean. Default: 1, or the model's own for a sample."),
]
Samples = Annotated[
    int, typer.Option(help="Samples to draw: their mean, and a map of their spread, or of calibrated intervals.")
]
Realism = Annotated[
    float | None,
    typer.Option(
        help="The dial. 0: posterior mean, 1: whole sample; between: fine detail first. Default: 0, or the model's own "
        "where --steps or --samples ask for a sample."
    ),
]
Plan = Annotated[
    bool, typer.Option("--dry-run", help="Read and check all, estimate time, memory and disk, write nothing.")
]
View = Annotated[
    bool | None,
    typer.Option(
        "--view/--no-view", show_default=False,
        help="Write an HTML page beside each output that shows it beside its input. Default: of a single image, "
        "where standard output is a terminal.",
    ),
]  # fmt: skip

Backend = Annotated[
    str, typer.Option(help="torch; or onnx, which starts sooner and gives the posterior mean alone, on the CPU.")
]
Precision = Annotated[
    str, typer.Option(help="Of a model's networks: float32; or bfloat16, which GPUs are fast in, to 50 dB the same.")
]
Compiled = Annotated[
    bool, typer.Option("--compile", help="Compile the denoiser first: minutes, which pay for many images of one size.")
]
Batch = Annotated[
    int | None,
    typer.Option(
        min=1, show_default=False,
        help="Images of one size that the network is given at a time: slices, and files, others of which are read and "
        "written meanwhile. Default: on a GPU 32; on a CPU 4 slices, and one file after the other.",
    ),
]  # fmt: skip
AsMap = Annotated[bool, typer.Option("--parametric-map", help="Write the spread of DICOM as a Parametric Map too.")]
Legacy = Annotated[bool, typer.Option("--legacy", help="Write frames of enhanced MR and CT as files of their own.")]
Coherent = Annotated[bool, typer.Option(help="Let near slices of a volume share a sample's noise.")]
Closer = Annotated[bool, typer.Option("--through-plane", help="Bring slices closer instead: to the pixels' spacing.")]
Distance = Annotated[float | None, typer.Option(min=0.001, help="Slice distance in mm that --through-plane makes.")]


def known_profile(text: str | None) -> str | None:
    """The text of a slice profile, if any; OptionError for one of another form, before a model is loaded."""
    if text is not None:
        from latentsr.degrade import parse_profile

        parse_profile(text)
    return text


Profile = Annotated[
    str | None,
    typer.Option(
        callback=known_profile,
        help="What --through-plane takes a slice for the mean over: box or gaussian, or with a thickness in mm as in "
        "gaussian:5. Default: box of the header's thickness, or of the slice distance.",
    ),
]


def enhance(
    inputs: Annotated[list[Path], typer.Argument(metavar="IN", help="Folder, DICOM, NIfTI, MGH, NRRD, MHA, PNG, TIFF")],
    out: Out,
    model: Annotated[str, typer.Option(help="Model folder, name of a shipped model, or bicubic.")] = MODEL,
    scale: Scale = None,
    degradation: MadeBy = None,
    steps: Steps = None,
    samples: Samples = 1,
    realism: Realism = None,
    seed: Annotated[int, typer.Option(help="Seed of the noise.")] = 0,
    consistency: Annotated[bool, typer.Option(help="Make the result agree exactly with the input.")] = True,
    tile: Annotated[int, typer.Option(help="Largest side of a tile in latent pixels; 0: in one piece.")] = 144,
    solver: Annotated[str | None, typer.Option(help="ddpm, ddim, dpm++, unipc, euler or respaced.")] = None,
    coherent: Coherent = True,
    axis: Axis = None,
    through_plane: Closer = False,
    target_spacing: Distance = None,
    slice_profile: Profile = None,
    max_pixels: MaxPixels = None,
    parametric_map: AsMap = False,
    legacy: Legacy = False,
    view: View = None,
    device: Device = "auto",
    backend: Backend = "torch",
    precision: Precision = "float32",
    compiled: Compiled = False,
    batch: Batch = None,
    workers: Processes = None,
    ray: Cluster = None,
    overwrite: Overwrite = False,
    dry_run: Plan = False,
    force: Annotated[bool, typer.Option("--force", help="Take images with burned-in annotation.")] = False,
    grey: Annotated[bool, typer.Option("--grey", help="Turn colour PNG and TIFF into grey.")] = False,
    json: Json = False,
    config: Defaults = None,
) -> None:
    """Enlarges images, by a model or bicubic; the output tree mirrors the input, the record is OUT.run/run.json."""
    from latentsr import io, upscalers
    from latentsr.config import checked
    from latentsr.enhance import Job, enhance_files, measure
    from latentsr.workers import Workers

    crew = Workers(workers, ray, terminal.show_warning, stage)
    sampling = checked(upscalers.Sampling, {"samples": samples, "steps": steps, "realism": realism, "seed": seed,
        "tile": tile, "consistency": consistency, "solver": solver, "coherent": coherent}, "enhance")  # fmt: skip
    io.check_places(inputs, out, dry_run=dry_run)
    if not through_plane and (target_spacing, slice_profile) != (None, None):
        raise OptionError("--target-spacing and --slice-profile are of --through-plane: give that too")
    upscaler = upscalers.load_upscaler(model, scale=scale, degradation=degradation, device=device, backend=backend,
        precision=precision, compiled=compiled, tell=stage)  # fmt: skip
    if through_plane:
        from latentsr.upscalers.through_plane import ThroughPlane  # needs torch, which ONNX Runtime does without

        upscaler = ThroughPlane(upscaler, target=target_spacing, profile=slice_profile or "box")
    job = Job(upscaler, sampling, out, overwrite=overwrite, dry_run=dry_run, force=force, grey=grey, axis=axis,
        max_pixels=max_pixels or Job.max_pixels, parametric_map=parametric_map, legacy=legacy, workers=crew,
        batch=batch, view=view if view is not None or (terminal.interactive() and not json) else False)  # fmt: skip
    with terminal.progress("enhance", resumes=True) as report:
        outcomes = enhance_files(inputs, job, progress=report, finished=partial(_show_outcome, out=out, json=json))
    _show_end(outcomes, measure(upscaler).estimate(outcomes, job) if dry_run else None, json=json)


def _show_outcome(outcome: Any, out: Path, *, json: bool) -> None:
    """One line per input as soon as it is done, failures on standard error; `_show_end` counts skipped ones."""
    if outcome.status == "failed":
        named = outcome.input in outcome.reason
        terminal.show_error(outcome.reason if named else f"{outcome.input}: {outcome.reason}")
    elif outcome.status != "skipped" and not json:
        terminal.show(f"{outcome.status}  {out / outcome.output}  {outcome.size or outcome.reason}")
        if outcome.page:
            terminal.show(f"view     {out / outcome.page}")


def _show_end(outcomes: Sequence[Any], estimate: Any, *, json: bool) -> None:
    """Each warning once, then the counts or all as JSON; exit status 1 if some inputs failed, 2 if nothing was done."""
    warned = defaultdict(list)
    for outcome in outcomes:
        for warning in outcome.warnings:
            warned[warning].append(outcome.input)
    for warning, inputs in warned.items():
        terminal.show_warning(f"{warning}: {_files(len(inputs))}, {'the first ' if len(inputs) > 1 else ''}{inputs[0]}")

    count = Counter(outcome.status for outcome in outcomes)
    done = count["written"] + count["kept"] + count["planned"]
    skipped = [outcome for outcome in outcomes if outcome.status == "skipped"]
    if json:
        terminal.show_json([dataclasses.asdict(outcome) for outcome in outcomes])
    else:
        if skipped and len(skipped) < len(outcomes):
            names = first_few([outcome.input for outcome in skipped])
            terminal.show(f"skipped  {_files(len(skipped))} without an image: {names}")
        more = "".join(f", {count[status]} {status}" for status in ("skipped", "failed") if count[status])
        if estimate is None:
            terminal.show(f"{done} of {len(outcomes)} done{more}. {RESEARCH_USE}")
        else:
            kept = f", keep {count['kept']}" if count["kept"] else ""
            memory = f"{estimate.memory / 1e9:.1f} GB of memory, " if estimate.memory else ""
            cost = f"about {terminal.duration(estimate.seconds)}, {memory}{estimate.disk / 1e6:.1f} MB of disk"
            cost = f": {cost}" if count["planned"] else ""
            terminal.show(f"would write {count['planned']} of {len(outcomes)}{kept}{more}{cost}")
    if len(skipped) == len(outcomes):
        terminal.show_error(f"no image among {_files(len(skipped))}: {skipped[0].reason}")
    if count["failed"] or not done:
        raise typer.Exit(1 if done else 2)


def _files(number: int) -> str:
    return "1 file" if number == 1 else f"{number} files"
