import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from latentsr import cli
from latentsr.config import sha256
from latentsr.data.records import Record, write_dataset
from latentsr.io.raster import write_pixels


class Said(NamedTuple):
    """What the command left: exit status, standard output and standard error."""

    status: int
    out: str
    err: str


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """`latentsr screen ARGUMENTS...` in this process."""

    def command(*arguments: object) -> Said:
        monkeypatch.setattr(sys, "argv", ["latentsr", "screen", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            cli.main()
        shown = capsys.readouterr()
        return Said(int(left.value.code or 0), shown.out, shown.err)

    return command


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    records = []
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 255, (32, 40), np.uint8)
        path = tmp_path / "data" / f"{number}.png"
        write_pixels(path, pixels)
        records.append(Record(f"id-{number}", f"patient-{number}", "valid", path.name, 32, 40, sha256(path)))
    write_dataset(tmp_path / "data", "noise", records, {})
    return tmp_path / "data"


def test_the_command_writes_a_page_and_says_the_verdict(dataset: Path, run: Callable, tmp_path: Path) -> None:
    said = run(dataset, "--vae", "haar", "--vae", "id=identity", "-o", tmp_path / "out", "--device", "cpu")
    assert said.status == 0, said.err
    assert "Only lossless autoencoders were screened" in said.out
    assert "Research use only" in said.out
    assert "patient-" not in said.out + said.err
    assert (tmp_path / "out" / "screening.html").is_file()
    again = run(dataset, "--vae", "haar", "--vae", "id=identity", "-o", tmp_path / "out", "--device", "cpu", "--json")
    told = json.loads(again.out)
    assert list(told["methods"]) == ["haar", "id"]
    assert told["page"].endswith("screening.html")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--vae", "harr"], "did you mean haar?"),
        (["--vae", "haar", "--split", "test"], "no images in split 'test'"),
        (["--vae", "haar", "--limit", "0"], "--limit 0: expected 1 image or more"),
        (["--vae", "haar", "--metric", "pnsr"], "metric 'pnsr' is unknown"),
        (["--vae", "taesd"], "its weights are not on this machine"),
        (["--vae", "haar", "--weights", "haar=x.bin"], "haar: takes no --weights"),
    ],
)
def test_a_fault_is_one_line(
    dataset: Path, run: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "empty"))
    said = run(dataset, *arguments, "-o", tmp_path / "out", "--device", "cpu")
    assert said.status == 1
    assert message in said.err
    assert said.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_no_dataset_is_one_line(run: Callable, tmp_path: Path) -> None:
    said = run(tmp_path, "--vae", "haar", "-o", tmp_path / "out")
    assert said.status == 1
    assert "no dataset.json" in said.err
