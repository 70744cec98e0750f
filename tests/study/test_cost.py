import math
from pathlib import Path

import pytest
import torch
from PIL import Image

from latentsr.config import read_json, signed, write_json
from latentsr.study.cost import ESTIMATE, _Pace, _training, costs, seconds_left
from latentsr.study.design import read_design
from latentsr.study.nodes import Node, before, nodes_of
from latentsr.study.runner import record_path

SMOKE = Path(__file__).resolve().parents[2] / "studies" / "smoke.yaml"


def job(name: str, step: str = "train") -> Node:
    return Node(step, name, {"name": name})


def finish(node: Node, root: Path, seconds: float) -> None:
    """The record of a job that is done."""
    (root / node.place).mkdir(parents=True)
    write_json(root / "nodes" / f"{node.place}.json", signed({"state": "done", "key": node.key, "seconds": seconds}))


def test_the_time_left_follows_from_estimates_and_what_jobs_took(tmp_path: Path) -> None:
    jobs = [job(name) for name in "abcd"]
    assert seconds_left(jobs, tmp_path, 1) is None  # nothing is known yet
    finish(jobs[0], tmp_path, 30.0)
    assert seconds_left(jobs, tmp_path, 1) == pytest.approx(90)  # as the one before
    write_json(tmp_path / ESTIMATE, {jobs[0].key: 10.0, jobs[1].key: 20.0, jobs[2].key: 20.0})
    assert seconds_left(jobs, tmp_path, 2) == pytest.approx((3 * 20 + 3 * 20 + 30) / 2)
    assert seconds_left([*jobs, job("e", "measure")], tmp_path, 1) is None
    assert seconds_left(jobs[:1], tmp_path, 1) == 0


def test_a_training_takes_its_steps_and_validations_or_its_minutes() -> None:
    assert _training(400, None, 100, 0.01, 2.0) == pytest.approx((4 + 4 * 2, 400))
    assert _training(400, 0.1, 100, 0.01, 2.0) == pytest.approx((6, 200))
    assert _training(math.inf, 0.1, 100, 0.01, 0.0) == pytest.approx((6, 600))


def test_flops_of_an_autoencoder_follow_from_its_steps_or_epochs(sources: dict[str, Path], tmp_path: Path) -> None:
    design, found = read_design(SMOKE, sources=sources), []
    fit = design.autoencoders["small"].fit or {}
    for more in ({}, {"steps": 400}, {"epochs": 2}):
        own = design.autoencoders["small"].model_copy(update={"fit": {**fit, **more}})
        one = design.model_copy(update={"autoencoders": {**design.autoencoders, "small": own}})
        node = next(node for node in before(nodes_of(one)["small"]) if node.step == "fit-vae")
        found.append(costs([node], tmp_path, device="cpu")[node].flops)
    assert found == pytest.approx([found[0], 100 * found[0], 1.5 * found[0]])  # 4 and 400 steps, 2 of 6 / 2 images
    assert found[0] > 0


def test_an_estimate_of_a_job_that_has_begun_stays(sources: dict[str, Path], tmp_path: Path) -> None:
    prepared = list(before(nodes_of(read_design(SMOKE, sources=sources))["bicubic"]))[::2]
    write_json(tmp_path / ESTIMATE, {node.key: 1000.0 for node in prepared})
    write_json(record_path(prepared[0], tmp_path), signed({"state": "begun"}))
    costs(prepared, tmp_path, device="cpu")
    begun, waiting = (read_json(tmp_path / ESTIMATE)[node.key] for node in prepared)
    assert (begun, waiting < 1000) == (1000, True)


def test_a_gpu_is_timed_when_it_is_warm_and_has_done_its_work(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ran: list[tuple[str, str]] = []
    monkeypatch.setattr(Node, "run", lambda node, root, *, device, **_: ran.append((node.step, device)))
    for device in ("cpu", "cuda"):
        pace = _Pace(tmp_path, tmp_path, device)
        for _ in range(2):
            pace._run(job("few", "measure"))
            pace._run(job("few", "train"))
    assert ran == [("measure", "cpu"), ("train", "cpu"), *[("measure", "cuda")] * 2, ("train", "cuda")]

    class Queued(torch.Tensor):
        def item(self) -> float:
            seen.append("wait")
            return super().item()

    def work() -> torch.Tensor:
        seen.append("begin")
        return torch.zeros(1).as_subclass(Queued)

    seen: list[str] = []
    monkeypatch.setattr("time.monotonic", lambda: seen.append("clock") or 0.0)
    pace._seconds(work)
    assert seen == ["begin", "wait", "clock"] * 2


def test_images_are_read_as_they_are_prepared(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for number in range(6):
        Image.effect_noise((40, 32), 50).convert("RGB").save(tmp_path / "images" / f"{number}.png")
    facts = {"name": "n", "recipe": "folder", "source": str(tmp_path / "images")}
    node = Node("prepare", "n", {**facts, "options": {"split": [0.5, 0.5, 0], "grey": True}})
    assert costs([node], tmp_path / "study", device="cpu")[node].disk == 2 * 32 * 40 * 6
