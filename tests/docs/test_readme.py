"""The README's commands: every one is valid, and the six that train a model run as written, only shorter."""

import re
import shlex
from pathlib import Path

import pytest
import typer
from pydicom.data import get_testdata_file
from typer.testing import CliRunner

from latentsr import io
from latentsr.cli import app
from latentsr.io.raster import write_pixels

SHORTER = {
    "fit-vae": "--steps 2 --crop 32 --batch 1",
    "train": "--steps 2 --channels 8,16 --crop 16 --batch 1 --validate-every 2",
}
PAGES = (
    "README.md",
    "CONTRIBUTING.md",
    "docs/design.md",
    "docs/evaluation.md",
    "docs/training.md",
    "src/latentsr/models/latentsr-tiny/README.md",
)


def _commands(text: str) -> list[str]:
    lines = re.findall(r"^    (?:.*?&& )?(latentsr .*)$", text, re.MULTILINE)
    return [line.partition("  #")[0].strip() for line in lines]


def _parse(command: str) -> None:
    """Raises a usage error unless the command and all its options exist and have values of the right kind."""
    group, arguments = typer.main.get_command(app), shlex.split(command)[1:]
    context = group.make_context("latentsr", list(arguments))
    while hasattr(group, "resolve_command"):
        name, group, arguments = group.resolve_command(context, arguments)
        context = group.make_context(name, list(arguments), parent=context)


@pytest.mark.parametrize("page", PAGES)
def test_every_command_on_the_page_is_valid(page: str, repository: Path) -> None:
    for command in _commands((repository / page).read_text(encoding="utf-8")):
        _parse(command)


def test_the_parser_refuses_what_does_not_exist() -> None:
    with pytest.raises(Exception, match="No such option"):
        _parse("latentsr encode dataset/ -o cache/ --nonsense 1")


def _six(repository: Path) -> list[str]:
    """The commands of the README's section on training."""
    section = (repository / "README.md").read_text(encoding="utf-8").partition("in six commands")[2]
    return _commands(section.partition("\n## ")[0])


def test_the_readme_shows_six_commands(repository: Path) -> None:
    assert [shlex.split(command)[1] for command in _six(repository)] == [
        "prepare", "fit-vae", "encode", "train", "enhance", "evaluate",
    ]  # fmt: skip


def test_the_six_commands_train_and_apply_a_model(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = io.read(get_testdata_file("examples_overlay.dcm")).pixels[0]
    for number in range(10):
        part = pixels[number : number + 256, 20 * number : 20 * number + 256]
        write_pixels(
            tmp_path / "scans" / f"image{number}.png", (part / pixels.max() * 255).clip(0, 255).astype("uint8")
        )
    monkeypatch.chdir(tmp_path)
    for command in _six(repository):
        arguments = shlex.split(command)[1:]
        run = CliRunner().invoke(app, [*arguments, *shlex.split(SHORTER.get(arguments[0], ""))])
        assert run.exit_code == 0, f"{command}: {run.output} {run.exception!r}"
    assert (tmp_path / "evaluation" / "table.parquet").is_file()
    assert len(list((tmp_path / "mine").glob("*.png"))) == 10
