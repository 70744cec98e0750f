import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import psutil
import pytest

from latentsr.config import read_json, read_signed_json, signed, write_json
from latentsr.errors import StaleError
from latentsr.job import locked
from latentsr.study.design import read_design
from latentsr.study.nodes import Node, before, nodes_of, train_config
from latentsr.study.results import note_results, results_key, results_written, write_results
from latentsr.study.runner import DONE, FAILED, SKIPPED, Outcome, _begin_worker, done_before, run_study
from latentsr.training.trainer import silent

SMOKE = Path(__file__).resolve().parents[2] / "studies" / "smoke.yaml"

Ends = dict[str, tuple[Node, ...]]


@pytest.fixture(scope="module")
def ends(sources: dict[str, Path]) -> Ends:
    return nodes_of(read_design(SMOKE, sources=sources))


@pytest.fixture(scope="module")
def study(ends: Ends, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole smoke study, done."""
    root = tmp_path_factory.mktemp("study") / "smoke"
    outcomes = run_study(ends, root, device="cpu", progress=silent)
    assert [outcome.message for outcome in outcomes if outcome.state != DONE] == []
    return root


def table(root: Path, node: Node) -> pd.DataFrame:
    return pd.read_parquet(root / node.place / "table.parquet")


def test_every_arm_is_measured_under_all_its_samplings(study: Path, ends: Ends) -> None:
    for arm, last in read_design(SMOKE).arms.items():
        assert [node.step for node in ends[arm]] == ["measure"] * len(last.datasets) * len(last.seeds)
        wanted = {"hr", "bicubic", *(last.samplings if last.upscaler != "bicubic" else ())}
        for node in ends[arm]:
            assert set(table(study, node)["method"]) == wanted
    assert set(table(study, ends["published"][0])["metric"]) >= {"psnr", "self_psnr"}


def test_a_finished_study_does_nothing_and_keeps_what_its_jobs_took(study: Path, ends: Ends) -> None:
    assert run_study(ends, study, device="cpu", progress=silent) == []
    for node in before(ends["adapted"]):
        record = done_before(node, study)
        assert record is not None
        assert (record["key"], record["step"]) == (node.key, node.step)
        assert record["seconds"] > 0
        assert record["cpu_seconds"] > 0
        assert record["memory_mb"] > 10


def test_steps_of_an_arm_stand_for_the_epochs_of_its_preset(study: Path, ends: Ends) -> None:
    for arm, steps in (("rms-8", 3), ("published", None)):
        node = next(node for node in before(ends[arm]) if node.step == "train")
        config = train_config(node, study)
        assert (config.steps, config.epochs) == ((steps, None) if steps else (4000, 1))


def test_two_workers_killed_at_random_and_resumed_make_the_same_tables(
    study: Path, ends: Ends, sources: dict[str, Path], tmp_path: Path
) -> None:
    root, generator = tmp_path / "smoke", random.Random(time.time())
    options = [f"--source={name}={folder}" for name, folder in sources.items()]
    arguments = ["study", SMOKE, "-o", root, "--device=cpu", "--workers=2", "--only=small", *options]
    command = [sys.executable, "-c", "from latentsr.cli import main; main()", *map(str, arguments)]
    wanted = generator.randrange(1, 8)  # jobs that are begun when it is killed
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as running:
        while running.poll() is None and len(list((root / "nodes").rglob("*.json"))) < wanted:
            time.sleep(0.05)
        time.sleep(generator.random())
        workers = psutil.Process(running.pid).children(recursive=True)
        assert len(workers) >= 2
        os.kill(running.pid, signal.SIGKILL)
    until = time.monotonic() + 60
    while any(_lives(worker) for worker in workers) and time.monotonic() < until:
        time.sleep(0.05)
    assert not any(_lives(worker) for worker in workers)  # they end with it
    assert list((root / "logs" / "prepare").glob("a-*.log"))
    only = {"small": ends["small"]}
    assert run_study(only, root, device="cpu", progress=silent), f"killed after {wanted} jobs"
    for node in (node for last in only.values() for node in last):
        pd.testing.assert_frame_equal(table(root, node), table(study, node))


def _lives(process: psutil.Process) -> bool:
    """Not so once it has ended, though nobody asked for its exit code: orphans' new parent may never do so."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_worker_that_starts_after_its_runner_was_killed_ends(forked: Callable) -> None:
    def start() -> None:
        _begin_worker(1, runner=os.getpid())  # not its parent
        time.sleep(60)

    assert forked(start) == 1


def test_a_job_that_fails_leaves_the_others_running(ends: Ends, sources: dict[str, Path], tmp_path: Path) -> None:
    design = read_design(SMOKE, sources=sources)
    arms = design.model_dump()["arms"]
    arms["haar"]["train"]["crop"] = 16  # the latents are 8 px wide, which only the cache shows
    broken = nodes_of(design.model_validate({**design.model_dump(), "arms": arms, "screen": None}))
    seen: list[tuple[Outcome, int, int]] = []
    outcomes = run_study(
        {arm: broken[arm] for arm in ("haar", "bicubic")}, tmp_path / "study", device="cpu", progress=silent,
        notify=lambda *given: seen.append(given),
    )  # fmt: skip
    states = {outcome.node.name: outcome.state for outcome in outcomes}
    assert states["haar-a-b-seed0"] == FAILED
    assert (states["haar-a-b-seed0-on-a"], states["bicubic-on-a"]) == (SKIPPED, DONE)
    assert "crop 16" in next(outcome.message for outcome in outcomes if outcome.state == FAILED)
    assert [done for _, done, _ in seen] == sorted(done for _, done, _ in seen)
    again = run_study({"haar": ends["haar"]}, tmp_path / "study", device="cpu", progress=silent)
    assert {outcome.state for outcome in again} == {DONE}  # mended; what was done is kept
    assert "prepare" not in {outcome.node.step for outcome in again}


def test_an_error_of_the_disk_ends_the_study_and_the_next_run_goes_on(
    ends: Ends, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Node.run

    def full(node: Node, *given: object, **options: object) -> None:
        if node.step == "encode":
            raise OSError(28, "No space left on device")
        run(node, *given, **options)

    monkeypatch.setattr(Node, "run", full)
    with pytest.raises(OSError, match="No space"):
        run_study({"published": ends["published"]}, tmp_path / "study", progress=silent)
    encode = next(node for node in before(ends["published"]) if node.step == "encode")
    record = json.loads((tmp_path / "study" / "nodes" / f"{encode.place}.json").read_text())
    assert record["state"] == "interrupted"
    assert done_before(encode, tmp_path / "study") is None


def test_two_runners_do_not_share_a_folder(ends: Ends, tmp_path: Path) -> None:
    with locked(tmp_path / "study"), pytest.raises(StaleError, match="works here"):
        run_study(ends, tmp_path / "study", progress=silent)


def test_tables_are_made_of_the_design_and_of_what_is_done(study: Path, ends: Ends, sources: dict[str, Path]) -> None:
    design = read_design(SMOKE, sources=sources)
    keys = [results_key(design, ends, study), results_key(design, {"haar": ends["haar"]}, study)]
    keys.append(results_key(design.model_copy(update={"contrasts": {}}), ends, study))
    assert len(set(keys)) == 3
    assert keys[0] == results_key(read_design(SMOKE, sources=sources), ends, study)
    (study / "study.html").write_text("a page")
    note_results(keys[0], study)
    assert [results_written(key, study) for key in keys] == [True, False, False]
    (study / "study.html").unlink()
    assert not results_written(keys[0], study)


def test_an_altered_record_or_one_of_an_interruption_is_no_finished_job(study: Path, ends: Ends) -> None:
    node = ends["bicubic"][0]
    path = study / "nodes" / f"{node.place}.json"
    kept, record = path.read_text(), read_signed_json(path)
    path.write_text(kept.replace('"done"', '"gone"'))
    assert done_before(node, study) is None
    for change in ({"state": "interrupted"}, {"state": "failed"}, {"key": "another"}):
        write_json(path, signed({**record, **change}))
        assert done_before(node, study) is None
    path.write_text(kept)
    assert done_before(node, study) is not None


def test_the_command_says_what_it_does_and_when_there_is_nothing_to_do(
    study: Path, sources: dict[str, Path], run: Callable
) -> None:
    options = [f"--source={name}={folder}" for name, folder in sources.items()]
    assert "study.html" in run("study", SMOKE, "-o", study, *options).out
    (study / "summary.csv").unlink()
    for dry in ([], ["--dry-run"]):
        with locked(study):  # by a runner of other arms
            assert "nothing to do: all" in run("study", SMOKE, "-o", study, *options, *dry).out
    assert not (study / "summary.csv").exists()  # nor is any table written again
    for wrong in (["--only", "harr"], ["--until", "trian"], ["--source", "a"]):
        assert run("study", SMOKE, "-o", study, *options, *wrong).status == 2


def test_the_tables_hold_every_arm_and_the_contrasts_of_its_seeds_mean(
    study: Path, ends: Ends, sources: dict[str, Path]
) -> None:
    design = read_design(SMOKE, sources=sources)
    assert write_results(design, ends, study) == []
    assert len(pd.read_csv(study / "defects.csv").query("defect == 'images-as-patients'")) == 2
    summary, seeds, contrasts = (pd.read_csv(study / f"{name}.csv") for name in ("summary", "seeds", "contrasts"))
    assert set(summary["arm"]) == set(design.arms)
    own = summary.query("arm == 'small' and method == 'mean' and metric == 'psnr'").set_index("seed")["mean"]
    both = seeds.query("arm == 'small' and method == 'mean' and metric == 'psnr'").iloc[0]
    assert (both["seeds"], both["mean"], both["sd"]) == (2, pytest.approx(own.mean()), pytest.approx(own.std()))
    row = contrasts.query("contrast == 'latent' and metric == 'psnr'").iloc[0]
    haar = summary.query("arm == 'haar' and dataset == 'a' and method == 'mean' and metric == 'psnr'")["mean"].iloc[0]
    assert row["difference"] == pytest.approx(own.mean() - haar)  # each patient has one image
    published = pd.read_csv(study / "published.csv").query("metric == 'seconds' and protocol == 'published'")
    cost = pd.read_csv(study / ends["published"][0].place / "cost.csv").set_index("method")
    took = published.set_index("method").loc["MedVAE 4_3, 100 steps"]
    assert (took["ours"], took["published"]) == (pytest.approx(cost.loc["few", "seconds"]), 0.3)
    assert set(contrasts["dataset"]) == {"a"}  # on which both arms are measured
    assert set(pd.read_csv(study / "jobs.csv")["name"]) == {node.name for node in before(sum(ends.values(), ()))}
    apart = {**ends, "small": ()}
    assert "contrast latent" in write_results(design, apart, study, asked=ends)[0]
    assert write_results(design, apart, study) == []  # which nobody asked for


def test_a_dry_run_shows_every_open_job_and_does_none(sources: dict[str, Path], run: Callable, tmp_path: Path) -> None:
    options = [f"--source={name}={folder}" for name, folder in sources.items()]
    with locked(tmp_path / "out"):  # by a runner, which a dry run leaves alone
        shown = run("study", SMOKE, "-o", tmp_path / "out", *options, "--only", "published", "--dry-run").out
    for job in ("prepare a", "encode haar-a", "train haar-a-seed0", "measure haar-a-seed0-on-a"):
        assert job in shown
    assert "4 of 4 jobs open" in shown
    assert [path.name for path in (tmp_path / "out").rglob("*")] == ["estimate.json"]


def test_until_a_step_and_only_an_arm(ends: Ends, sources: dict[str, Path], run: Callable, tmp_path: Path) -> None:
    options = [f"--source={name}={folder}" for name, folder in sources.items()]
    assert run("study", SMOKE, "-o", tmp_path, *options, "--only", "published", "--until", "encode").status == 0
    done = {node.step for node in before(ends["published"]) if done_before(node, tmp_path)}
    assert done == {"prepare", "encode"}
    assert read_json(next((tmp_path / "encode").glob("*/manifest.json")))["size"] == [32, 32]
