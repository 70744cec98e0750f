"""Options that several commands have, and `--config`, the file of a command's options."""

from collections.abc import Collection
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, get_origin

import typer

from latentsr.errors import OptionError, suggestion

MODEL = "latentsr-tiny"

Out = Annotated[Path, typer.Option("--out", "-o", help="Where the result goes.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace existing outputs.")]
Paper = Annotated[
    bool, typer.Option("--paper", help="Tables as LaTeX and figures as PDF, too; also for a finished result.")
]
Axis = Annotated[
    int | None, typer.Option(min=0, max=2, help="Slice axis of NIfTI, MGH, NRRD, MHA; default: by the header.")
]
MaxPixels = Annotated[
    int | None,
    typer.Option(min=1, help="Refuse images of more pixels, slices together; default: 134217728 (2^27)."),
]
Model = Annotated[str, typer.Option(help="Model folder, or name of a shipped model.")]
Subset = Annotated[str, typer.Option("--split", help="Which images: train, valid or test.")]
Degradation = Annotated[str, typer.Option(help="How LR is made from HR, such as bicubic:4.")]
Processes = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Processes of one thread that hold the model each and share the work. Default: this one; with --ray one "
        "a CPU that is free, or a GPU.",
    ),
]
Cluster = Annotated[
    str | None,
    typer.Option(
        "--ray", metavar="local|ADDRESS",
        help="Let a Ray cluster do the work: local, for as long as the job lasts, or its address. Needs the extra ray.",
    ),
]  # fmt: skip
Datasets = Annotated[list[Path], typer.Argument(metavar="DATASET", help="Folders made by 'prepare'.")]


def config_option(record: str = "") -> Any:
    """The option --config, whose keys are the command's options and, with a record, the fields of that.

    The record, such as `latentsr.training.denoiser:TrainConfig`, is imported when a file is given; its fields are left
    to `options_of`.
    """

    def read(context: typer.Context, file: Path | None) -> Path | None:
        if file is not None and not context.resilient_parsing:
            module, _, name = record.partition(":")
            fields = getattr(import_module(module), name).model_fields if record else ()
            context.default_map = {}
            context.default_map.update(_read_defaults(context, file, fields))
        return file

    return typer.Option("--config", help="YAML file of options; flags override it.", is_eager=True, callback=read)


def _read_defaults(context: typer.Context, file: Path, fields: Collection[str]) -> dict[str, Any]:
    """The options of a YAML file as a command line has them, but for those that are fields of the command's record."""
    from latentsr.config import read_yaml

    options = {one.name: one for one in context.command.params if one.param_type_name == "option"}
    valid = list(dict.fromkeys(name for name in (*options, *fields) if name not in ("config", "help")))
    expected = f"the keys {', '.join(valid)}"
    found: dict[str, Any] = {}
    for key, value in read_yaml(file).items():
        name = key.replace("-", "_")
        if name not in valid:
            raise OptionError(f"{file}: unknown key {key!r}; expected {expected}{suggestion(name, valid)}")
        if name in fields or value is None:
            continue
        values = value if isinstance(value, list) else [value]
        if not values or not all(isinstance(one, str | int | float) for one in values):
            raise OptionError(f"{file}: {key} is {value!r}; expected a text, a number or a list of such")
        texts = [one if isinstance(one, bool) else str(one) for one in values]  # checked as the texts of flags are
        if not getattr(options[name], "multiple", False):  # a list of it is a text such as 0.8,0.1,0.1
            found[name] = texts[0] if len(texts) == 1 else ",".join(map(str, texts))
        else:
            found[name] = texts
        try:
            options[name].process_value(context, found[name])
        except typer.BadParameter as error:
            valid_value = error.message.removeprefix("Input should be ")
            raise OptionError(f"{file}: {key} is {value!r}; expected {valid_value}") from error
    return found


Defaults = Annotated[Path | None, config_option()]


def numbers(text: str, option: str) -> tuple[float, ...]:
    """The numbers of a text such as 0.8,0.1,0.1; OptionError, which names the option, for other texts."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise OptionError(f"{option} {text}: expected numbers joined by commas, such as 0.8,0.1,0.1") from error


def options_of(cls: Any, file: Path | None, flags: dict[str, Any], preset: dict[str, Any] | None = None) -> Any:
    """The record of the given flags over the fields in a YAML file, over those of a preset.

    A text such as 16,32 in the file is a list, as on the command line. Errors name flags and keys as they were given.
    """
    from latentsr.config import checked, layered, read_yaml

    mapping = read_yaml(file) if file else {}
    base = {name: value for key, value in mapping.items() if (name := key.replace("-", "_")) in cls.model_fields}
    for name, value in base.items():
        if isinstance(value, str) and get_origin(cls.model_fields[name].annotation) is tuple:
            base[name] = value.split(",")
    given = {key: value for key, value in flags.items() if value is not None}
    options = layered(given, base, preset or {})
    return checked(cls, options, str(file or "options"), flags=given)
