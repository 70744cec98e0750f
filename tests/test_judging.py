"""`latentsr.evaluate` and `latentsr.screen` as a notebook calls them."""

import multiprocessing
import os
import re
import socket
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

import latentsr
from latentsr.autoencoders import load_autoencoder
from latentsr.data.latents import fill_cache
from latentsr.data.records import Dataset
from latentsr.degrade import parse_degradation
from latentsr.errors import OptionError
from latentsr.io.raster import write_pixels
from latentsr.stats.table import read_table
from latentsr.upscalers.model import SuperResolver
from latentsr.workers import Workers


@pytest.fixture
def dataset(tmp_path: Path, make_dataset: Callable[..., Dataset]) -> Dataset:
    rng = np.random.default_rng(0)
    images = [
        (np.kron(rng.integers(40, 200, (8, 8)), np.ones((4, 4))) + rng.integers(0, 40, (32, 32))).astype(np.uint8)
        for _ in range(4)
    ]
    return make_dataset(tmp_path / "blocks", images, ["secret-a", "secret-a", "secret-b", "secret-b"], "blocks")


@pytest.fixture
def sr(dataset: Dataset, tmp_path: Path) -> Path:
    """Images of a method, as a folder."""
    for record in dataset.records:
        pixels = dataset.image(record) * 255 + np.random.default_rng(1).normal(0, 5, (32, 32))
        write_pixels(tmp_path / "sr" / f"{record.id}.png", pixels.round().clip(0, 255).astype(np.uint8))
    return tmp_path / "sr"


def test_methods_are_compared(dataset: Dataset, sr: Path, model_folder: Path, tmp_path: Path) -> None:
    """A folder of images, a model's folder and a loaded model; all is there as tables, words and a page."""
    model = SuperResolver.load(str(model_folder), device="cpu")
    methods = {"theirs": sr, "posterior": f"{model_folder}?steps=1", "loaded": model}
    seen: list[tuple[int, int]] = []
    options = {"metrics": ["psnr"], "margins": {"psnr": 50.0}, "device": "cpu", "workers": 0}
    result = latentsr.evaluate(
        dataset, methods, tmp_path / "out", **options, progress=lambda *counts: seen.append(counts)
    )
    assert seen[-1] == (4, 4)
    means = result.table("summary").query("metric == 'psnr'").set_index("method")["mean"]
    assert list(means.index.sort_values()) == ["bicubic", "loaded", "posterior", "theirs"]
    assert means["loaded"] == pytest.approx(means["posterior"])
    assert means["theirs"] == pytest.approx(34, abs=1)
    assert result.verdict[0].startswith(
        "Primary comparison (the default, as none was named): on blocks (2 patients) theirs"
    )
    assert result.verdict[1].startswith("On blocks, ")
    assert result.report == tmp_path / "out" / "report.html"
    assert result.report.is_file()
    assert "equivalence" in result.tables
    assert not list((tmp_path / "out").rglob("*.tex"))
    options["paper"] = True
    again = latentsr.evaluate([dataset.root], methods, tmp_path / "out", **options)  # by its folder, and finished
    assert again.verdict == result.verdict
    pages = (tmp_path / "out" / "report" / "report.md").read_text(encoding="utf-8")
    assert len(list((tmp_path / "out" / "report" / "tables").glob("*.tex"))) == pages.count("**Table ")
    assert len(list((tmp_path / "out" / "report" / "figures").glob("*.pdf"))) == pages.count("**Figure ")
    assert repr(again) == (
        f"<bicubic, theirs, posterior, loaded on blocks; report in {result.report}; tables {', '.join(result.tables)}>"
    )


