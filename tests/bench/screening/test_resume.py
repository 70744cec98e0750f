"""A screening that is interrupted, finished, or asked for in a folder that is in use."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from latentsr.autoencoders import load_autoencoder
from latentsr.bench import Candidate, Screening, plan_screening, screen
from latentsr.bench.screening import TABLES
from latentsr.data.records import Dataset
from latentsr.diffusion.denoiser import StepCost
from latentsr.errors import StaleError
from latentsr.stats.table import read_table

Made, Of = Callable[..., dict], Callable[..., list[Candidate]]


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images each batch has that is measured from now on."""
    import latentsr.bench.screening as job

    whole, counts = job.measured, []

    def noted(autoencoder: object, hr: torch.Tensor, metrics: object) -> object:
        counts.append(len(hr))
        return whole(autoencoder, hr, metrics)

    monkeypatch.setattr(job, "measured", noted)
    return counts


@pytest.mark.parametrize("place", [pytest.param(6, marks=pytest.mark.slow), 10])
def test_resume_after_sigkill_does_no_image_twice_and_gives_the_same_table(
    dataset: Dataset, tmp_path: Path, forked: Callable, place: int, made: Made, of: Of, seen: list[int]
) -> None:
    """Killed in the first autoencoder, and in the second."""
    haars, told = of(*(load_autoencoder(name) for name in ("haar", "haar-2"))), []

    def progress(*counts: int) -> None:
        told.append(counts)
        if len(told) == place:
            os.kill(os.getpid(), signal.SIGKILL)

    plan = plan_screening([dataset], haars, Screening())
    assert forked(lambda: screen(plan, tmp_path / "killed", batch=2, progress=progress)) == -signal.SIGKILL
    there = list((tmp_path / "killed" / "parts").glob("*/haar*/*.npz"))
    done_before = sum(len(np.load(path)["ids"]) for path in there)
    assert done_before
    resumed = made(dataset, haars, tmp_path / "killed")
    assert sum(seen) == 2 * len(dataset.records) - done_before
    undisturbed = made(dataset, haars, tmp_path / "undisturbed")
    for name in (name for name in TABLES if name != "cost"):  # which holds seconds
        first, second = (read_table(tmp_path / folder / f"{name}.parquet") for folder in ("killed", "undisturbed"))
        pd.testing.assert_frame_equal(first, second)
    assert resumed["verdict"] == undisturbed["verdict"]
    assert not (tmp_path / "killed" / "parts").exists()


def test_datasets_given_in_another_order_keep_their_values(
    tmp_path: Path, pooling: type, make_dataset: Callable, monkeypatch: pytest.MonkeyPatch, of: Of, seen: list[int]
) -> None:
    """Their images have the same ids, and the order of datasets is no part of the key."""
    datasets = []
    for name in ("first", "second"):
        noise = np.random.default_rng(len(name)).integers(0, 255, (3, 32, 32), np.uint8)
        datasets.append(make_dataset(tmp_path / name, noise, ["a", "b", "c"], name))
    candidates = of(pooling(2))
    told = screen(plan_screening(datasets, candidates, Screening()), tmp_path / "whole")

    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as stopped, pytest.raises(KeyboardInterrupt):
        stopped.setattr("latentsr.bench.screening.conclude", interrupted)
        screen(plan_screening(datasets, candidates, Screening()), tmp_path / "out")
    seen.clear()
    again = screen(plan_screening(datasets[::-1], candidates, Screening()), tmp_path / "out")
    assert seen == []
    first, second = (read_table(tmp_path / folder / "table.parquet") for folder in ("whole", "out"))
    pd.testing.assert_frame_equal(first, second)
    by = [{(row["dataset"], row["metric"]): row["mean"] for row in one["ceilings"]} for one in (told, again)]
    assert by[0] == by[1]


def test_a_finished_screening_is_returned_and_anything_else_is_stale(
    dataset: Dataset, pair: list[Candidate], pooling: type, tmp_path: Path, make_dataset: Callable, made: Made
) -> None:
    told = made(dataset, pair, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    assert made(dataset, pair, tmp_path, batch=4) == told
    for candidates, options in (
        (pair[:2], {}),
        (pair, {"limit": 2}),
        (pair, {"seed": 1}),
        (pair, {"metrics": ("ssim",)}),
    ):
        with pytest.raises(StaleError, match="choose another output folder, or set the option overwrite"):
            made(dataset, candidates, tmp_path, **options)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()} == before
    again = screen(plan_screening([dataset], pair[:1], Screening()), tmp_path, overwrite=True)
    assert list(again["methods"]) == ["fine"]


