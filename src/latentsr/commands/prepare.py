"""`latentsr prepare`: makes datasets of images."""

import inspect
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin

import typer

from latentsr import terminal
from latentsr.commands.options import Axis, Defaults, Degradation, Json, MaxPixels, Out, Subset, numbers
from latentsr.data.recipes import RECIPES

if TYPE_CHECKING:
    from latentsr.data.recipes import Recipe
    from latentsr.data.records import Dataset

LISTED = 10  # skipped files and sizes that are named; the rest is counted

Pattern = Annotated[
    str | None,
    typer.Option(
        help="Regular expression on the path, with a group (?P<patient>...); further named groups become columns, by "
        "which evaluate makes subgroups."
    ),
]
Block = Annotated[
    int | None, typer.Option(help="No patient ids: take N neighbouring numbers of a series as one patient.")
]
Split = Annotated[
    str | None,
    typer.Option(
        help="Shares of train,valid,test; or 'folders': those of these names above the files. "
        "Default: 'folders', if all images lie in such folders and no patient in two; else 0.8,0.1,0.1."
    ),
]
Masks = Annotated[
    Path | None, typer.Option(help="Folder of a mask an image, under the same names as SRC: regions for evaluate.")
]
Columns = Annotated[
    Path | None,
    typer.Option(
        help="CSV table of the images' columns, such as scanner or sex, for evaluate --by: first column id or file "
        "name, the others are yours."
    ),
]
Size = Annotated[
    int | None,
    typer.Option(
        help="Make squares of N pixels: images whose short side is 1.25 N or more are resized so that it is N, "
        "then the centre is cropped; smaller ones than N are skipped.",
        metavar="N",
    ),
]
Resize = Annotated[
    bool, typer.Option("--resize/--no-resize", help="With --size: resize large images, or only crop the centre.")
]
Multiple = Annotated[
    int | None, typer.Option(help="Crop the centre to sides that this number divides, such as the scale.")
]
DropShared = Annotated[
    bool,
    typer.Option(
        "--drop-shared", help="Leave out images of patients that also stand in a higher split (test, valid, train)."
    ),
]
ApartFrom = Annotated[
    list[Path] | None,
    typer.Option(
        help="A dataset none of whose images may be in this one, such as a model's training set; repeatable.",
        metavar="DATASET",
    ),
]
Duplicates = Annotated[
    str,
    typer.Option(
        help="An image that stands in two splits, or also in --apart-from: refuse, or drop it. It is dropped from the "
        "lower split (train, then valid), so that what is measured on stays as it is, and never from another dataset.",
        metavar="refuse|drop",
    ),
]
prepare_app = typer.Typer(help="Makes a dataset, split by patient, from images.", no_args_is_help=True)


@prepare_app.command("folder", epilog="Example: latentsr prepare folder scans/ -o dataset/ --size 256")
def prepare_folder(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="Folder of images or volumes, nested as you like.")],
    out: Out,
    name: Annotated[str, typer.Option(help="The dataset's name; default: the folder's.")] = "",
    patient_pattern: Pattern = None,
    patients: Annotated[Path | None, typer.Option(help="CSV table of files and patients.")] = None,
    file_column: Annotated[str, typer.Option(help="Column of that table: path, name or stem of the file.")] = "file",
    patient_column: Annotated[str, typer.Option(help="Column of that table: the patient.")] = "patient",
    block: Block = None,
    split: Split = None,
    masks: Masks = None,
    columns: Columns = None,
    size: Size = None,
    resize: Resize = True,
    multiple: Multiple = None,
    slices: Annotated[int, typer.Option(help="Take this many slices of each volume; 0: all.")] = 0,
    seed: Annotated[int, typer.Option(help="Seed of the split.")] = 0,
    drop_shared: DropShared = False,
    apart_from: ApartFrom = None,
    duplicates: Duplicates = "refuse",
    grey: Annotated[bool, typer.Option("--grey", help="Turn colour PNG and TIFF into grey.")] = False,
    axis: Axis = None,
    max_pixels: MaxPixels = None,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first file that would be skipped.")] = False,
    json: Json = False,
    config: Defaults = None,
) -> None:
    """A folder of DICOM, NIfTI, PNG, TIFF or JPEG becomes a dataset; no patient and no image is in two splits.

    Files that are no images, cannot be read or are too small are listed and skipped.
    """
    from latentsr.data.patients import BY_FOLDER, PatientRule, read_patient_table
    from latentsr.data.prepare import FolderRecipe, read_columns
    from latentsr.data.prepare import prepare_folder as prepare
    from latentsr.data.records import read_dataset
    from latentsr.volume import MAX_PIXELS

    table = None if patients is None else read_patient_table(patients, file_column, patient_column)
    rule = PatientRule(table=table, pattern=patient_pattern, block=block)
    shares = split if split in (None, BY_FOLDER) else numbers(split, "--split")
    most = max_pixels or MAX_PIXELS
    recipe = FolderRecipe(
        rule, shares, size, slices, seed, drop_shared, grey, multiple, resize, axis, most, duplicates=duplicates,
        columns=None if columns is None else read_columns(columns),
    )  # fmt: skip
    others = [read_dataset(other) for other in apart_from or ()]
    with terminal.progress("prepare") as report:
        dataset = prepare(
            source, out, recipe, name=name, masks=masks, apart_from=others, strict=strict, progress=report
        )
    _show(dataset, chosen=split is not None, json=json)
    _show_duplicates(dataset)
    if rule == PatientRule() and len({record.patient for record in dataset.records}) == len(dataset.records) > 1:
        terminal.show_warning(
            "each image counts as a patient of its own; if some share a patient, start anew with --patient-pattern, "
            "--patients or --block, or that patient may be in two splits"
        )


