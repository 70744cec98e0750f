import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from latentsr.io.raster import write_pixels


@pytest.fixture
def dataset(tmp_path: Path, make_dataset: Callable) -> Path:
    noise = [np.random.default_rng(number).integers(0, 255, (32, 40), np.uint8) for number in range(3)]
    return make_dataset(tmp_path / "data", noise, [f"patient-{number}" for number in range(3)]).root


def test_the_command_writes_a_page_and_says_the_verdict(dataset: Path, run: Callable, tmp_path: Path) -> None:
    """And a finished screening gets its tables and figures for a paper."""
    asked = ("screen", dataset, "--vae", "haar", "--vae", "id=identity", "-o", tmp_path / "out", "--device", "cpu")
    said = run(*asked)
    assert said.status == 0, said.err
    assert "Only lossless autoencoders were screened" in said.out
    assert "Research use only" in said.out
    assert "patient-" not in said.out + said.err
    assert (tmp_path / "out" / "screening.html").is_file()
    report = tmp_path / "out" / "report"
    assert {path.suffix for path in report.rglob("*.*")} == {".md", ".svg", ".png"}
    told = json.loads(run(*asked, "--paper", "--json").out)
    assert list(told["methods"]) == ["haar", "id"]
    assert told["page"].endswith("screening.html")
    pages = (report / "report.md").read_text(encoding="utf-8")
    assert len(list(report.glob("tables/*.tex"))) == pages.count("**Table ")
    assert len(list(report.glob("figures/*.pdf"))) == pages.count("**Figure ")
    assert run(*asked, "--limit", "2", "--overwrite").status == 0
    assert not list(report.rglob("*.tex"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--vae", "harr"], "did you mean haar?"),
        (["--vae", "haar", "--split", "test"], "no images in split 'test'"),
        (["--vae", "haar", "--limit", "0"], "limit is 0; expected"),
        (["--vae", "haar", "--metric", "pnsr"], "metric 'pnsr' is unknown"),
        (["--vae", "taesd"], "its weights are not on this machine"),
        (["--vae", "haar", "--weights", "haar=x.bin"], "haar: takes neither weights"),
    ],
)
def test_a_fault_is_one_line(
    dataset: Path, run: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "empty"))
    said = run("screen", dataset, *arguments, "-o", tmp_path / "out", "--device", "cpu")
    assert said.status == 2
    assert message in said.err
    assert said.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_no_dataset_is_one_line(run: Callable, tmp_path: Path) -> None:
    said = run("screen", tmp_path, "--vae", "haar", "-o", tmp_path / "out")
    assert said.status == 2
    assert "no dataset.json" in said.err


def test_changed_images_and_a_folder_in_use_are_one_line(dataset: Path, run: Callable, tmp_path: Path) -> None:
    asked = ("screen", dataset, "--vae", "haar", "--device", "cpu", "-o")
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "Doe.png").write_bytes(b"")
    said = run(*asked, tmp_path / "used")
    assert (said.status, said.err.count("\n")) == (2, 1)
    assert "holds files but no screening" in said.err
    assert "Doe" not in said.err
    write_pixels(dataset / "images" / "001.png", np.zeros((32, 40), np.uint8))
    said = run(*asked, tmp_path / "out")
    assert (said.status, said.err.count("\n")) == (2, 1)
    assert "1 of 3 image files are missing or changed since they were prepared" in said.err
    assert "001.png" not in said.err
