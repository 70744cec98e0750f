"""`latentsr prepare folder` as it is called: what it says of images that were left out, and of masks."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from latentsr.io.raster import write_pixels


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """Three images of one patient, who must not be named, and one that is black, each with a mask."""
    rng = np.random.default_rng(0)
    for number in range(4):
        pixels = rng.integers(0, 255, (16, 16), np.uint8, endpoint=True) * np.uint8(number > 0)
        write_pixels(tmp_path / "in" / f"Doe_{number}.png", pixels)
        write_pixels(tmp_path / "seg" / f"Doe_{number}.png", np.eye(16, dtype=np.uint8))
    return tmp_path


def test_constant_images_are_told_by_their_number(scans: Path, run: Callable) -> None:
    arguments = (scans / "in", "-o", scans / "out", "--split", "1,0,0")
    for _ in range(2):  # a dataset that is there already says it again
        said = run("prepare", "folder", *arguments, "--json")
        assert said.status == 0
        assert "warning: 1 constant image or slice was left out" in said.err
        assert "Doe" not in said.err
        assert json.loads(said.out)["splits"] == {"train": {"images": 3, "patients": 3}}
    assert json.loads((scans / "out" / "dataset.json").read_text())["constant_left_out"] == 1


def test_masks_go_into_the_dataset_or_are_one_line(scans: Path, run: Callable) -> None:
    arguments = ("prepare", "folder", scans / "in", "--masks", scans / "seg", "--split", "1,0,0")
    assert run(*arguments, "-o", scans / "out").status == 0
    assert len(list((scans / "out" / "masks").iterdir())) == 3
    (scans / "seg" / "Doe_2.png").unlink()
    said = run(*arguments, "-o", scans / "other")
    assert said.status == 1
    assert said.err.startswith("error: masks in")
    assert "missing: Doe_2.png" in said.err
    assert said.err.count("\n") == 1
    assert not (scans / "other").exists()
