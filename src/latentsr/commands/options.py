"""Options that several commands have, and `--config`, the file of a command's options."""

from pathlib import Path
from typing import Annotated, Any

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
Axis = Annotated[int | None, typer.Option(min=0, max=2, help="Slice axis of NIfTI images; default: from the header.")]
MaxPixels = Annotated[
    int | None,
    typer.Option(min=1, help="Refuse images of more pixels, slices together; default: 134217728 (2^27)."),
]
Model = Annotated[str, typer.Option(help="Model folder, or name of a shipped model.")]
Subset = Annotated[str, typer.Option("--split", help="Which images: train, valid or test.")]
Degradation = Annotated[str, typer.Option(help="How LR is made from HR, such as bicubic:4.")]
CONFIG_HELP = "YAML file of options; flags override it."
ConfigFile = Annotated[Path | None, typer.Option("--config", help=CONFIG_HELP)]
Datasets = Annotated[list[Path], typer.Argument(metavar="DATASET...", help="Folders made by 'prepare'.")]


def _read_defaults(context: typer.Context, file: Path | None) -> None:
    """Makes the options of a YAML file the defaults of the command's options."""
    from latentsr.config import read_yaml_mapping

    if file is None or context.resilient_parsing:
        return
    options = {one.name: one for one in context.command.params if one.param_type_name == "option"}
    valid = [name for name in options if name not in ("config", "help")]
    expected = f"the keys {', '.join(valid)}"
    given = read_yaml_mapping(file)
    if given is None:
        raise OptionError(f"{file}: holds no options; expected 'key: value' lines with {expected}")
    context.default_map = {}
    for key, value in given.items():
        name = key.replace("-", "_")
        if name not in valid:
            raise OptionError(f"{file}: unknown key {key!r}; expected {expected}{suggestion(name, valid)}")
        values = value if isinstance(value, list) else [value]
        several = getattr(options[name], "multiple", False)
        if not all(isinstance(one, str | int | float) for one in values) or (isinstance(value, list) and not several):
            raise OptionError(f"{file}: {key} is no {'list of texts or numbers' if several else 'text or number'}")
        texts = [one if isinstance(one, bool) else str(one) for one in values]  # checked as the texts of flags are
        context.default_map[name] = texts if several else texts[0]


# The option --config of commands whose options are the keys of its file; its callback has read it.
Defaults = Annotated[Path | None, typer.Option("--config", help=CONFIG_HELP, is_eager=True, callback=_read_defaults)]


def numbers(text: str, option: str) -> tuple[float, ...]:
    """The numbers of a text such as 0.8,0.1,0.1; OptionError, which names the option, for other texts."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise OptionError(f"{option} {text}: expected numbers joined by commas, such as 0.8,0.1,0.1") from error


def options_of(cls: Any, file: Path | None, flags: dict[str, Any], preset: dict[str, Any] | None = None) -> Any:
    """The record of the given flags over a YAML file's options, over those of a preset."""
    from latentsr.config import checked, read_yaml

    base = read_yaml(cls, file).model_dump(exclude_unset=True) if file else {}
    given = {key: value for key, value in flags.items() if value is not None}
    return checked(cls, {**(preset or {}), **base, **given}, "options")
