"""The README's commands: every one is valid, and all run as written in an empty folder, only shorter."""

import pydoc
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from click.testing import Result
from pydicom.data import get_testdata_file
from typer.testing import CliRunner

from latentsr import io
from latentsr.cli import app
from latentsr.io.raster import read_pixels, write_pixels

IMAGES, SIDE = 10, 64  # enough patients for each split; large enough for every measure
SHORTER = {
    "prepare folder": f"--size {SIDE}",
    "fit-vae": "--steps 2 --crop 32 --batch 1",
    "train": "--steps 2 --channels 8,16 --crop 16 --batch 1 --validate-every 2",
    "calibrate": "--samples 2 --steps 2 --split train --alpha 0.2",  # eight patients
}
FEWER = {
    "--samples 8": "--samples 2",
    "scans/ -o sampled/": "scans/image0.png -o sampled/",
    "scans/ -o averaged/": "scans/MR_small.dcm -o averaged/",
    "scans/ -o viewed/": "scans/MR_small.dcm -o viewed/",
    "scans/ -o quick/": "scans/image0.png -o quick/",
    "scans/ -o kspace/": "scans/image0.png -o kspace/",
    "scans/ -o intervals/": "scans/image0.png -o intervals/ --steps 2",
    "-o evaluation/": "-o evaluation/ --metric psnr",  # all measures are OUT/evaluation's
    "-o against/": "-o against/ --metric psnr",
    "-o more/": "-o more/ --metric psnr",
}
PAGES = (
    "README.md",
    "CONTRIBUTING.md",
    "docs/design.md",
    "docs/desk-study.md",
    "docs/evaluation.md",
    "docs/pacs.md",
    "docs/published-study.md",
    "docs/quality.md",
    "docs/reproduce.md",
    "docs/training.md",
    "docs/uncertainty.md",
    "docs/viewer.md",
    "docs/volumes.md",
    "docs/which-latent.md",
    "docs/workers.md",
    "src/latentsr/models/latentsr-tiny/README.md",
)


def _commands(text: str) -> list[str]:
    whole = text.replace("\\\n", "")  # of a command on several lines
    lines = re.findall(r"^    (?:.*?&& )?(latentsr .*)$", whole, re.MULTILINE)
    return [line.partition("  #")[0].strip() for line in lines]


def _parse(command: str) -> None:
    """Raises a usage error unless the command and all its options exist and have values of the right kind."""
    group, arguments = typer.main.get_command(app), shlex.split(command)[1:]
    context = group.make_context("latentsr", list(arguments))
    while hasattr(group, "resolve_command"):
        name, group, arguments = group.resolve_command(context, arguments)
        context = group.make_context(name, list(arguments), parent=context)


@pytest.mark.parametrize("page", PAGES)
def test_every_command_on_the_page_is_valid(
    page: str, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "options.yaml").write_text("{}")  # which --config reads as it is parsed
    for command in _commands((repository / page).read_text(encoding="utf-8")):
        _parse(command)


@pytest.mark.parametrize("page", PAGES)
def test_every_file_and_module_that_the_page_names_exists(page: str, repository: Path) -> None:
    text = (repository / page).read_text(encoding="utf-8")
    named = re.findall(r"(?<![\w/.])(?:benchmarks|docs|src|studies|tests)/[\w./-]+\w", text)
    named += re.findall(r"\]\((?!http)([^)#]+)", text)
    homes = (repository, (repository / page).parent)
    assert not [place for place in named if not any((home / place).exists() for home in homes)]
    modules = re.findall(r"`(latentsr(?:\.\w+)+)`", text)
    assert not [name for name in modules if pydoc.locate(name) is None]


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


def _run(command: str, folder: Path) -> Result:
    """Runs a command as a user would, only shorter; what the README leaves to the user is done before it."""
    for many, few in FEWER.items():
        command = command.replace(many, few)
    arguments = shlex.split(command)[1:]
    if "theirs=theirs/" in arguments:
        _play_another_method(folder / "lr", folder / "theirs")
    name = " ".join(arguments[: 1 + (arguments[0] in ("prepare", "models"))])
    return CliRunner().invoke(app, [*arguments, *shlex.split(SHORTER.get(name, ""))])


def _play_another_method(lr: Path, out: Path) -> None:
    """Enlarges every LR image by repeating its pixels."""
    for path in lr.glob("*.png"):
        write_pixels(out / path.name, read_pixels(path).repeat(4, 0).repeat(4, 1))


def _scans(folder: Path, images: int) -> None:
    """Small parts of an abdominal MR as PNG, and one as it comes from the scanner."""
    source = Path(get_testdata_file("examples_overlay.dcm"))
    pixels = io.read(source).pixels[0]
    for number in range(images):
        part = pixels[20 + 16 * number :][:SIDE, 20 * number :][:, :SIDE]
        write_pixels(folder / f"image{number}.png", (part / pixels.max() * 255).clip(0, 255).astype("uint8"))


def test_the_readme_runs_from_its_first_to_its_last_command(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, golden_medvae: Callable[[str], Any]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LATENTSR_HOME", str(tmp_path / "home"))
    golden_medvae("4x3")  # writes, where the README expects them, files as they are published
    _scans(tmp_path / "scans", IMAGES)
    shutil.copy(get_testdata_file("MR_small.dcm"), tmp_path / "scans")
    for name in ("brain-mri", "chest-xray"):
        _run(f"latentsr prepare folder scans/ -o OUT/{name} --name {name}", tmp_path)
    for command in _commands((repository / "README.md").read_text(encoding="utf-8")):
        run = _run(command, tmp_path)
        if "models pull" in command:  # there is no network here: one line that says how else
            assert "models import" in str(run.exception)
        else:
            assert run.exit_code == 0, f"{command}: {run.output} {run.exception!r}"
    assert (tmp_path / "evaluation" / "table.parquet").is_file()
    assert len(list((tmp_path / "mine").glob("*.png"))) == IMAGES
