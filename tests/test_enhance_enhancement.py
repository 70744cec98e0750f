import errno
import json
import os
import shutil
import socket
import threading
import time
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import psutil
import pydicom
import pytest
import torch
from PIL import Image
from pydicom.data import get_testdata_file

from latentsr import io
from latentsr.enhance import Job, Outcome, enhance_files
from latentsr.errors import InputError, OptionError
from latentsr.upscalers import UPSCALERS, Sampling, load_upscaler
from latentsr.upscalers.inputs import TrainedInputs
from latentsr.upscalers.model import SuperResolver
from latentsr.volume import Volume, Window
from latentsr.workers import Workers

MR = Path(get_testdata_file("MR_small.dcm", download=False))


@pytest.fixture(scope="module")
def resolver(model_folder: Path) -> SuperResolver:
    return SuperResolver.load(model_folder, device="cpu")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Two grey images and one in colour, in two folders."""
    root = tmp_path / "in"
    (root / "sub").mkdir(parents=True)
    random = np.random.default_rng(0)
    Image.fromarray(random.integers(0, 255, (9, 14), dtype=np.uint8)).save(root / "a.png")
    Image.fromarray(random.integers(0, 255, (9, 14, 3), dtype=np.uint8)).save(root / "colour.png")
    Image.fromarray(random.integers(0, 60000, (12, 7), dtype=np.uint16)).save(root / "sub" / "b.tif")
    return root


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def statuses(outcomes: list[Outcome]) -> list[str]:
    return [outcome.status for outcome in outcomes]


def job(resolver: SuperResolver, out: Path, *, sampling: Sampling = Sampling(), **options: Any) -> Job:
    return Job(resolver, sampling, out, **options)


def record(out: Path) -> list[dict]:
    return json.loads(record_of(out).read_text())["files"]


def record_of(out: Path) -> Path:
    return out.with_name(f"{out.name}.run") / "run.json"


def test_the_tree_is_mirrored_and_one_failure_does_not_end_the_rest(
    resolver: SuperResolver, tree: Path, tmp_path: Path
) -> None:
    outcomes = enhance_files([tree], job(resolver, tmp_path / "out"))
    assert statuses(outcomes) == ["written", "failed", "written"]
    assert files(tmp_path / "out") == ["a.png", "sub", "sub/b.tif"]
    assert "colour.png is a colour image" in outcomes[1].reason
    assert io.raster.read_pixels(tmp_path / "out" / "a.png").shape == (36, 56)
    assert io.raster.read_pixels(tmp_path / "out" / "sub" / "b.tif").dtype == np.uint16
    assert [one["status"] for one in record(tmp_path / "out")] == ["written", "failed", "written"]


def test_the_record_says_all_of_the_run(resolver: SuperResolver, tree: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    enhance_files([tree / "a.png"], job(resolver, out, sampling=Sampling(seed=4)))
    run = json.loads(record_of(out).read_text())
    assert {"date", "versions", "model", "model_hash", "options", "device", "note", "files"} <= run.keys()
    assert run["threads"] == torch.get_num_threads()
    assert (run["model"], run["model_hash"], run["options"]["seed"]) == ("small", resolver.hash, 4)
    assert "Research use only" in run["note"]
    (one,) = run["files"]
    assert one["seconds"] > 0
    assert len(one["input_sha256"]) == len(one["output_sha256"]["a.png"]) == 64


def test_progress_reaches_the_end_and_moves_within_a_volume(resolver: SuperResolver, tmp_path: Path) -> None:
    told: list[tuple[float, int]] = []
    nibabel.save(nibabel.Nifti1Image(np.random.default_rng(0).normal(size=(6, 5, 8)), np.eye(4)), tmp_path / "v.nii")
    enhance_files([tmp_path / "v.nii"], job(resolver, tmp_path / "out"), progress=lambda *counts: told.append(counts))
    assert told == sorted(told)
    assert {(0, 1), (0.5, 1), (1, 1)} <= set(told)


def test_existing_outputs_are_kept_and_other_ones_refused(resolver: SuperResolver, tree: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = enhance_files([tree], job(resolver, out))
    before = {name: (out / name).stat().st_mtime_ns for name in ("a.png", "sub/b.tif")}
    again = enhance_files([tree], job(resolver, out))
    assert statuses(again) == ["kept", "failed", "kept"]
    assert again[0].output_sha256 == first[0].output_sha256
    other = enhance_files([tree], job(resolver, out, sampling=Sampling(seed=1)))
    assert statuses(other) == ["failed"] * 3
    assert "made from other input, model or options: set the option overwrite" in other[0].reason
    assert {name: (out / name).stat().st_mtime_ns for name in before} == before
    made = enhance_files([tree], job(resolver, out, sampling=Sampling(seed=1), overwrite=True))
    assert statuses(made) == ["written", "failed", "written"]
    assert (out / "a.png").stat().st_mtime_ns > before["a.png"]


def test_a_refused_output_is_still_known_to_its_own_options(
    resolver: SuperResolver, tree: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    enhance_files([tree], job(resolver, out))
    first = {name: fact for name, fact in json.loads(record_of(out).read_text()).items() if name != "files"}
    for seed in (1, 2):
        enhance_files([tree], job(resolver, out, sampling=Sampling(seed=seed)))
        record = json.loads(record_of(out).read_text())
        assert record["options"]["seed"] == seed
        assert [one["made_by"] for one in record["files"] if one["status"] == "written"] == [first["made_by"]] * 2
        assert record["earlier"] == {first["made_by"]: first}
    assert statuses(enhance_files([tree], job(resolver, out))) == ["kept", "failed", "kept"]
    assert "earlier" not in json.loads(record_of(out).read_text())


def test_the_record_keeps_the_facts_of_each_earlier_run(resolver: SuperResolver, tree: Path, tmp_path: Path) -> None:
    for seed in (1, 2, 3):
        shutil.copy(tree / "a.png", tmp_path / f"{seed}.png")
        enhance_files([tmp_path / f"{seed}.png"], job(resolver, tmp_path / "out", sampling=Sampling(seed=seed)))
    record = json.loads(record_of(tmp_path / "out").read_text())
    assert {key: facts["options"]["seed"] for key, facts in record["earlier"].items()} == {
        one["made_by"]: int(Path(one["input"]).stem) for one in record["files"][1:]
    }
    assert record["options"]["seed"] == 3


def test_another_input_of_the_same_name_is_refused(resolver: SuperResolver, tree: Path, tmp_path: Path) -> None:
    enhance_files([tree / "a.png"], job(resolver, tmp_path / "out"))
    Image.fromarray(np.arange(90, dtype=np.uint8).reshape(9, 10)).save(tree / "a.png")
    (outcome,) = enhance_files([tree / "a.png"], job(resolver, tmp_path / "out"))
    assert outcome.status == "failed"
    assert "made from other input" in outcome.reason


def test_a_file_of_unknown_origin_is_never_taken_for_an_output(
    resolver: SuperResolver, tree: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(tree, out)
    outcomes = enhance_files([tree], job(resolver, out))
    assert statuses(outcomes) == ["failed"] * 3
    assert "run.json does not say who made it" in outcomes[0].reason
    assert not record_of(out).parent.exists()
    assert (out / "a.png").read_bytes() == (tree / "a.png").read_bytes()


def test_runs_share_a_folder(resolver: SuperResolver, tree: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    enhance_files([tree / "a.png"], job(resolver, out))
    enhance_files([tree / "sub" / "b.tif"], job(resolver, out, sampling=Sampling(seed=1)))
    assert {one["input"] for one in record(out)} == {"a.png", "b.tif"}
    assert statuses(enhance_files([tree / "a.png"], job(resolver, out))) == ["kept"]


def test_an_output_with_a_lost_map_is_made_again(resolver: SuperResolver, tree: Path, tmp_path: Path) -> None:
    sampling, out = Sampling(steps=2, samples=2), tmp_path / "out"
    enhance_files([tree / "a.png"], job(resolver, out, sampling=sampling))
    assert files(out) == ["a.png", "a_uncertainty.tif"]
    (out / "a_uncertainty.tif").unlink()
    assert statuses(enhance_files([tree / "a.png"], job(resolver, out, sampling=sampling))) == ["written"]
    assert files(out) == ["a.png", "a_uncertainty.tif"]


def test_a_run_that_stops_after_an_output_and_before_its_record_goes_on(
    resolver: SuperResolver, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("latentsr.enhance._hashes", stop)
        with pytest.raises(KeyboardInterrupt):
            enhance_files([tree], job(resolver, out))
    assert [one["status"] for one in record(out)] == ["begun"]
    outcomes = enhance_files([tree], job(resolver, out))
    assert statuses(outcomes) == ["kept", "failed", "written"]
    assert outcomes[0].output_sha256.keys() == {"a.png"}


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_an_output_whose_process_died_before_its_record_is_made_again(
    resolver: SuperResolver, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also over an older one, which is not taken for what lies there now."""
    out, image = tmp_path / "out", tree / "a.png"
    older, newer = Sampling(consistency=False), Sampling()
    enhance_files([image], job(resolver, out, sampling=older))
    there = (out / "a.png").stat().st_ino

    def kill() -> None:
        while (out / "a.png").stat().st_ino == there:
            time.sleep(0.001)
        for child in psutil.Process().children():
            if "spawn_main" in " ".join(child.cmdline()):
                child.kill()

    with monkeypatch.context() as patched:
        patched.setattr("latentsr.workers.TRIES", 1)
        threading.Thread(target=kill, daemon=True).start()
        over = job(resolver, out, workers=Workers(1), overwrite=True, view=True)  # the page comes later
        (lost,) = enhance_files([image], over)
    assert lost.status == "failed"
    assert "the process that worked on it died" in lost.reason
    assert [(one["status"], one["made_by"]) for one in record(out)] == [("failed", over.made_by)]
    (refused,) = enhance_files([image], job(resolver, out, sampling=older))
    assert "was made from other input, model or options" in refused.reason
    assert statuses(enhance_files([image], job(resolver, out, sampling=newer))) == ["written"]
    assert [one["status"] for one in record(out)] == ["written"]


