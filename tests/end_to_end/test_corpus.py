"""Bar 5: every file of pydicom's own test set through `enhance`: a valid output, or one clear line and no file."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
import pydicom.data
import pytest

from latentsr import cli
from latentsr.upscalers.model import SuperResolver

CORPUS = Path(pydicom.data.__file__).parent / "test_files"
SKELETONS = "TINY_ALPHA"  # fifty files without pixels, all alike: the walk takes them all, one by one a few are enough
FILES = [path for path in sorted(CORPUS.rglob("*")) if path.is_file()]
SINGLE = [path for path in FILES if SKELETONS not in path.parts or path.name in ("IM000000", "DICOMDIR", "README")]
LARGE = 256  # px: larger sides are enhanced once, in the walk, by interpolation: a network takes seconds for each


@pytest.fixture
def latentsr(
    model_folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[object]:
    """`latentsr enhance` in this process; gives status, standard output and standard error, libraries' included."""
    loaded = SuperResolver.load(model_folder, device="cpu")
    monkeypatch.setattr(SuperResolver, "load", classmethod(lambda *_, **__: loaded))  # once, not for each file

    def command(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["latentsr", "enhance", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            cli.main()
        out, err = capfd.readouterr()
        return int(left.value.code or 0), out, err

    return command


def valid(path: Path, source: Path, synthetic: str = "YES") -> None:
    """The output is a DICOM of four times the side that says what it is and may not be used for."""
    made, original = pydicom.dcmread(path), pydicom.dcmread(source, force=True)
    assert (made.Rows, made.Columns) == (4 * original.Rows, 4 * original.Columns)
    assert made.pixel_array.shape == (made.Rows, made.Columns)
    assert made.SyntheticData == synthetic
    assert "Research use only" in made.DerivationDescription
    assert "research use only" in made.SeriesDescription.lower()
    assert made.SOPInstanceUID != original.SOPInstanceUID
    assert made.StudyInstanceUID == original.StudyInstanceUID
    assert np.ptp(made.pixel_array) > 0


def left(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("source", SINGLE, ids=lambda path: path.relative_to(CORPUS).as_posix())
def test_an_output_or_one_line(latentsr: object, source: Path, tmp_path: Path) -> None:
    sides = pydicom.dcmread(source, force=True, stop_before_pixels=True)
    large = max(sides.get("Rows") or 0, sides.get("Columns") or 0) > LARGE
    status, out, err = latentsr(source, "-o", tmp_path / "out", *(["--dry-run"] if large else []))
    assert "Traceback" not in out + err
    assert "Warning" not in err
    errors = [line for line in err.splitlines() if not line.startswith("warning: ")]
    if status == 0:
        assert errors == []
        if not large:
            (made,) = left(tmp_path / "out")
            valid(made, source)
        return
    assert status == 2
    (line,) = errors
    assert line.startswith("error: ")
    assert source.name in line
    said = {f"0 of 1 done, 1 {word}. Research use only. Not for diagnosis.\n" for word in ("failed", "skipped")}
    assert out in said or (large and out.startswith("would write 0 of 1, 1 "))
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "out.run").exists()


def test_the_whole_tree_at_once(latentsr: object, tmp_path: Path) -> None:
    """One run over all, by interpolation: outputs mirror the inputs, a failure has its line, nothing else is there."""
    status, out, err = latentsr(CORPUS, "-o", tmp_path / "out", "--model", "bicubic")
    assert status == 1
    assert "Traceback" not in out + err
    record = json.loads((tmp_path / "out.run" / "run.json").read_text())["files"]
    failed = [one for one in record if one["status"] == "failed"]
    written = [one for one in record if one["status"] == "written"]
    skipped = [one for one in record if one["status"] == "skipped"]
    assert len(written) + len(failed) + len(skipped) == len(record)
    assert f"skipped  {len(skipped)} files without an image" in out
    assert len(written) >= 20
    assert [line for line in err.splitlines() if not line.startswith(("error: ", "warning: ", "enhance  "))] == []
    assert sum(line.startswith("error: ") for line in err.splitlines()) == len(failed)
    assert f"{len(written)} of {len(record)} done" in out
    named = {name for one in written for name in one["output_sha256"]}
    assert {path.relative_to(tmp_path / "out").as_posix() for path in left(tmp_path / "out")} == named
    for one in written:
        if len(one["output_sha256"]) == 1:
            valid(tmp_path / "out" / one["output"], CORPUS / one["input"], "NO")


def test_studies_of_scanner_data_are_planned_whole(latentsr: object, shared: Path, tmp_path: Path) -> None:
    """Time points, mosaics, 12 bit, enhanced objects; a README beside them is no failure."""
    status, out, _ = latentsr(shared / "dicom", "-o", tmp_path / "out", "--dry-run")
    assert status == 0
    assert "would write 23 of 27, 4 skipped" in out
    assert "failed" not in out
