"""`latentsr prepare`: makes datasets of images."""

import inspect
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin

import typer

from latentsr import terminal
from latentsr.commands.options import Axis, Defaults, Degradation, Json, MaxPixels, Out, Subset, numbers
from latentsr.data.recipes import RECIPES
from latentsr.names import first_few

if TYPE_CHECKING:
    from latentsr.data.recipes.recipe import Recipe
    from latentsr.data.records import Dataset

PATIENT_OPTIONS = {"patient_pattern", "patients", "block"}
LISTED = 10  # skipped files and sizes that are named; the rest is counted

Split = Annotated[
    str | None,
    typer.Option(
        help="Shares of train,valid,test; or 'folders': those of these names above the files. "
        "Default: 'folders', if all images lie in such folders and no patient in two; else 0.8,0.1,0.1."
    ),
]
Size = Annotated[
    int | None,
    typer.Option(help="Make squares of N pixels; images that are smaller are skipped.", metavar="N"),
]
Resize = Annotated[
    str,
    typer.Option(
        help="With --size, of images larger than N. pad: the whole image, its long side reduced to N, black beside the "
        "short one. crop: the short side reduced to N (if it has 1.25 N or more), then the centre. none: the centre of "
        "its own pixels.",
        metavar="pad|crop|none",
    ),
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


def prepare(
    recipe: str,
    own: Mapping[str, Any],
    source: Annotated[Path, typer.Argument(metavar="SRC", help="Folder of images or volumes, nested as you like.")],
    out: Out,
    name: Annotated[str, typer.Option(help="The dataset's name; default: the folder's.")] = "",
    split: Split = None,
    size: Size = None,
    resize: Resize = "pad",
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
    """Prepares a dataset by a recipe with its `own` options; the other parameters are options of all recipes."""
    from latentsr.config import read_json
    from latentsr.data import prepare as job
    from latentsr.data.patients import BY_FOLDER
    from latentsr.data.records import read_dataset
    from latentsr.volume import MAX_PIXELS

    with terminal.progress("prepare") as report:
        dataset = job.prepare(
            recipe, source, out, name=name, apart_from=[read_dataset(other) for other in apart_from or ()],
            split=split if split in (None, BY_FOLDER) else numbers(split, "split"), size=size, resize=resize,
            multiple=multiple, slices=slices, seed=seed, drop_shared=drop_shared, duplicates=duplicates, grey=grey,
            axis=axis, max_pixels=max_pixels or MAX_PIXELS, strict=strict, progress=report, **own,
        )  # fmt: skip
    facts = read_json(dataset.root / "dataset.json")
    _show(dataset, facts, chosen=split is not None, json=json)
    _show_duplicates(dataset, facts)
    alone = len({record.patient for record in dataset.records}) == len(dataset.records) > 1
    if own.keys() >= PATIENT_OPTIONS and not any(own[option] for option in PATIENT_OPTIONS) and alone:
        terminal.show_warning(
            "each image counts as a patient of its own; if some share a patient, start anew with --patient-pattern, "
            "--patients or --block, or that patient may be in two splits"
        )


def _command(name: str, recipe: Callable[..., object]) -> Callable[..., None]:
    """The command of a recipe: source and output, the recipe's own options, and where it finds files those of all."""
    own = [one for one in inspect.signature(recipe).parameters.values() if one.kind is one.KEYWORD_ONLY]
    makes_images = isinstance(recipe, type)

    def command(**given: Any) -> None:
        if isinstance(recipe, type):
            prepare_public(name, recipe(**{one.name: given.pop(one.name) for one in own}), **given)
        else:
            prepare(name, {one.name: given.pop(one.name) for one in own}, **given)

    typed = []
    for one in own:
        kind, text = get_args(one.annotation)
        option = typer.Option(help=text)
        if get_origin(kind) is Literal:
            kind, option = str, typer.Option(help=text, metavar="|".join(get_args(kind)))
        elif makes_images and kind is bool and not one.default:
            option = typer.Option(f"--{one.name.replace('_', '-')}", help=text)
        typed.append(one.replace(annotation=Annotated[kind, option]))
    function = prepare_public if makes_images else prepare
    _, _, *general = (one.replace(kind=one.KEYWORD_ONLY) for one in inspect.signature(function).parameters.values())
    first = 2 if makes_images else 3
    command.__dict__["__signature__"] = inspect.Signature([*general[:first], *typed, *general[first:]])
    command.__doc__ = recipe.__doc__
    return command


def prepare_public(
    name: str,
    recipe: "Recipe",
    source: Annotated[Path, typer.Argument(metavar="SRC", help="The dataset's folder, as it is unpacked.")],
    out: Out,
    json: Json = False,
    config: Defaults = None,
) -> None:
    """Prepares a public dataset by a recipe that makes the images itself; shows what its dataset.json notes."""
    from latentsr.config import read_json
    from latentsr.data.prepare import prepare_cases

    with terminal.progress("prepare") as report:
        dataset = prepare_cases(name, recipe, source, out, progress=report)
    terminal.show_dataset(dataset, json=json, more={"columns": dataset.attributes} if dataset.attributes else {})
    facts = read_json(dataset.root / "dataset.json")
    if "resize" in facts["recipe"]:
        _show_resized(dataset, facts, json=json)
    for note in () if json else facts["notes"]:
        terminal.show(note)
    for table, count in facts.get("unlisted", {}).items():
        terminal.show_warning(f"{count} of {facts['cases']} cases have no row of {table} in the tables of {source}")
    if empty := [split for split in ("train", "valid") if not any(one.split == split for one in dataset.records)]:
        terminal.show_warning(f"no images in split {' and '.join(empty)}: too few for these shares or numbers")
    if (lr := facts["degradation"]) and not json:
        terminal.show(f"LR images are files of their own: set --degradation {lr} in encode, evaluate and screen")
    if shared := facts["patients_in_several_splits"]:
        terminal.show_warning(f"{shared} patient(s) stand in several splits: what is measured on one has leaked")
    if count := facts["copies_in_several_splits"]:
        terminal.show_warning(f"{count} image(s) stand in several splits, pixel for pixel")


for recipe_name, function in RECIPES.items():
    source = getattr(function, "example", "scans/")
    more = "" if isinstance(function, type) else " --size 256"
    example = f"Example: latentsr prepare {recipe_name} {source} -o dataset/{more}"
    prepare_app.command(recipe_name, epilog=example)(_command(recipe_name, function))


def _show(dataset: "Dataset", facts: Mapping[str, Any], *, chosen: bool, json: bool) -> None:
    """The dataset and what its dataset.json says; `chosen`: the user gave the option split."""
    from latentsr.data.patients import BY_FOLDER

    skipped, constant, split_by = facts.get("skipped", ()), facts.get("constant_left_out"), facts.get("split_by", "")
    more: dict[str, object] = {
        "files": facts.get("files"),  # none in datasets of older versions
        "skipped": len(skipped),
        "resized": sum(record.resized_from is not None for record in dataset.records),
        "split_by": split_by,
    }
    more |= {"columns": dataset.attributes} if dataset.attributes else {}
    if twice := facts.get("duplicates"):
        counts = {"dropped": len(twice["dropped"]), "repeated": len(twice["repeated"]), "near": twice["near"]}
        more["duplicates"] = counts
    terminal.show_dataset(dataset, json=json, more=more)
    if dataset.attributes and not json:
        terminal.show(f"columns for evaluate --by: {', '.join(dataset.attributes)}")
    _show_resized(dataset, facts, json=json)
    if not chosen and split_by == BY_FOLDER and not json:
        terminal.show("the folders train, valid and test are the splits; --split decides otherwise")
    if why := facts.get("folders_unused"):
        terminal.show_warning(
            f"the folders train, valid and test do not decide the split, since {why}: patients were split anew; "
            "--split says which of both is meant"
        )
    for one in skipped[:LISTED]:
        file, reason = one["file"], one["reason"]
        terminal.show_warning(f"skipped: {reason}" if file in reason else f"skipped {file}: {reason}")
    if skipped:
        terminal.show_warning(
            f"{len(skipped)} of {facts['files']} files were skipped; {dataset.root / 'dataset.json'} lists all; "
            "--strict stops at the first"
        )
    for words, files in facts.get("warnings", {}).items():
        terminal.show_warning(f"{words}: {files} file(s)")
    if constant:
        noun = "image or slice was" if constant == 1 else "images or slices were"
        terminal.show_warning(
            f"{constant} constant {noun} left out: there is nothing in one value to learn or to measure"
        )


def _show_resized(dataset: "Dataset", facts: Mapping[str, Any], *, json: bool) -> None:
    """How many images were resized, from which sizes and how."""
    before = Counter(record.resized_from for record in dataset.records if record.resized_from)
    if json or not before:
        return
    side = dataset.records[0].rows
    way = f"to a short side of {side} px, of the long one the middle kept"
    if facts["recipe"].get("resize") == "pad":  # True of datasets that were made before there was a choice
        way = f"as a whole to a long side of {side} px, black beside the short one"
    sizes = ", ".join(f"{rows}x{columns} ({n})" for (rows, columns), n in before.most_common(LISTED))
    more = f" and {len(before) - LISTED} other sizes" if len(before) > LISTED else ""
    images = f"{before.total()} of {len(dataset.records)} images"
    terminal.show(f"resized {images} {way} (see --resize), from {sizes}{more}")


def _show_duplicates(dataset: "Dataset", facts: Mapping[str, Any]) -> None:
    """Warnings about images that exist twice."""
    from latentsr.data.duplicates import ALIKE

    found = facts.get("duplicates")
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
            f"{count} image(s) left out that stand in another split or dataset too ({first_few(same['dropped'])}); "
            + more
        )
    if count := len(same["repeated"]):
        terminal.show_warning(
            f"{count} image(s) are copies of others of their split ({first_few(same['repeated'])}), which count "
            f"twice; {more}"
        )
    if count := found["near"]:  # of which dataset.json lists some
        shown = ", ".join(near[:LISTED]) + (f" and {count - LISTED} more" if count > LISTED else "")
        terminal.show_warning(
            f"{count} pair(s) of images in two splits or datasets are nearly the same, thumbnails correlate above "
            f"{ALIKE:g} ({shown}); look at them, and remove one of each that are one image; {more}"
        )
    if count := found["shared_patients"]:
        terminal.show_warning(
            f"{count} patient(s) have the name of one in {', '.join(found['apart_from'])}; if they are the same "
            "people, a model that was trained on them is not to be measured here"
        )


@prepare_app.command("lr", epilog="Example: latentsr prepare lr dataset/ -o lr/")
def prepare_lr(
    dataset: Annotated[Path, typer.Argument(metavar="DATASET", help="A dataset made by 'latentsr prepare folder'.")],
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
