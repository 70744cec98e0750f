"""The command line: one short function a sub-command, which reads its options and calls the job.

Heavy modules are imported inside the functions, so that `latentsr --help` answers at once.
"""

import dataclasses
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from latentsr import __version__, terminal
from latentsr.errors import LatentSRError, OptionError

RESEARCH_USE = "Research use only. Not for diagnosis."
MODEL = "latentsr-tiny"

app = typer.Typer(
    name="latentsr",
    help=f"Latent diffusion super-resolution for medical images. {RESEARCH_USE}",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
prepare_app = typer.Typer(help="Makes a dataset, split by patient, from images.", no_args_is_help=True)
app.add_typer(prepare_app, name="prepare")

Out = Annotated[Path, typer.Option("--out", "-o", help="Where the result goes.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace outputs that are there already.")]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="YAML file of options; flags go before it.")]


def main() -> None:
    """Runs the command line; a mendable error is one line and exit status 1, a wrong call exit status 2."""
    terminal.quiet()
    try:
        app()
    except LatentSRError as error:
        _fail(str(error))
    except (OSError, MemoryError) as error:  # a full disk, a forbidden folder, too large an image
        _fail(f"{error or type(error).__name__}; check disk, memory and permissions, then run the same command again")
    except RuntimeError as error:  # torch's words for no memory, on a GPU and on a CPU
        if "out of memory" not in str(error) and "allocate memory" not in str(error):
            raise
        _fail("too little memory; give a smaller --batch, or another --device, and run the same command again")


def _fail(message: str) -> None:
    terminal.show_error(message)
    sys.exit(1)


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        terminal.show(f"latentsr {__version__}. {RESEARCH_USE}")
        raise typer.Exit


@app.command(epilog="Example: latentsr enhance scans/ -o enhanced/")
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
    with terminal.progress("enhance") as report:
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


@prepare_app.command("folder", epilog="Example: latentsr prepare folder scans/ -o dataset/ --size 256")
def prepare_folder(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="Folder of images or volumes, nested as you like.")],
    out: Out,
    name: Annotated[str, typer.Option(help="The dataset's name; default: the folder's.")] = "",
    patient_pattern: Annotated[
        str | None, typer.Option(help="Regular expression on the path, with a group (?P<patient>...).")
    ] = None,
    patients: Annotated[Path | None, typer.Option(help="CSV table of files and patients.")] = None,
    file_column: Annotated[str, typer.Option(help="Column of that table: path, name or stem of the file.")] = "file",
    patient_column: Annotated[str, typer.Option(help="Column of that table: the patient.")] = "patient",
    block: Annotated[
        int | None, typer.Option(help="No patient ids: take N neighbouring numbers of a series as one patient.")
    ] = None,
    split: Annotated[
        str, typer.Option(help="Shares of train,valid,test; or 'folders', if the files lie in such folders.")
    ] = "0.8,0.1,0.1",
    size: Annotated[int | None, typer.Option(help="Crop the centre to a square of this many pixels.")] = None,
    slices: Annotated[int, typer.Option(help="Take this many slices of each volume; 0: all.")] = 0,
    seed: Annotated[int, typer.Option(help="Seed of the split.")] = 0,
    drop_shared: Annotated[
        bool,
        typer.Option(
            "--drop-shared", help="Leave out images of patients that also stand in a higher split (test, valid, train)."
        ),
    ] = False,
    grey: Annotated[bool, typer.Option("--grey", help="Turn colour PNG and TIFF into grey.")] = False,
    json: Json = False,
) -> None:
    """A folder of DICOM, NIfTI, PNG or TIFF becomes a dataset; no patient is in two splits."""
    from latentsr.data.folder import BY_FOLDER, FolderRecipe
    from latentsr.data.folder import prepare_folder as prepare
    from latentsr.data.patients import PatientRule, read_patient_table

    table = None if patients is None else read_patient_table(patients, file_column, patient_column)
    rule = PatientRule(table=table, pattern=patient_pattern, block=block)
    shares = split if split == BY_FOLDER else _numbers(split, "--split")
    recipe = FolderRecipe(rule, shares, size, slices, seed, drop_shared, grey)
    with terminal.progress("prepare") as report:
        dataset = prepare(source, out, recipe, name=name, progress=report)
    terminal.show_dataset(dataset, json=json)
    if rule == PatientRule() and len({record.patient for record in dataset.records}) == len(dataset.records) > 1:
        terminal.show_warning(
            "each image counts as a patient of its own; if some share a patient, start anew with --patient-pattern, "
            "--patients or --block, or that patient may be in two splits"
        )