def test_a_cut_or_altered_table_is_stale(dataset: Dataset, pair: list[Candidate], tmp_path: Path, made: Made) -> None:
    made(dataset, pair, tmp_path)
    for name in ("table.parquet", "ceilings.csv"):
        whole = (tmp_path / name).read_bytes()
        for content in (whole[:-9], whole[:60] + bytes([whole[60] ^ 1]) + whole[61:]):
            (tmp_path / name).write_bytes(content)
            with pytest.raises(StaleError, match=f"{name}: missing, cut off or altered"):
                made(dataset, pair, tmp_path)
        (tmp_path / name).write_bytes(whole)
    made(dataset, pair, tmp_path)


def test_a_folder_of_other_things_is_refused_and_one_of_a_screening_takes_notes(
    dataset: Dataset, pooling: type, tmp_path: Path, made: Made, of: Of
) -> None:
    candidates = of(pooling(2))
    (tmp_path / "evaluation").mkdir()
    (tmp_path / "evaluation" / "table.parquet").write_bytes(b"")
    (tmp_path / "evaluation" / "run.json").write_text("{}")
    for overwrite in (False, True):
        with pytest.raises(StaleError, match="choose an output folder that is new or empty"):
            screen(plan_screening([dataset], candidates, Screening()), tmp_path / "evaluation", overwrite=overwrite)
    told = made(dataset, candidates, tmp_path / "out")
    (tmp_path / "out" / "notes.txt").write_text("mine")
    assert made(dataset, candidates, tmp_path / "out") == told


def test_times_name_their_device_and_one_set_up_only(
    dataset: Dataset, pair: list[Candidate], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: Made
) -> None:
    """Interrupted at batch 1 after one image, and gone on with at batch 2: the times are those of batch 2."""
    import latentsr.bench.screening as job

    whole, count = job.measured, []

    def interrupted(*arguments: object, **options: object) -> object:
        count.append(1)
        if len(count) == 2:
            raise KeyboardInterrupt
        return whole(*arguments, **options)

    monkeypatch.setattr(job, "measured", interrupted)
    with pytest.raises(KeyboardInterrupt):
        made(dataset, pair, tmp_path, batch=1)
    monkeypatch.undo()
    monkeypatch.setattr("latentsr.bench.roundtrip.published_step", lambda *shape: StepCost(1, 1))
    told = made(dataset, pair, tmp_path, batch=2)
    assert {(row["device"], row["threads"], row["batch"]) for row in told["cost"]} == {
        ("cpu", torch.get_num_threads(), 2)
    }


def test_a_cut_part_is_named(
    dataset: Dataset, pair: list[Candidate], tmp_path: Path, monkeypatch: object, made: Made
) -> None:
    def broken(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("latentsr.bench.screening.conclude", broken)
    with pytest.raises(KeyboardInterrupt):
        made(dataset, pair, tmp_path)
    part = next((tmp_path / "parts").rglob("*.npz"))
    part.write_bytes(part.read_bytes()[:100])
    with pytest.raises(StaleError, match="cut off or altered; remove this file"):
        made(dataset, pair, tmp_path)


def test_a_full_disk_leaves_no_half_result(
    dataset: Dataset, pair: list[Candidate], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: Made
) -> None:
    whole, count = np.savez, []

    def full(file: object, **arrays: object) -> None:
        count.append(file)
        if len(count) == 4:
            raise OSError(28, "No space left on device", str(file))
        whole(file, **arrays)

    monkeypatch.setattr("latentsr.job.np.savez", full)
    with pytest.raises(OSError, match="No space left"):
        made(dataset, pair, tmp_path)
    monkeypatch.undo()
    assert not (tmp_path / "screening.json").exists()
    assert not list(tmp_path.rglob(".*"))
    made(dataset, pair, tmp_path)
    assert (tmp_path / "screening.json").is_file()