@pytest.mark.parametrize("number", [None, 1], ids=["here", "worker"])
def test_a_file_that_a_failure_did_not_touch_stays_whose_it_was(
    resolver: SuperResolver, tree: Path, tmp_path: Path, number: int | None
) -> None:
    out, image = tmp_path / "out", tree / "a.png"
    out.mkdir()
    (out / "a.png").write_bytes(b"somebody's own")
    whole = image.read_bytes()
    image.write_bytes(whole[:60])
    workers = Workers() if number is None else Workers(number)
    (failed,) = enhance_files([image], job(resolver, out, workers=workers, overwrite=True))
    assert (failed.status, failed.made_by) == ("failed", "")
    image.write_bytes(whole)
    (refused,) = enhance_files([image], job(resolver, out))
    assert "does not say who made it" in refused.reason
    assert (out / "a.png").read_bytes() == b"somebody's own"


def test_an_older_output_is_kept_unless_a_failed_write_took_its_map(
    resolver: SuperResolver, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk fills at the image, after the map of the other options was replaced; then before it."""
    image, older, other = tree / "a.png", Sampling(steps=2, samples=2), Sampling(steps=2, samples=2, seed=1)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    for out, what in ((tmp_path / "image", "write"), (tmp_path / "map", "write_uncertainty")):
        enhance_files([image], job(resolver, out, sampling=older))
        with monkeypatch.context() as patched:
            patched.setattr(f"latentsr.enhance.io.{what}", full)
            (failed,) = enhance_files([image], job(resolver, out, sampling=other, overwrite=True))
        assert failed.status == "failed"
        (again,) = enhance_files([image], job(resolver, out, sampling=older))
        assert again.status == ("failed" if what == "write" else "kept")
        (made,) = enhance_files([image], job(resolver, out, sampling=other))
        assert made.status == ("written" if what == "write" else "failed")


def test_an_older_output_is_not_kept_as_what_an_interrupted_overwriting_began(
    resolver: SuperResolver, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, image = tmp_path / "out", tree / "a.png"
    (older,) = enhance_files([image], job(resolver, out))
    other = Sampling(consistency=False)

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("latentsr.enhance.io.write", stop)
        enhance_files([image], job(resolver, out, sampling=other, overwrite=True))
    (made,) = enhance_files([image], job(resolver, out, sampling=other))
    assert made.status == "written"
    assert made.output_sha256 != older.output_sha256


def test_a_cluster_that_is_not_reached_leaves_nothing(resolver: SuperResolver, tree: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="the extra ray is not installed")
    with socket.create_server(("127.0.0.1", 0)) as server:
        nobody = "{}:{}".format(*server.getsockname())
    with pytest.raises(OptionError, match="no cluster is reached"):
        enhance_files([tree], job(resolver, tmp_path / "out", workers=Workers(ray=nobody)))
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_a_dry_run_writes_nothing(resolver: SuperResolver, tree: Path, tmp_path: Path) -> None:
    outcomes = enhance_files([tree], job(resolver, tmp_path / "out", dry_run=True))
    assert statuses(outcomes) == ["planned", "failed", "planned"]
    assert outcomes[0].size == "1 x 9 x 14 to 1 x 36 x 56"
    assert not (tmp_path / "out").exists()


def test_nothing_is_left_where_nothing_was_made(resolver: SuperResolver, tree: Path, tmp_path: Path) -> None:
    enhance_files([tree / "colour.png"], job(resolver, tmp_path / "out" / "deep"))
    assert not (tmp_path / "out" / "deep").exists()


@pytest.mark.parametrize("suffix", [".png", ".tif"], ids=["image", "map"])
def test_a_full_disk_is_one_line_and_leaves_nothing(
    resolver: SuperResolver, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    opened = Path.open

    def full(self: Path, mode: str = "r", *arguments: object, **options: object) -> object:
        if "w" in mode and self.suffix == suffix and not self.is_relative_to(tree):
            raise OSError(errno.ENOSPC, "No space left on device", str(self))
        return opened(self, mode, *arguments, **options)

    monkeypatch.setattr(Path, "open", full)
    sampling = Sampling(steps=2, samples=2)
    (outcome,) = enhance_files([tree / "a.png"], job(resolver, tmp_path / "out", sampling=sampling))
    assert outcome.status == "failed"
    assert f"cannot write {tmp_path / 'out'}" in outcome.reason
    assert "No space left on device; free the disk" in outcome.reason
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "out.run").exists()


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        MemoryError(),
    ],
    ids=["gpu", "cpu", "numpy"],
)
def test_too_little_memory_is_the_failure_of_one_image(
    resolver: SuperResolver, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    enhancing = SuperResolver.enhancing

    def scarce(self: SuperResolver, volume: Volume, **options: object) -> object:
        if volume.pixels.shape[1] == 9:
            raise error
        return enhancing(self, volume, **options)

    monkeypatch.setattr(SuperResolver, "enhancing", scarce)
    outcomes = enhance_files([tree / "a.png", tree / "sub"], job(resolver, tmp_path / "out"))
    assert statuses(outcomes) == ["failed", "written"]
    assert "memory" in outcomes[0].reason


def test_a_fault_of_the_program_is_not_hidden(
    resolver: SuperResolver, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SuperResolver, "enhancing", lambda *_, **__: (_ for _ in ()).throw(RuntimeError("a fault")))
    with pytest.raises(RuntimeError, match="a fault"):
        enhance_files([tree / "a.png"], job(resolver, tmp_path / "out"))


@pytest.mark.parametrize("out", ["in", "in/results", "in/../in/sub"])
def test_an_output_inside_the_input_is_refused(resolver: SuperResolver, tree: Path, tmp_path: Path, out: str) -> None:
    before = files(tree)
    with pytest.raises(OptionError, match="lies inside the input"):
        enhance_files([tree], job(resolver, tmp_path / out))
    assert files(tree) == before


def test_the_input_is_never_taken_for_its_output(resolver: SuperResolver, tree: Path) -> None:
    before = (tree / "a.png").read_bytes()
    for overwrite in (False, True):
        (outcome,) = enhance_files([tree / "a.png"], job(resolver, tree, overwrite=overwrite))
        assert outcome.status == "failed"
        assert "is the source itself" in outcome.reason
    assert (tree / "a.png").read_bytes() == before
    assert not record_of(tree).parent.exists()


@pytest.mark.parametrize("name", ["a.png", "new.dcm", "new.nii.gz"])
def test_a_file_name_for_the_output_folder_is_refused(resolver: SuperResolver, tree: Path, name: str) -> None:
    with pytest.raises(OptionError, match="is the name of a file; give a folder"):
        enhance_files([tree / "sub"], job(resolver, tree / name))


def test_two_inputs_never_become_one_output(resolver: SuperResolver, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    shutil.copy(MR, tmp_path / "in" / "scan")
    shutil.copy(get_testdata_file("MR_small_RLE.dcm", download=False), tmp_path / "in" / "scan.dcm")
    for expected in (["written", "failed"], ["kept", "failed"]):
        outcomes = enhance_files([tmp_path / "in"], job(resolver, tmp_path / "out"))
        assert statuses(outcomes) == expected
        assert "scan.dcm and scan would both become scan.dcm" in outcomes[1].reason


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"files": [{}]}', '{"files": 3}'])
def test_a_foreign_record_is_an_error_on_one_line(
    resolver: SuperResolver, tree: Path, tmp_path: Path, content: str
) -> None:
    record_of(tmp_path / "out").parent.mkdir()
    record_of(tmp_path / "out").write_text(content)
    with pytest.raises(InputError, match=r"run\.json"):
        enhance_files([tree], job(resolver, tmp_path / "out"))
    assert record_of(tmp_path / "out").read_text() == content
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("sampling", "message"),
    [
        (Sampling(solver="foo"), "solver 'foo': expected one of ddpm"),
        (Sampling(solver="euler", steps=4), "does not fit a model trained on the cosine schedule"),
    ],
    ids=["unknown", "schedule"],
)
@pytest.mark.parametrize("dry_run", [False, True])
def test_an_option_that_does_not_fit_the_model_ends_the_job_at_once(
    resolver: SuperResolver, tree: Path, tmp_path: Path, sampling: Sampling, message: str, dry_run: bool
) -> None:
    with pytest.raises(OptionError, match=message):
        enhance_files([tree], job(resolver, tmp_path / "out", sampling=sampling, dry_run=dry_run))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", UPSCALERS)
def test_an_upscaler_of_the_table_enlarges_a_tree_and_says_that_it_made_nothing_up(
    name: str, tree: Path, tmp_path: Path
) -> None:
    upscaler = load_upscaler(name, scale=2)
    outcomes = enhance_files([tree / "a.png", MR], Job(upscaler, Sampling(), tmp_path / "out"))
    assert statuses(outcomes) == ["written"] * 2
    found = pydicom.dcmread(tmp_path / "out" / "MR_small.dcm")
    assert found.pixel_array.shape == (128, 128)
    assert found.SyntheticData == "NO"
    assert f"model {name} (interpolation)" in found.DerivationDescription
    expected = upscaler.enhance(tree / "a.png").volume.pixels[0]
    assert np.abs(np.asarray(Image.open(tmp_path / "out" / "a.png")) - expected.clip(0, 255)).max() <= 0.5
    again = enhance_files([tree / "a.png", MR], Job(upscaler, Sampling(), tmp_path / "out"))
    assert statuses(again) == ["kept"] * 2
    with pytest.raises(OptionError, match="draws no samples"):
        enhance_files([MR], Job(upscaler, Sampling(steps=4), tmp_path / "other"))


def test_the_degradation_that_made_the_input_decides_the_output(tree: Path, tmp_path: Path) -> None:
    names = {"plain": None, "kspace": "kspace:4", "noisy": "bicubic:4,noise:0.05"}
    made = {}
    for name, degradation in names.items():
        upscaler = load_upscaler("latentsr-tiny", degradation=degradation, device="cpu")
        outcomes = enhance_files([tree / "a.png"], Job(upscaler, Sampling(), tmp_path / name))
        assert statuses(outcomes) == ["written"]
        assert (
            json.loads((tmp_path / f"{name}.run" / "run.json").read_text())["degradation"] == upscaler.degradation.text
        )
        made[name] = np.asarray(Image.open(tmp_path / name / "a.png"))
    assert (made["kspace"] != made["plain"]).any()
    assert (made["noisy"] != made["plain"]).any()
    other = Job(load_upscaler("latentsr-tiny", device="cpu"), Sampling(), tmp_path / "kspace")
    assert statuses(enhance_files([tree / "a.png"], other)) == ["failed"]  # another degradation made what is there
    with pytest.raises(OptionError, match="scale 2: degradation kspace:4 reduces 4 times"):
        load_upscaler("latentsr-tiny", scale=2, degradation="kspace:4")


@pytest.mark.parametrize(("side", "warned"), [(31, True), (32, False), (128, False), (129, True)])
def test_sizes_far_from_the_training_images_are_warned_of(
    resolver: SuperResolver, tmp_path: Path, side: int, warned: bool
) -> None:
    Image.fromarray(np.arange(2 * side, dtype=np.uint16).reshape(2, side)).save(tmp_path / "a.png")
    (outcome,) = enhance_files([tmp_path / "a.png"], job(resolver, tmp_path / "out", dry_run=True))
    assert outcome.status == "planned"
    assert any("output size unlike training (256 px)" in warning for warning in outcome.warnings) == warned


def test_what_is_unlike_training_stands_on_the_output_too(resolver: SuperResolver, tmp_path: Path) -> None:
    resolver.inputs = TrainedInputs(spacing=(3.0, 4.0))
    text = "pixel spacing unlike training (3 to 4 mm): structures of another size in pixels"
    (outcome,) = enhance_files([MR], job(resolver, tmp_path / "out"))
    assert outcome.warnings == (text,)
    assert json.loads((tmp_path / "out.run" / "run.json").read_text())["files"][0]["warnings"] == [text]
    image = pydicom.dcmread(tmp_path / "out" / outcome.output)
    assert image.DerivationDescription.endswith(f"Research use only. Not for diagnosis. Warning: {text}.")
    resolver.inputs = None
    (plain,) = enhance_files([MR], job(resolver, tmp_path / "plain"))
    again = pydicom.dcmread(tmp_path / "plain" / plain.output)
    assert (again.SOPInstanceUID, "Warning" in again.DerivationDescription) == (image.SOPInstanceUID, False)


def test_another_modality_is_warned_of(resolver: SuperResolver, tmp_path: Path) -> None:
    ct = Path(get_testdata_file("CT_small.dcm", download=False))
    known, unknown = enhance_files([MR, ct], job(resolver, tmp_path / "out", dry_run=True))
    assert known.warnings == ()
    assert "modality CT unlike training (MR)" in unknown.warnings[0]


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """Files that cannot be enhanced, and one that can."""
    root = tmp_path / "odd"
    root.mkdir()
    random = np.random.default_rng(0)
    Image.fromarray(random.integers(0, 255, (9, 9), dtype=np.uint8)).save(root / "good.png")
    Image.fromarray(np.full((9, 9), 7, np.uint8)).save(root / "constant.png")
    Image.fromarray(np.full((1, 1), 7, np.uint8)).save(root / "one.png")
    values = random.normal(size=(8, 8, 2, 3)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(values[:, :, :, None], np.eye(4)), root / "five.nii")
    nibabel.save(nibabel.Nifti1Image(values[..., 0], np.eye(4)), root / "cut.nii.gz")
    (root / "cut.nii.gz").write_bytes((root / "cut.nii.gz").read_bytes()[:200])
    values[0] = np.nan
    nibabel.save(nibabel.Nifti1Image(values[..., 0], np.eye(4)), root / "nan.nii")
    (root / "empty.dcm").touch()
    (root / "half.dcm").write_bytes(MR.read_bytes()[:6000])
    (root / "notes.txt").write_text("not an image")
    (root / "dangling.png").symlink_to(root / "nowhere.png")
    return root


def test_every_odd_file_is_one_line_and_the_good_one_is_made(
    resolver: SuperResolver, odd: Path, tmp_path: Path
) -> None:
    outcomes = enhance_files([odd], job(resolver, tmp_path / "out"))
    assert {outcome.input: outcome.status for outcome in outcomes if outcome.status != "failed"} == {
        "good.png": "written",
        "notes.txt": "skipped",
    }
    assert len(outcomes) == len(files(odd))
    for outcome in outcomes:
        if outcome.status in ("failed", "skipped"):
            assert outcome.input in outcome.reason
            assert "\n" not in outcome.reason
            assert any(mark in outcome.reason for mark in (":", ";")), "no fix"
    assert files(tmp_path / "out") == ["good.png"]


def test_an_unreadable_file_is_one_line(
    resolver: SuperResolver, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Path.open

    def forbidden(self: Path, *arguments: object, **options: object) -> object:
        if self.name == "a.png":
            raise PermissionError(errno.EACCES, "Permission denied", str(self))
        return opened(self, *arguments, **options)

    monkeypatch.setattr(Path, "open", forbidden)
    outcomes = enhance_files([tree], job(resolver, tmp_path / "out"))
    assert statuses(outcomes) == ["failed", "failed", "written"]
    assert "a.png cannot be read (Permission denied): check its name and permissions" in outcomes[0].reason


@pytest.mark.parametrize("name", ["empty", "nowhere"])
def test_an_empty_or_missing_folder_is_an_error(resolver: SuperResolver, tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"no files in|does not exist"):
        enhance_files([tmp_path / name], job(resolver, tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_result_that_is_not_finite_is_an_error_and_never_an_image(
    resolver: SuperResolver, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Window, "invert", lambda self, unit: np.full_like(unit, np.nan))
    (outcome,) = enhance_files([tree / "a.png"], job(resolver, tmp_path / "out"))
    assert outcome.status == "failed"
    assert not (tmp_path / "out").exists()


def test_the_same_number_of_threads_gives_the_same_bytes(tree: Path, tmp_path: Path) -> None:
    """Of a network; bicubic gives them with any number."""
    model, before = load_upscaler("latentsr-tiny", device="cpu"), torch.get_num_threads()
    made: dict[str, list[bytes]] = {"network": [], "bicubic": []}
    try:
        for number, threads in enumerate((2, 2, 1)):
            torch.set_num_threads(threads)
            for name, upscaler in (("network", model), ("bicubic", load_upscaler("bicubic+projection"))):
                out = tmp_path / f"{name}{number}"
                enhance_files([tree / "sub" / "b.tif"], Job(upscaler, Sampling(), out))
                made[name].append((out / "b.tif").read_bytes())
    finally:
        torch.set_num_threads(before)
    assert made["network"][0] == made["network"][1]
    assert len(set(made["bicubic"])) == 1
