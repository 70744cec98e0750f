"""A new metric, autoencoder, upscaler, recipe or command is one new file and one row of a table."""

import importlib
import shutil
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from latentsr.io.raster import write_pixels

SOURCE = Path(__file__).resolve().parents[2] / "src" / "latentsr"

METRIC = '''"""A toy measure."""

from torch import Tensor


def brightest(sr: Tensor, hr: Tensor) -> Tensor:
    """Difference of the brightest pixels, (batch,)."""
    return sr.amax(dim=(1, 2, 3)) - hr.amax(dim=(1, 2, 3))
'''
AUTOENCODER = '''"""A toy latent."""

from dataclasses import replace

from torch import Tensor

from latentsr.autoencoders.haar import Identity


class Negative(Identity):
    """The images turned round."""

    spec = replace(Identity.spec, name="negative")

    def encode(self, images: Tensor) -> Tensor:
        """The negative."""
        return -images

    def decode(self, latents: Tensor) -> Tensor:
        """The positive."""
        return -latents
'''
UPSCALER = '''"""A toy upscaler."""

from latentsr.provenance import INTERPOLATION
from latentsr.upscalers.upscaler import Restored, Upscaler


class Nearest(Upscaler):
    """Each pixel repeated."""

    name = hash = "nearest"

    def __init__(self, degradation):
        self.degradation = degradation

    def restore(self, lr, *, ids, sampling=None):
        """Repeated pixels."""
        return Restored(lr.repeat_interleave(self.scale, -1).repeat_interleave(self.scale, -2))

    def image_kind(self, sampling):
        """Nothing is made up."""
        return INTERPOLATION
'''
COMMAND = '''"""A toy command."""

from latentsr import terminal


def greet() -> None:
    """Greets."""
    terminal.show("good day")
'''
RECIPE = '''"""A toy recipe."""

from pathlib import Path
from typing import Annotated


def initials(source: Path, options, *, length: Annotated[int, "Letters of a file's name that name its patient."] = 1):
    """Files whose names begin with the patient."""
    from latentsr.data.prepare import Labels, Source
    from latentsr.io import find

    def labels(relative: Path, one) -> Labels:
        return Labels(relative.stem, relative.stem[:length])

    return Source(source, find([source]), labels, {"recipe": "initials", "length": length})
'''
TOYS = {  # file and text; table's file, the line that the row follows, the row, and the import that it needs
    "metrics/toy.py": (
        METRIC, "metrics/table.py", "_TABLE = (",
        '    Metric("toy", "Toy", brightest, "", "closer", (-1, 1), "-"),',
        "from latentsr.metrics.toy import brightest",
    ),
    "autoencoders/toy.py": (
        AUTOENCODER, "autoencoders/__init__.py", '    "identity": Identity,', '    "negative": Negative,',
        "from latentsr.autoencoders.toy import Negative",
    ),
    "upscalers/toy.py": (
        UPSCALER, "upscalers/__init__.py", "    BICUBIC: Bicubic,", '    "nearest": Nearest,',
        "from latentsr.upscalers.toy import Nearest",
    ),
    "data/recipes/toy.py": (
        RECIPE, "data/recipes/__init__.py", '    "folder": folder,', '    "initials": initials,',
        "from latentsr.data.recipes.toy import initials",
    ),
    "commands/toy.py": (
        COMMAND, "cli.py", "COMMANDS = (", '    (greet, "latentsr greet"),', "from latentsr.commands.toy import greet",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory, forked: Callable) -> Callable[..., str]:
    """(commands) -> what `latentsr ARGUMENTS...` of a copy with all toys prints, one after the other."""
    root = tmp_path_factory.mktemp("extended")
    shutil.copytree(SOURCE, root / "latentsr", ignore=shutil.ignore_patterns("__pycache__", "models"))
    for file, (text, table, before, row, needed) in TOYS.items():
        (root / "latentsr" / file).write_text(text)
        code = (root / "latentsr" / table).read_text()
        assert code.count(f"\n{before}") == 1
        code = code.replace(f"\n{before}", f"\n{before}\n{row}")
        code = code.replace("\nfrom latentsr", f"\n{needed}\nfrom latentsr", 1)
        (root / "latentsr" / table).write_text(code)

    def latentsr(*commands: tuple) -> str:
        def work() -> None:
            sys.path.insert(0, str(root))
            for command in commands:
                sys.argv = ["latentsr", *map(str, command)]
                with (root / "out").open("a") as out, redirect_stdout(out), pytest.raises(SystemExit) as left:
                    importlib.import_module("latentsr.cli").main()
                if left.value.code:
                    raise left.value

        (root / "out").unlink(missing_ok=True)
        assert forked(work, fresh=True) == 0
        return (root / "out").read_text()

    return latentsr


def test_a_command(extended: Callable[..., str]) -> None:
    said = extended(("--help",), ("greet",))
    assert "greet" in said
    assert "good day" in said


def test_a_recipe(extended: Callable[..., str], tmp_path: Path) -> None:
    for number, name in enumerate(("ab1", "ab2", "ac1", "b1")):
        pixels = np.random.default_rng(number).integers(0, 256, (16, 16), dtype=np.uint8)
        write_pixels(tmp_path / "in" / f"{name}.png", pixels)
    shared = ("prepare", "initials", tmp_path / "in", "--split", "1,0,0")
    said = extended(
        ("prepare", "initials", "--help"), *((*shared, "-o", tmp_path / str(n), "--length", n) for n in (1, 2))
    )
    assert "--length" in said
    for length, patients in ((1, {"a", "b"}), (2, {"ab", "ac", "b1"})):
        assert set(pd.read_csv(tmp_path / str(length) / "records.csv")["patient"]) == patients


def test_a_metric_an_upscaler_and_an_autoencoder(
    extended: Callable[..., str], make_dataset: Callable, tmp_path: Path
) -> None:
    pixels = [np.random.default_rng(n).integers(0, 256, (32, 32), dtype=np.uint8) for n in range(3)]
    dataset = make_dataset(tmp_path / "data", pixels, ["a", "b", "c"])
    shared = (dataset.root, "--device", "cpu")
    measured = ("--metric", "toy", "--metric", "lr_psnr")
    extended(
        ("evaluate", *shared, "-o", tmp_path / "e", "--method", "nearest", *measured),
        ("screen", *shared, "-o", tmp_path / "s", "--vae", "negative", "--metric", "psnr"),
        ("enhance", dataset.root / "images", "-o", tmp_path / "sr", "--model", "nearest", "--scale", 2),
    )
    table = pd.read_csv(tmp_path / "e" / "table.csv").set_index(["method", "metric"])["value"]
    assert table["nearest", "toy"].le(0).all()  # LR is dimmer than the brightest pixel
    assert set(table.index.get_level_values("method")) == {"bicubic", "nearest"}
    ceilings = pd.read_csv(tmp_path / "s" / "ceilings.csv").set_index("method")
    assert ceilings.loc["negative", "lossless"].all()
    assert len(list((tmp_path / "sr").glob("*.png"))) == 3
