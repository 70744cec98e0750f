from pathlib import Path

import pytest

from latentsr.config import signed, write_json
from latentsr.study.cost import ESTIMATE, costs, seconds_left
from latentsr.study.design import read_design
from latentsr.study.nodes import Node, before, nodes_of

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


def test_an_estimate_counts_steps_validations_and_flops(sources: dict[str, Path], tmp_path: Path) -> None:
    design = read_design(SMOKE, sources=sources)
    longer = design.autoencoders["small"].model_copy(
        update={"fit": {**(design.autoencoders["small"].fit or {}), "steps": 400, "validate_every": 100}}
    )
    often = longer.model_copy(update={"fit": {**(longer.fit or {}), "validate_every": 1}})
    found = []
    for fit in (design.autoencoders["small"], longer, often):
        one = design.model_copy(update={"autoencoders": {**design.autoencoders, "small": fit}})
        node = next(node for node in before(nodes_of(one)["small"]) if node.step == "fit-vae")
        found.append(costs([node], tmp_path, device="cpu")[node])
    short, long, slow = found
    assert long.flops == pytest.approx(100 * short.flops)  # 4 and 400 steps
    assert short.flops > 0
    assert long.seconds > short.seconds
    assert slow.seconds > long.seconds + 1  # 400 validations of 6 images, 4 of them before
    assert slow.flops == long.flops
