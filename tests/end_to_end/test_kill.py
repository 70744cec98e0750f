"""Bar 6: `enhance` and `encode` killed with SIGKILL and started again end with the bytes of an undisturbed run."""

import contextlib
import json
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import psutil
import pydicom
import pytest
import torch
from pydicom.data import get_testdata_file

from latentsr import cli
from latentsr.enhance import JOURNAL
from latentsr.io.raster import write_pixels

MR = get_testdata_file("MR_small.dcm", download=False)
IMAGES, SLICES = 8, 3
PATIENCE = 280  # seconds


@pytest.fixture
def latentsr(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """The command in this process, undisturbed; gives what it shows."""

    def command(*arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", ["latentsr", *map(str, arguments)])
        with contextlib.suppress(SystemExit):
            cli.main()
        out, err = capsys.readouterr()
        assert "error" not in err
        return out

    return command


def start(*arguments: object) -> BaseProcess:
    """The command in its own process, to be killed; a fork, which has torch already."""

    def work() -> None:
        sys.argv = ["latentsr", *map(str, arguments)]
        cli.main()

    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    return process


def kill_when(ready: Callable[[], bool], process: BaseProcess) -> bool:
    """Whether the process was still at work when it was killed, as soon as `ready`."""
    end = time.monotonic() + PATIENCE
    while process.is_alive() and not ready():
        assert time.monotonic() < end, "it never came so far"
        time.sleep(0.002)
    process.kill()
    process.join()
    return process.exitcode == -signal.SIGKILL


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Single images in two kinds, and a series."""
    root = tmp_path_factory.mktemp("scans")
    random = np.random.default_rng(0)
    for n in range(IMAGES):
        write_pixels(root / "png" / f"{n}.png", random.integers(0, 255, (48, 40), dtype=np.uint8))
    (root / "series").mkdir()
    for n in range(SLICES):
        image = pydicom.dcmread(MR)
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = f"{image.SOPInstanceUID}.{n + 1}"
        image.ImagePositionPatient = [0, 0, 2 * n]
        image.save_as(root / "series" / f"{n}.dcm")
    return root


@pytest.fixture
def one_thread() -> Iterator[None]:
    """This process computes with one thread, as every worker does."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def output_hashes(folder: Path) -> dict[str, str]:
    files = json.loads((folder.with_name(f"{folder.name}.run") / "run.json").read_text())["files"]
    return {name: digest for one in files for name, digest in one["output_sha256"].items()}


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
@pytest.mark.parametrize("batch", [(), ("--batch", "2")], ids=["alone", "together"])
def test_enhance_goes_on_after_sigkill(
    latentsr: Callable[..., str],
    model_folder: Path,
    scans: Path,
    tmp_path: Path,
    one_thread: None,
    batch: tuple[str, ...],
) -> None:
    out, options = tmp_path / "killed", ("--model", model_folder, "--steps", "3", *batch)
    latentsr("enhance", scans, "-o", tmp_path / "whole", *options)
    process = start("enhance", scans, "-o", out, *options)
    assert kill_when(lambda: len(list((out / "png").glob("[0-9].png"))) >= 2, process)
    made = {path: path.stat().st_mtime_ns for path in (out / "png").glob("[0-9].png")}
    said = latentsr("enhance", scans, "-o", out, *options)
    assert len(made) < IMAGES
    assert said.count("kept ") == len(made)
    assert said.count("written ") == IMAGES + 1 - len(made)
    assert {path: path.stat().st_mtime_ns for path in made} == made
    assert contents(out) == contents(tmp_path / "whole")
    assert output_hashes(out) == output_hashes(tmp_path / "whole")


def at_work(driver: BaseProcess) -> list[psutil.Process]:
    """The processes that hold a model for the driver."""
    found = []
    with contextlib.suppress(psutil.Error):
        for one in psutil.Process(driver.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                words = " ".join(one.cmdline())
                found += [one] if "spawn_main" in words or words.startswith("ray::_Desk") else []
    return found


def on_record(out: Path) -> set[Path]:
    """The outputs that the journal of a killed job knows to be done, by the last whole line of each input."""
    lines: list[bytes] = []
    with contextlib.suppress(FileNotFoundError):  # not begun, or ended
        lines = (out.with_name(f"{out.name}.run") / JOURNAL).read_bytes().split(b"\n")[1:-1]
    last = {one["input"]: one for one in map(json.loads, lines)}
    return {out / one["output"] for one in last.values() if one["input_sha256"]}


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
@pytest.mark.parametrize(
    "workers", [(), pytest.param(("--ray", "local"), marks=pytest.mark.cluster)], ids=["here", "ray"]
)
def test_several_processes_go_on_after_one_of_them_or_their_driver_was_killed(
    latentsr: Callable[..., str], model_folder: Path, tmp_path: Path, one_thread: None, workers: tuple[str, ...]
) -> None:
    """Bar 6 of the issue on speed."""
    if workers:
        pytest.importorskip("ray", reason="the extra ray is not installed")
    random = np.random.default_rng(0)
    for n in range(3 * IMAGES):
        write_pixels(tmp_path / "scans" / f"{n}.png", random.integers(0, 255, (48, 40), dtype=np.uint8))
    whole, out = tmp_path / "whole", tmp_path / "killed"
    common = ("enhance", tmp_path / "scans", "--model", model_folder, "--steps", "3")
    latentsr(*common, "-o", whole)
    command = (*common, "-o", out, "--workers", "2", *workers)

    driver, dead, orphans = start(*command), list[psutil.Process](), list[psutil.Process]()

    def ready() -> bool:
        """Kills one process after the first output; whether two outputs are on record, and there is a new process."""
        orphans[:] = at_work(driver)
        if not dead and orphans and any(out.glob("[0-9]*.png")):
            dead.append(orphans[0])
            dead[0].kill()
            return False
        return bool(dead) and len(on_record(out)) >= 2 and len({*orphans} - {*dead}) == 2

    assert kill_when(ready, driver)
    assert not psutil.wait_procs(orphans, timeout=PATIENCE)[1]
    recorded = {path: path.stat().st_mtime_ns for path in on_record(out)}
    assert 2 <= len(recorded) < 3 * IMAGES
    # Not on record: two that were in work, two that had ended since the last began, that of the process killed first.
    assert len(recorded) >= len(list(out.glob("[0-9]*.png"))) - 5
    again = start(*command)
    again.join(PATIENCE)
    assert again.exitcode == 0
    assert contents(out) == contents(whole)
    assert output_hashes(out) == output_hashes(whole)
    files = json.loads((tmp_path / "killed.run" / "run.json").read_text())["files"]
    assert {out / one["output"] for one in files if one["status"] == "kept"} == set(recorded)
    assert {path: path.stat().st_mtime_ns for path in recorded} == recorded


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_encode_goes_on_after_sigkill(latentsr: Callable[..., str], tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for n in range(40):
        write_pixels(tmp_path / "images" / f"p{n}.png", random.integers(0, 255, (64, 64), dtype=np.uint8))
    latentsr("prepare", "folder", tmp_path / "images", "-o", tmp_path / "set")
    common = ("encode", tmp_path / "set", "--batch", "1", "-o")
    latentsr(*common, tmp_path / "whole")
    partial = tmp_path / "killed" / "manifest.partial.json"
    assert kill_when(partial.is_file, start(*common, tmp_path / "killed"))
    assert not (tmp_path / "killed" / "manifest.json").is_file()
    latentsr(*common, tmp_path / "killed")
    whole, resumed = contents(tmp_path / "whole"), contents(tmp_path / "killed")
    assert whole.keys() == resumed.keys()
    assert [name for name in whole if name.endswith(".npy") and whole[name] != resumed[name]] == []
    manifests = [json.loads(files["manifest.json"]) for files in (whole, resumed)]
    assert manifests[0] | {"date": "", "digest": ""} == manifests[1] | {"date": "", "digest": ""}