def _show(dataset: "Dataset", *, chosen: bool, json: bool) -> None:
    """The dataset, changes to its images and skipped files; `chosen`: the user gave the option split."""
    from latentsr.data.patients import BY_FOLDER
    from latentsr.data.prepare import preparation

    facts = preparation(dataset)
    before = Counter(record.resized_from for record in dataset.records if record.resized_from)
    more: dict[str, object] = {
        "files": facts.files,
        "skipped": len(facts.skipped),
        "resized": before.total(),
        "split_by": facts.split_by,
    }
    more |= {"columns": dataset.attributes} if dataset.attributes else {}
    if (twice := facts.duplicates) is not None:
        more["duplicates"] = {
            "dropped": len(twice["dropped"]),
            "repeated": len(twice["repeated"]),
            "near": twice["near"],
        }
    terminal.show_dataset(dataset, json=json, more=more)
    if dataset.attributes and not json:
        terminal.show(f"columns for evaluate --by: {', '.join(dataset.attributes)}")
    if before and not json:
        sizes = ", ".join(f"{rows}x{columns} ({n})" for (rows, columns), n in before.most_common(LISTED))
        more_sizes = f" and {len(before) - LISTED} other sizes" if len(before) > LISTED else ""
        images = f"{before.total()} of {len(dataset.records)} images"
        terminal.show(f"resized {images} to a short side of {dataset.records[0].rows} px, from {sizes}{more_sizes}")
    if not chosen and facts.split_by == BY_FOLDER and not json:
        terminal.show("the folders train, valid and test are the splits; --split decides otherwise")
    if facts.folders_unused:
        terminal.show_warning(
            f"the folders train, valid and test do not decide the split, since {facts.folders_unused}: patients were "
            "split anew; --split says which of both is meant"
        )
    for file, reason in facts.skipped[:LISTED]:
        terminal.show_warning(f"skipped: {reason}" if file in reason else f"skipped {file}: {reason}")
    if facts.skipped:
        terminal.show_warning(
            f"{len(facts.skipped)} of {facts.files} files were skipped; {dataset.root / 'dataset.json'} lists all; "
            "--strict stops at the first"
        )
    for words, files in facts.warnings.items():
        terminal.show_warning(f"{words}: {files} file(s)")
    if facts.constant:
        noun = "image or slice was" if facts.constant == 1 else "images or slices were"
        terminal.show_warning(
            f"{facts.constant} constant {noun} left out: there is nothing in one value to learn or to measure"
        )


