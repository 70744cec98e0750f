"""`latentsr prepare`: images become datasets."""

from pathlib import Path
from typing import Annotated

import typer

from latentsr import terminal
from latentsr.commands.options import Json, Out, numbers

prepare_app = typer.Typer(help="Makes a dataset, split by patient, from images.", no_args_is_help=True)


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
    masks: Annotated[
        Path | None, typer.Option(help="Folder of a mask an image, under the same names as SRC: regions for evaluate.")
    ] = None,
    size: Annotated[int | None, typer.Option(help="Crop the centre to a square of this many pixels.")] = None,
    multiple: Annotated[
        int | None, typer.Option(help="Crop the centre to sides that this number divides, such as the scale.")
    ] = None,
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
    """A folder of DICOM, NIfTI, PNG, TIFF or JPEG becomes a dataset; no patient is in two splits."""
    from latentsr.data.folder import BY_FOLDER, FolderRecipe, left_out
    from latentsr.data.folder import prepare_folder as prepare
    from latentsr.data.patients import PatientRule, read_patient_table

    table = None if patients is None else read_patient_table(patients, file_column, patient_column)
    rule = PatientRule(table=table, pattern=patient_pattern, block=block)
    shares = split if split == BY_FOLDER else numbers(split, "--split")
    recipe = FolderRecipe(rule, shares, size, slices, seed, drop_shared, grey, multiple)
    with terminal.progress("prepare") as report:
        dataset = prepare(source, out, recipe, name=name, masks=masks, progress=report)
    terminal.show_dataset(dataset, json=json)
    if constant := left_out(dataset):
        noun = "image or slice was" if constant == 1 else "images or slices were"
        terminal.show_warning(
            f"{constant} constant {noun} left out: there is nothing in one value to learn or to measure"
        )
    if rule == PatientRule() and len({record.patient for record in dataset.records}) == len(dataset.records) > 1:
        terminal.show_warning(
            "each image counts as a patient of its own; if some share a patient, start anew with --patient-pattern, "
            "--patients or --block, or that patient may be in two splits"
        )


@prepare_app.command("lr", epilog="Example: latentsr prepare lr dataset/ -o lr/")
def prepare_lr(
    dataset: Annotated[Path, typer.Argument(help="A dataset made by 'latentsr prepare folder'.")],
    out: Out,
    split: Annotated[str, typer.Option(help="Which images.")] = "valid",
    degradation: Annotated[str, typer.Option(help="How LR is made from HR, as for evaluate.")] = "bicubic:4",
) -> None:
    """The LR images of a dataset as 16-bit PNG, for methods outside latentsr to restore and evaluate to compare."""
    from latentsr.data.low_resolution import write_low_resolution
    from latentsr.data.records import read_dataset
    from latentsr.degrade import parse_degradation

    given, operator = read_dataset(dataset), parse_degradation(degradation)
    with terminal.progress("prepare lr") as report:
        images = write_low_resolution(given, operator, split, out, progress=report)
    terminal.show(f"{images} LR images in {out}; save what a method makes of them under the same names, in 16 bit")
