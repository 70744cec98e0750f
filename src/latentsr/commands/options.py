"""What the sub-commands' options have in common."""

from pathlib import Path
from typing import Annotated, Any

import typer

from latentsr.errors import OptionError

MODEL = "latentsr-tiny"

Out = Annotated[Path, typer.Option("--out", "-o", help="Where the result goes.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace outputs that are there already.")]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="YAML file of options; flags go before it.")]
Datasets = Annotated[list[Path], typer.Argument(metavar="DATASET...", help="Folders made by 'prepare'.")]


def numbers(text: str, option: str) -> tuple[float, ...]:
    """The numbers of a text such as 0.8,0.1,0.1; OptionError, which names the option, for other texts."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise OptionError(f"{option} {text}: expected numbers joined by commas, such as 0.8,0.1,0.1") from error


def options_of(cls: Any, file: Path | None, flags: dict[str, Any]) -> Any:
    """The record of a YAML file's options and of the flags that were given, which go before it."""
    from latentsr.config import checked, read_yaml

    base = read_yaml(cls, file).model_dump() if file else {}
    return checked(cls, {**base, **{key: value for key, value in flags.items() if value is not None}}, "options")