def test_autoencoders_are_screened(dataset: Dataset, tmp_path: Path) -> None:
    result = latentsr.screen(dataset, {"wavelets": "haar", "same": "identity"}, str(tmp_path / "out"), device="cpu")
    assert list(result.record["methods"]) == ["wavelets", "same"]
    assert result.verdict[0].startswith("Only lossless autoencoders were screened")
    assert set(result.table("ceilings")["method"]) == {"wavelets", "same"}
    assert result.report.is_file()
    with pytest.raises(latentsr.OptionError, match="table 'sets' was not written: choose from table, ceilings"):
        result.table("sets")
    assert repr(result).startswith("<wavelets, same on blocks; report in ")
    assert "secret" not in repr(result)
    assert read_table(tmp_path / "out" / "table.parquet")["method"].nunique() == 5  # HR and two baselines


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda data, out: latentsr.evaluate(data, ["bicubic"], out, pictured="foo"),
            "the option pictured is foo: no such",
        ),
        (lambda data, out: latentsr.evaluate(data, ["bicubic"], out, seed=-1), "seed is -1; expected"),
        (lambda data, out: latentsr.evaluate(data, "bicubic", out), "'bicubic' is one text: expected a mapping"),
        (lambda data, out: latentsr.evaluate(data, {"a=b": "model/"}, out), "name a=b: expected names without ="),
        (lambda data, out: latentsr.evaluate(data, {"a": "sr", "b": "nowhere"}, out), "'nowhere' is neither a folder"),
        (lambda data, out: latentsr.screen(data, ["haar"], out, metrics=["lr_psnr"]), "is no measure of a ceiling"),
        (lambda data, out: latentsr.screen(data, ["haar"], out, limit="many"), "limit is 'many'; expected"),
        (lambda data, out: latentsr.screen(data, [], out), "no autoencoder was given"),
    ],
)
def test_faults_are_one_line_that_speaks_of_no_flag(
    dataset: Dataset, sr: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Callable, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(latentsr.LatentSRError, match=message) as raised:
        call(dataset, tmp_path / "out")
    assert "\n" not in str(raised.value)
    assert not re.search(r"(^|\s)--?[a-z]", str(raised.value))
    assert not (tmp_path / "out").exists()


def test_the_names_are_functions_whatever_was_imported_before(forked: Callable) -> None:
    def work() -> None:
        import latentsr
        from latentsr.bench import measure_dataset, screen  # noqa: F401 - may take the names' place

        assert latentsr.evaluate.__module__ == latentsr.screen.__module__ == "latentsr.judging"

    assert forked(work, fresh=True) == 0


def _judged(dataset: Dataset, methods: dict[str, Path], out: Path, workers: Workers) -> None:
    """A latent cache, a screening, and an evaluation of these methods if there are any."""
    train = replace(dataset, records=tuple(replace(one, split="train") for one in dataset.records))
    haar, options = load_autoencoder("haar", device="cpu"), {"metrics": ["psnr"], "device": "cpu", "batch": 1}
    fill_cache([train], haar, parse_degradation("bicubic:4"), out / "cache", batch=1, workers=workers)
    latentsr.screen(dataset, ["haar"], out / "screening", **options, workers=workers)
    if methods:
        latentsr.evaluate(dataset, methods, out / "evaluation", **options, workers=0, cluster=workers)


@pytest.mark.skipif(os.name != "posix", reason="fork")
@pytest.mark.parametrize("ray", [None, pytest.param("local", marks=pytest.mark.cluster)], ids=["here", "ray"])
def test_several_processes_find_what_one_finds(
    dataset: Dataset, sr: Path, model_folder: Path, tmp_path: Path, ray: str | None
) -> None:
    if ray:
        pytest.importorskip("ray", reason="the extra ray is not installed")

    def work() -> None:
        if ray:
            import ray as cluster

            os.environ.setdefault("RAY_worker_niceness", "0")  # as `workers` does
            cluster.init("local", num_cpus=2, include_dashboard=False)  # one for all three jobs
        _judged(dataset, methods, tmp_path / "several", Workers(2, ray))

    methods = {"theirs": sr, "posterior": model_folder} if ray else {}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    _judged(dataset, methods, tmp_path / "one", Workers())
    torch.set_num_threads(threads)
    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    process.join()
    assert process.exitcode == 0
    one, several = (
        {path.relative_to(root).as_posix(): path for path in sorted(root.rglob("*")) if path.is_file()}
        for root in (tmp_path / "one", tmp_path / "several")
    )
    assert one.keys() == several.keys()
    values = [name for name in one if name.endswith((".npy", "table.csv", "ceilings.csv", "summary.csv"))]
    assert len(values) == 3 + 2 + 2 * len(methods) / 2
    assert [name for name in values if one[name].read_bytes() != several[name].read_bytes()] == []


def test_a_cluster_that_is_not_reached_costs_no_earlier_result(dataset: Dataset, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="the extra ray is not installed")
    options = {"metrics": ["psnr"], "device": "cpu"}
    jobs = [
        partial(latentsr.screen, dataset, ["haar"], tmp_path / "screening", **options),
        partial(latentsr.evaluate, dataset, ["bicubic"], tmp_path / "evaluation", workers=0, **options),
    ]
    with socket.create_server(("127.0.0.1", 0)) as server:
        nobody = Workers(ray="{}:{}".format(*server.getsockname()))
    for job, crew in zip(jobs, ("workers", "cluster"), strict=True):
        found = job()
        before = {path: path.stat().st_mtime_ns for path in found.report.parent.rglob("*")}
        with pytest.raises(OptionError, match="no cluster is reached"):
            job(**{"overwrite": True, crew: nobody})
        assert {path: path.stat().st_mtime_ns for path in found.report.parent.rglob("*")} == before
        assert job(**{crew: nobody}).verdict == found.verdict  # it is finished, and needs none


def test_an_evaluation_takes_processes_of_a_cluster_alone(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="by threads, or by processes of a Ray cluster: set the option ray"):
        latentsr.evaluate(dataset, ["bicubic"], tmp_path / "out", cluster=Workers(2))
