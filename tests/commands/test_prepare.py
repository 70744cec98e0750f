"""`latentsr prepare folder` as it is called: what it says of images that were left out, and of masks."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from latentsr import cli
from latentsr.io.raster import write_pixels


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["latentsr", "prepare", "folder", *map(str, arguments)])
    with pytest.raises(SystemExit) as left:
        cli.main()
    return int(left.value.code or 0)


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """Three images of one patient, who must not be named, and one that is black, each with a mask."""
    rng = np.random.default_rng(0)
    for number in range(4):
        pixels = rng.integers(0, 255, (16, 16), np.uint8, endpoint=True) * np.uint8(number > 0)
        write_pixels(tmp_path / "in" / f"Doe_{number}.png", pixels)
        write_pixels(tmp_path / "seg" / f"Doe_{number}.png", np.eye(16, dtype=np.uint8))
    return tmp_path


def test_constant_images_are_told_by_their_number(
    scans: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = (scans / "in", "-o", scans / "out", "--split", "1,0,0")
    for _ in range(2):  # a dataset that is there already says it again
        assert run(monkeypatch, *arguments, "--json") == 0
        shown = capsys.readouterr()
        assert "warning: 1 constant image or slice was left out" in shown.err
        assert "Doe" not in shown.err
        assert json.loads(shown.out)["splits"] == {"train": {"images": 3, "patients": 3}}
    assert json.loads((scans / "out" / "dataset.json").read_text())["constant_left_out"] == 1


def test_masks_go_into_the_dataset_or_are_one_line(
    scans: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = (scans / "in", "--masks", scans / "seg", "--split", "1,0,0")
    assert run(monkeypatch, *arguments, "-o", scans / "out") == 0
    assert len(list((scans / "out" / "masks").iterdir())) == 3
    capsys.readouterr()
    (scans / "seg" / "Doe_2.png").unlink()
    assert run(monkeypatch, *arguments, "-o", scans / "other") == 1
    shown = capsys.readouterr()
    assert shown.err.startswith("error: --masks")
    assert "missing: Doe_2.png" in shown.err
    assert shown.err.count("\n") == 1
    assert not (scans / "other").exists()
