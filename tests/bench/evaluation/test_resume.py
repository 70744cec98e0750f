import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from latentsr.bench import measure
from latentsr.bench.evaluation import Comparison, compare
from latentsr.data.records import Dataset
from latentsr.errors import StaleError

COMPARISON = Comparison(methods=("bicubic+projection",), metrics=("psnr", "ssim"), batch=1, device="cpu", workers=1)


@pytest.fixture
def killed(dataset: Dataset, tmp_path: Path, forked: Callable) -> Path:
    """The folder of an evaluation that was killed after two images."""
    out = tmp_path / "killed"

    def progress(done: int, total: int) -> None:
        if done >= 2:
            os.kill(os.getpid(), signal.SIGKILL)

    assert forked(lambda: compare([dataset.root], out, COMPARISON, progress=progress)) == -signal.SIGKILL
    return out


@pytest.fixture
def restored(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids that are restored from now on to be measured, once a method."""
    ids: list[str] = []
    original = measure.restored

    def counted(work, method, lr, hr, names):
        ids.extend(names)
        return original(work, method, lr, hr, names)

    monkeypatch.setattr(measure, "restored", counted)
    return ids


def test_after_a_kill_no_image_is_measured_twice_and_the_table_is_the_same(
    dataset: Dataset, tmp_path: Path, killed: Path, restored: list[str]
) -> None:
    compare([dataset.root], tmp_path / "whole", COMPARISON)
    restored.clear()
    out = killed
    assert sorted(path.name for path in out.iterdir()) == ["parts", "run.partial.json"]
    kept = len(list((out / "parts").rglob("*.npz")))
    assert 2 <= kept < 5
    told: list[tuple[int, int]] = []
    compare([dataset.root], out, COMPARISON, progress=lambda *counts: told.append(counts))
    assert len(restored) == 2 * (5 - kept)
    assert (told[0], told[-1]) == ((kept, 5), (5, 5))
    for name in ("table", "summary", "comparisons"):
        pd.testing.assert_frame_equal(
            pd.read_parquet(out / f"{name}.parquet"), pd.read_parquet(tmp_path / "whole" / f"{name}.parquet")
        )
    assert not (out / "parts").exists()
    assert not (out / "run.partial.json").exists()


def test_a_finished_evaluation_is_not_made_again(dataset: Dataset, tmp_path: Path, restored: list[str]) -> None:
    first = compare([dataset.root], tmp_path / "out", COMPARISON)
    restored.clear()
    again = compare([dataset.root], tmp_path / "out", COMPARISON)
    assert restored == []
    assert first["key"] == again["key"]
    assert list(first["tables"]) == list(again["tables"])


def test_an_interrupted_evaluation_of_something_else_is_refused(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(done: int, total: int) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compare([dataset.root], tmp_path / "out", COMPARISON, progress=stop)
    with pytest.raises(StaleError, match="holds another evaluation, of other data"):
        compare([dataset.root], tmp_path / "out", Comparison(methods=("bicubic",), device="cpu"))
    compare([dataset.root], tmp_path / "out", Comparison(methods=(), metrics=("psnr",), device="cpu"), overwrite=True)
    assert set(pd.read_parquet(tmp_path / "out" / "table.parquet")["method"]) == {"bicubic"}


def test_an_altered_sr_file_is_another_evaluation(dataset: Dataset, images: Path, tmp_path: Path) -> None:
    asked = Comparison(methods=(f"mine={images}",), metrics=("psnr",), device="cpu")
    compare([dataset.root], tmp_path / "out", asked)
    (images / "007.png").write_bytes((images / "008.png").read_bytes())
    with pytest.raises(StaleError):
        compare([dataset.root], tmp_path / "out", asked)


def test_what_follows_the_measuring_is_told_once(dataset: Dataset, tmp_path: Path) -> None:
    told: list[str] = []
    for _ in range(2):
        compare([dataset.root], tmp_path / "out", COMPARISON, stage=told.append)
    assert told == ["statistics", "pictures"]


def test_a_part_damaged_after_a_kill_is_named(dataset: Dataset, killed: Path) -> None:
    out = killed
    damaged = next((out / "parts").rglob("*.npz"))
    whole = damaged.read_bytes()
    place = whole.index(b"1.values.npy") + 170  # in the numbers: neither the name nor the header
    damaged.write_bytes(whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :])
    with pytest.raises(StaleError, match=rf"{damaged.name}: cut off or altered; remove this file"):
        compare([dataset.root], out, COMPARISON)
    assert not (out / "run.json").exists()
    damaged.unlink()
    compare([dataset.root], out, COMPARISON)
    assert (out / "run.json").exists()


def test_datasets_given_in_another_order_keep_their_values(
    tmp_path: Path, make_dataset: Callable[..., Dataset], monkeypatch: pytest.MonkeyPatch, restored: list[str]
) -> None:
    """Their images have the same ids, and the order of datasets is no part of the key."""
    roots = []
    for name in ("first", "second"):
        noise = np.random.default_rng(len(name)).integers(0, 255, (3, 16, 16), np.uint8)
        roots.append(make_dataset(tmp_path / name, noise, ["a", "b", "c"], name).root)
    asked = Comparison(methods=(), metrics=("psnr",), device="cpu", workers=0)
    compare(roots, tmp_path / "whole", asked)
    with monkeypatch.context() as stopped, pytest.raises(KeyboardInterrupt):
        stopped.setattr("latentsr.bench.evaluation._conclude", _interrupted)
        compare(roots, tmp_path / "out", asked)
    restored.clear()
    compare(roots[::-1], tmp_path / "out", asked)
    assert restored == []
    key = ["dataset", "id", "method", "metric"]
    whole, out = (
        pd.read_parquet(tmp_path / folder / "table.parquet").sort_values(key, ignore_index=True)
        for folder in ("whole", "out")
    )
    pd.testing.assert_frame_equal(out, whole)
    run = json.loads((tmp_path / "out" / "run.json").read_text())
    assert list(run["datasets"]) == ["second", "first"]


def _interrupted(*arguments: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("workers", [0, 2])
def test_workers_change_nothing(dataset: Dataset, tmp_path: Path, workers: int) -> None:
    tables = []
    for number in (1, workers):
        asked = Comparison(methods=(), metrics=("psnr", "gmsd"), batch=2, device="cpu", workers=number)
        compare([dataset.root], tmp_path / str(number), asked)
        tables.append(pd.read_parquet(tmp_path / str(number) / "table.parquet"))
    pd.testing.assert_frame_equal(*tables)
