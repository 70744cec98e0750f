"""Files of one size restored together, read and written in threads: what one file after the other gives."""

import json
import os
import threading
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from PIL import Image

from latentsr.enhance import THREADS, Job, Outcome, enhance_files
from latentsr.errors import InputError, OptionError
from latentsr.io.raster import read_pixels
from latentsr.upscalers import Restored, Sampling, Upscaler, load_upscaler
from latentsr.workers import Workers

FILES = 11


@pytest.fixture(scope="module")
def model(model_folder: Path) -> Upscaler:
    return load_upscaler(model_folder, device="cpu")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Images of two sizes, one that is broken and one in colour among them, a text, and a volume."""
    root, random = tmp_path / "in", np.random.default_rng(0)
    (root / "sub").mkdir(parents=True)
    for number in range(FILES):
        pixels = random.integers(0, 255, (9, 14) if number % 4 else (12, 8), dtype=np.uint8)
        Image.fromarray(pixels).save(root / f"{number:02}.png")
    (root / "04.png").write_bytes((root / "04.png").read_bytes()[:60])
    Image.fromarray(random.integers(0, 255, (9, 14, 3), dtype=np.uint8)).save(root / "05.png")
    (root / "notes.txt").write_text("no image")
    nibabel.save(nibabel.Nifti1Image(random.normal(size=(9, 14, 5)), np.eye(4)), root / "sub" / "volume.nii")
    return root


def statuses(outcomes: list[Outcome]) -> dict[str, str]:
    return {outcome.input: outcome.status for outcome in outcomes}


def contents(out: Path) -> dict[str, bytes]:
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


def test_a_batch_gives_what_single_files_give_and_the_same_again(model: Upscaler, tree: Path, tmp_path: Path) -> None:
    found = {
        name: enhance_files([tree], Job(model, Sampling(steps=2, samples=2), tmp_path / name, batch=batch))
        for name, batch in (("alone", None), ("together", 3), ("again", 3))
    }
    assert statuses(found["together"]) == statuses(found["alone"])
    assert list(statuses(found["alone"]).values()).count("written") == FILES - 1
    assert [one.input for one in found["together"]] == [one.input for one in found["alone"]]
    assert contents(tmp_path / "together") == contents(tmp_path / "again")
    assert contents(tmp_path / "together").keys() == contents(tmp_path / "alone").keys()
    for one, other in zip(found["alone"], found["together"], strict=True):
        assert (one.reason, one.made_by, one.warnings) == (other.reason, other.made_by, other.warnings)
        assert one.checks.keys() == other.checks.keys()
        for path in map(Path, one.output_sha256):
            pair = tmp_path / "alone" / path, tmp_path / "together" / path
            if path.suffix == ".png":
                a, b = (read_pixels(each).astype(float) for each in pair)
                assert np.abs(a - b).max() <= 1
            elif path.suffix == ".nii":
                a, b = (nibabel.load(each).get_fdata() for each in pair)
                np.testing.assert_allclose(a, b, atol=1e-3)
    record = json.loads((tmp_path / "together.run" / "run.json").read_text())
    assert record["batch"] == 3
    assert "batch" not in json.loads((tmp_path / "alone.run" / "run.json").read_text())


def test_an_image_that_cannot_be_restored_fails_alone(
    model: Upscaler, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    restore, black = type(model).restore, tree / "02.png"
    Image.fromarray(np.eye(9, 14, dtype=np.uint8)).save(black)

    def refusing(self: Upscaler, lr: Any, **options: Any) -> Restored:
        if (lr.flatten(1).sum(dim=1) == 9).any():
            raise InputError("no network takes this")
        return restore(self, lr, **options)

    monkeypatch.setattr(type(model), "restore", refusing)
    outcomes = enhance_files([tree], Job(model, Sampling(), tmp_path / "out", batch=4))
    assert [one.input for one in outcomes if one.status == "failed"] == ["02.png", "04.png", "05.png"]
    assert [one.reason for one in outcomes if one.input == "02.png"] == ["no network takes this"]
    assert sum(one.status == "written" for one in outcomes) == FILES - 2


def test_an_interrupted_job_goes_on_and_nothing_is_made_twice(model: Upscaler, tree: Path, tmp_path: Path) -> None:
    job = Job(model, Sampling(), tmp_path / "out", batch=2)
    whole = Job(model, Sampling(), tmp_path / "whole", batch=2)
    told: list[Outcome] = []

    def interrupt(outcome: Outcome) -> None:
        told.append(outcome)
        if len(told) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        enhance_files([tree], job, finished=interrupt)
    assert not [thread for thread in threading.enumerate() if "ThreadPool" in thread.name]
    made = {path: path.stat().st_mtime_ns for path in job.out.rglob("*.png")}
    assert made
    again = enhance_files([tree], job)
    assert statuses(again) == statuses(enhance_files([tree], whole)) | {
        path.relative_to(job.out).as_posix(): "kept" for path in made
    }
    assert {path: path.stat().st_mtime_ns for path in made} == made
    assert contents(job.out).keys() == contents(whole.out).keys()
    assert not list(job.out.rglob(".*"))


def test_errors_are_heard_while_threads_read(
    tree: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Readers discard what libraries print on standard error, where failures are told."""
    bicubic = load_upscaler("bicubic")
    for number in range(60):
        (tree / f"{number}.png").write_bytes((tree / "00.png").read_bytes())

    def say(outcome: Outcome) -> None:
        os.write(2, b"heard\n")

    outcomes = enhance_files([tree], Job(bicubic, Sampling(), tmp_path / "out", batch=2), finished=say)
    assert capfd.readouterr().err.count("heard") == len(outcomes)


def test_no_thread_reads_or_writes_unless_it_is_asked_for(model: Upscaler, tree: Path, tmp_path: Path) -> None:
    def others(outcome: Outcome) -> None:
        seen.append(sum("ThreadPool" in thread.name for thread in threading.enumerate()))

    for number, batch in enumerate((None, 1, 2)):
        seen: list[int] = []
        enhance_files([tree], Job(model, Sampling(), tmp_path / str(number), batch=batch), finished=others)
        assert (max(seen) > 0) == (batch == 2)
        assert max(seen) <= THREADS


def test_a_worker_s_batch_stands_in_the_record(tmp_path: Path) -> None:
    bicubic, image = load_upscaler("bicubic"), _image(tmp_path)
    for name, batch in (("three", 3), ("unsaid", None)):
        job = Job(bicubic, Sampling(), tmp_path / name, batch=batch, workers=Workers(1))
        enhance_files([image], job)
        assert json.loads((job.run / "run.json").read_text()).get("batch") == batch


def test_how_many_files_are_restored_together(tmp_path: Path) -> None:
    bicubic = load_upscaler("bicubic")
    assert Job(bicubic, Sampling(), tmp_path).files_together == 1
    assert Job(bicubic, Sampling(), tmp_path, batch=5).files_together == 5
    assert Job(bicubic, Sampling(), tmp_path, batch=5, workers=Workers(2)).files_together == 1
    bicubic.device = "cuda"
    assert Job(bicubic, Sampling(), tmp_path).files_together == 32
    assert Job(bicubic, Sampling(), tmp_path, dry_run=True).files_together == 1
    with pytest.raises(OptionError, match="batch is 0; expected 1 or more"):
        enhance_files([_image(tmp_path)], Job(load_upscaler("bicubic"), Sampling(), tmp_path / "out", batch=0))


def _image(folder: Path) -> Path:
    Image.fromarray(np.eye(8, dtype=np.uint8)).save(folder / "image.png")
    return folder / "image.png"