def _numbers(text: str, option: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise OptionError(f"{option} {text}: expected numbers joined by commas, such as 0.8,0.1,0.1") from error


@app.command(
    "fit-vae", epilog="Example: latentsr fit-vae dataset/ -o vae/ --factor 4 --latent-channels 3 --steps 20000"
)
def fit_vae(
    datasets: Annotated[list[Path], typer.Argument(metavar="DATASET...", help="Folders made by 'prepare'.")],
    out: Out,
    config: ConfigFile = None,
    init: Annotated[str | None, typer.Option(help="Folder of an autoencoder to fine-tune.")] = None,
    domain: Annotated[str | None, typer.Option(help="What the images are: medical (default) or natural.")] = None,
    factor: Annotated[int | None, typer.Option(help="Image side over latent side: 4 or 8.")] = None,
    latent_channels: Annotated[int | None, typer.Option(help="Channels of the latent.")] = None,
    crop: Annotated[int | None, typer.Option(help="Side of the training crops in pixels.")] = None,
    batch: Annotated[int | None, typer.Option(help="Crops a step.")] = None,
    steps: Annotated[int | None, typer.Option(help="Steps to train.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Stop after this many minutes, if before the steps.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Peak learning rate.")] = None,
    gradient_weight: Annotated[float | None, typer.Option(help="Weight of the gradient term.")] = None,
    frequency_weight: Annotated[float | None, typer.Option(help="Weight of the frequency term.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of crops and weights.")] = None,
    devices: Annotated[int | None, typer.Option(help="How many GPUs.")] = None,
    device: Device = "auto",
) -> None:
    """Trains or fine-tunes a KL autoencoder; run the same command again to go on after a kill."""
    from latentsr.data.records import read_dataset
    from latentsr.training.autoencoder import FitVaeConfig, fit_autoencoder

    flags = {
        "init": init,
        "domain": domain,
        "factor": factor,
        "latent_channels": latent_channels,
        "crop": crop,
        "batch": batch,
        "steps": steps,
        "minutes": minutes,
        "learning_rate": learning_rate,
        "gradient_weight": gradient_weight,
        "frequency_weight": frequency_weight,
        "seed": seed,
        "devices": devices,
    }
    options = _options(FitVaeConfig, config, flags)
    fit_autoencoder([read_dataset(folder) for folder in datasets], out, options, device=device)
    terminal.show(f"autoencoder in {out}")


def _options(cls: Any, file: Path | None, flags: dict[str, Any]) -> Any:
    """The record of a YAML file's options and of the flags that were given, which go before it."""
    from latentsr.config import checked, read_yaml

    base = read_yaml(cls, file).model_dump() if file else {}
    return checked(cls, {**base, **{key: value for key, value in flags.items() if value is not None}}, "options")


@app.command(epilog="Example: latentsr encode dataset/ --vae haar -o cache/")
def encode(
    datasets: Annotated[list[Path], typer.Argument(metavar="DATASET...", help="Folders made by 'prepare'.")],
    out: Out,
    vae: Annotated[
        str, typer.Option(help="Autoencoder: a name (haar, haar-2, haar-8, identity) or a folder.")
    ] = "haar",
    degradation: Annotated[str, typer.Option(help="How LR is made from HR, such as bicubic:4.")] = "bicubic:4",
    condition: Annotated[
        list[str] | None,
        typer.Option(help="What to keep of LR: latent-up, latent-native, pixels (default: latent-up and pixels)."),
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Images at a time.")] = 16,
    device: Device = "auto",
) -> None:
    """Fills the latent cache; run the same command again to go on after a kill."""
    from latentsr.autoencoders import load_autoencoder
    from latentsr.data.latents import fill_cache
    from latentsr.data.records import read_dataset
    from latentsr.degrade import parse_degradation
    from latentsr.device import resolve_device

    where = resolve_device(device)
    with terminal.progress("encode") as report:
        cache = fill_cache(
            [read_dataset(folder) for folder in datasets],
            load_autoencoder(vae, device=where),
            parse_degradation(degradation),
            out,
            conditions=condition or ("latent-up", "pixels"),
            batch=batch,
            device=where,
            progress=report,
        )
    counts = ", ".join(f"{split} {len(ids)}" for split, ids in cache.manifest["ids"].items())
    terminal.show(f"cache in {out}: {counts}")


@app.command(epilog="Example: latentsr train cache/ -o model/ --steps 4000")
def train(
    cache: Annotated[Path, typer.Argument(help="Folder made by 'encode'.")],
    out: Out,
    config: ConfigFile = None,
    target: Annotated[str | None, typer.Option(help="latent, or residual to the enlarged LR.")] = None,
    condition: Annotated[list[str] | None, typer.Option(help="latent-up, latent-native or pixels; repeatable.")] = None,
    objective: Annotated[str | None, typer.Option(help="x0, epsilon, v or flow.")] = None,
    schedule: Annotated[str | None, typer.Option(help="cosine, linear or flow.")] = None,
    channels: Annotated[str | None, typer.Option(help="Channels of each level, such as 48,64,96.")] = None,
    crop: Annotated[int | None, typer.Option(help="Side of the training crops in latent pixels.")] = None,
    batch: Annotated[int | None, typer.Option(help="Crops a step, on each device.")] = None,
    steps: Annotated[int | None, typer.Option(help="Steps to train.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Stop after this many minutes, if before the steps.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Peak learning rate.")] = None,
    validate_every: Annotated[int | None, typer.Option(help="Steps between checkpoints and validations.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of crops, noise and weights.")] = None,
    modality: Annotated[list[str] | None, typer.Option(help="DICOM modality of the images, such as MR.")] = None,
    devices: Annotated[int, typer.Option(min=1, help="How many GPUs.")] = 1,
    device: Device = "auto",
) -> None:
    """Trains a denoiser; run the same command again to go on after a kill."""
    from latentsr.data.latents import open_cache
    from latentsr.training.denoiser import TrainConfig
    from latentsr.training.fit_denoiser import fit_denoiser

    flags = {
        "target": target,
        "conditions": tuple(condition) if condition else None,
        "objective": objective,
        "schedule": schedule,
        "channels": None if channels is None else tuple(int(n) for n in _numbers(channels, "--channels")),
        "crop": crop,
        "batch": batch,
        "steps": steps,
        "minutes": minutes,
        "learning_rate": learning_rate,
        "validate_every": validate_every,
        "seed": seed,
    }
    options = _options(TrainConfig, config, flags)
    fit_denoiser(open_cache(cache), out, options, device=device, devices=devices, modalities=tuple(modality or ()))
    terminal.show(f"model in {out}; its run in {out}.run")


@app.command(epilog="Example: latentsr evaluate dataset/ --method mean=latentsr-tiny -o evaluation/")
def evaluate(
    datasets: Annotated[list[Path], typer.Argument(metavar="DATASET...", help="Folders made by 'prepare'.")],
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


@app.command(epilog="Example: latentsr demo -o demo/")
def demo(
    out: Out = Path("demo"),
    model: Annotated[str, typer.Option(help="Model folder, or name of a shipped model.")] = MODEL,
    steps: Annotated[int, typer.Option(min=2, help="Network evaluations of a sample.")] = 16,
    samples: Annotated[int, typer.Option(min=2, help="Samples for the spread.")] = 4,
    device: Device = "auto",
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """The main job on real MR images that come with pydicom, on the model that comes with the package."""
    from latentsr.demo import run_demo
    from latentsr.superres import SuperResolver

    resolver = SuperResolver.load(model, device=device)
    with terminal.progress("demo") as report:
        result = run_demo(out, resolver, steps=steps, samples=samples, overwrite=overwrite, progress=report)
    if json:
        terminal.show_json(dataclasses.asdict(result) | {"files": [str(path) for path in result.files]})
        return
    terminal.show(f"{result.enhanced.output}: {result.enhanced.size}")
    terminal.show_records("a window of an abdominal MR, degraded by four and restored", result.table)
    terminal.show(f"see {result.panel}; all in {out}. {RESEARCH_USE}")