def _show_duplicates(dataset: "Dataset") -> None:
    """Warnings about images that exist twice."""
    from latentsr.data.duplicates import ALIKE
    from latentsr.data.prepare import preparation

    found = preparation(dataset).duplicates
    if found is None:
        terminal.show_warning(
            f"{dataset.root} was prepared by an older version, which did not look for images in two splits; remove it "
            "and prepare it anew to have them found"
        )
        return
    more = f"{dataset.root / 'dataset.json'} lists them"
    same = {key: [f"{one['file']} = {one['same_as']}" for one in found[key]] for key in ("dropped", "repeated")}
    near = [f"{one['file']} ~ {one['like']} ({one['correlation']:.4f})" for one in found["near_pairs"]]
    if count := len(same["dropped"]):
        terminal.show_warning(
            f"{count} image(s) left out that stand in another split or dataset too ({_first(same['dropped'], count)}); "
            + more
        )
    if count := len(same["repeated"]):
        terminal.show_warning(
            f"{count} image(s) are copies of others of their split ({_first(same['repeated'], count)}), which count "
            f"twice; {more}"
        )
    if count := found["near"]:
        terminal.show_warning(
            f"{count} pair(s) of images in two splits or datasets are nearly the same, thumbnails correlate above "
            f"{ALIKE:g} ({_first(near, count)}); look at them, and remove one of each that are one image; {more}"
        )
    if count := found["shared_patients"]:
        terminal.show_warning(
            f"{count} patient(s) have the name of one in {', '.join(found['apart_from'])}; if they are the same "
            "people, a model that was trained on them is not to be measured here"
        )


def _first(names: Sequence[str], count: int) -> str:
    return ", ".join(names[:LISTED]) + (f" and {count - LISTED} more" if count > LISTED else "")


@prepare_app.command("lr", epilog="Example: latentsr prepare lr dataset/ -o lr/")
def prepare_lr(
    dataset: Annotated[Path, typer.Argument(help="A dataset made by 'latentsr prepare folder'.")],
    out: Out,
    split: Subset = "valid",
    degradation: Degradation = "bicubic:4",
    config: Defaults = None,
) -> None:
    """The LR images of a dataset as 16-bit PNG, for methods outside latentsr to restore and evaluate to compare."""
    from latentsr.data.prepare import write_low_resolution
    from latentsr.data.records import read_dataset
    from latentsr.degrade import parse_degradation

    given, operator = read_dataset(dataset), parse_degradation(degradation)
    with terminal.progress("prepare lr") as report:
        images = write_low_resolution(given, operator, split, out, progress=report)
    terminal.show(f"{images} LR images in {out}; save what a method makes of them under the same names, in 16 bit")


def _recipe_command(name: str, recipe: "type[Recipe]") -> None:
    """Adds `prepare NAME`, whose options are the recipe's fields."""

    def command(**given: Any) -> None:
        from latentsr.config import checked
        from latentsr.data.prepare import prepare_recipe

        source, out, json = given.pop("source"), given.pop("out"), given.pop("json")
        given.pop("config")
        options = checked(recipe, given, f"prepare {name}")
        with terminal.progress(f"prepare {name}") as report:
            dataset = prepare_recipe(name, options, source, out, progress=report)
        terminal.show_dataset(dataset, json=json, more={"columns": dataset.attributes} if dataset.attributes else {})
        _show_notes(dataset)

    source = Annotated[Path, typer.Argument(metavar="SRC", help="The dataset's folder, as it is unpacked.")]
    parameters: dict[str, tuple[Any, Any]] = {
        "source": (source, inspect.Parameter.empty),
        "out": (Out, inspect.Parameter.empty),
    }
    for field, info in recipe.model_fields.items():
        kind, flag = info.annotation, f"--{field.replace('_', '-')}"
        if get_origin(kind) is Literal:
            option = typer.Option(flag, help=info.description, metavar="|".join(get_args(kind)))
            kind = str
        elif kind is bool and info.default:
            option = typer.Option(f"{flag}/--no-{flag[2:]}", help=info.description)
        else:
            option = typer.Option(flag, help=info.description)
        parameters[field] = (Annotated[kind, option], info.default)
    parameters |= {"json": (Json, False), "config": (Defaults, None)}
    command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(one, inspect.Parameter.KEYWORD_ONLY, annotation=kind, default=default)
            for one, (kind, default) in parameters.items()
        ]
    )
    command.__doc__ = recipe.about
    prepare_app.command(name, epilog=f"Example: latentsr prepare {name} {recipe.example} -o dataset/")(command)


def _show_notes(dataset: "Dataset") -> None:
    """What dataset.json says that a user should know before measuring on it."""
    from latentsr.config import read_json

    facts = read_json(dataset.root / "dataset.json")
    for note in facts["notes"]:
        terminal.show(note)
    if shared := facts["patients_in_several_splits"]:
        terminal.show_warning(f"{shared} patient(s) stand in several splits: what is measured on one has leaked")
    if count := facts["copies_in_several_splits"]:
        terminal.show_warning(f"{count} image(s) stand in several splits, pixel for pixel")


for recipe_name, recipe_class in RECIPES.items():
    _recipe_command(recipe_name, recipe_class)
