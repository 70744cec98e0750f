from pathlib import Path
from typing import Any

import pytest

from latentsr.errors import InputError, LatentSRError, ModelError, OptionError
from latentsr.study.design import Design, read_design
from latentsr.study.nodes import STEPS, Node, before, nodes_of

SMOKE = Path(__file__).resolve().parents[2] / "studies" / "smoke.yaml"


def design(sources: dict[str, Path], **arms: dict[str, Any]) -> Design:
    """The smoke study with options of its arms changed, which stand for nothing then."""
    read = read_design(SMOKE, sources=sources)
    changed = {name: {**read.arms[name].model_dump(), **more} for name, more in arms.items()}
    content = read.model_dump(exclude={"stands_for"})
    return Design.model_validate({**content, "arms": {**content["arms"], **changed}})


def whole(design: Design) -> list[Node]:
    return list(before([node for last in nodes_of(design).values() for node in last]))


def test_what_is_needed_comes_first_and_each_job_once(sources: dict[str, Path]) -> None:
    nodes = whole(design(sources))
    assert len({node.key for node in nodes}) == len({node.place for node in nodes}) == len(nodes)
    for number, node in enumerate(nodes):
        assert set(node.needs) <= set(nodes[:number])
    assert {node.step for node in nodes} == set(STEPS)


def test_arms_share_what_is_equal(sources: dict[str, Path]) -> None:
    ends = nodes_of(design(sources))
    shared = set(before(ends["published"])) & set(before(ends["flow"]))
    assert sorted(node.step for node in shared) == ["encode", "prepare"]
    same = nodes_of(design(sources, flow=design(sources).arms["published"].model_dump()))
    assert same["flow"] == same["published"]


def test_a_change_of_an_arm_touches_only_what_depends_on_it(sources: dict[str, Path]) -> None:
    old = set(whole(design(sources)))
    more_steps = {**design(sources).arms["haar"].train, "steps": 5}
    changed = set(whole(design(sources, haar={"train": more_steps}))) - old
    assert sorted(node.step for node in changed) == ["measure", "measure", "train"]
    changed = set(whole(design(sources, haar={"samplings": {"mean": {"steps": 1}}}))) - old
    assert sorted(node.step for node in changed) == ["measure", "measure"]


def test_an_arm_that_refines_another_needs_its_training(sources: dict[str, Path]) -> None:
    ends = nodes_of(design(sources))
    (estimate,), (refined,) = ({node.needs[1] for node in ends[arm]} for arm in ("regression", "refined"))
    assert refined.needs == (estimate.needs[0], estimate)
    deeper = {"train": {**design(sources).arms["regression"].train, "layers": 2}}
    changed = set(whole(design(sources, regression=deeper))) - set(whole(design(sources)))
    assert sorted(node.step for node in changed) == ["measure"] * 4 + ["train"] * 2
    train = design(sources).arms["refined"].train
    for base, words, more in (
        ("published", "not trained on a, b with seed 0", {}), ("refined", "refines a model itself", {}),
        ("nowhere", "arm refined: base: model 'nowhere'", {}), ("regression", "with seed 1", {"seeds": (0, 1)}),
        ("bicubic", "base bicubic is trained in the latents of None, not of haar", {}),
    ):  # fmt: skip
        with pytest.raises(LatentSRError, match=words):
            nodes_of(design(sources, refined={"train": {**train, "base": base}, **more}))


def test_a_base_may_have_other_latents_that_lose_nothing(sources: dict[str, Path]) -> None:
    content = design(sources).model_dump(exclude={"stands_for"})
    content["autoencoders"]["cdf97"] = {"name": "cdf97"}
    content["arms"]["refined"]["autoencoder"] = "cdf97"
    (refined,) = {node.needs[1] for node in nodes_of(Design.model_validate(content))["refined"]}
    assert [need.step for need in refined.needs] == ["encode", "train"]


def test_a_change_of_a_dataset_or_an_autoencoder_goes_through_all_that_is_made_of_it(sources: dict[str, Path]) -> None:
    read = design(sources)
    content = read.model_dump()
    content["autoencoders"]["small"]["fit"]["steps"] = 5
    other = Design.model_validate(content)
    kept = {node.name for node in set(whole(other)) & set(whole(read))}
    made = {node.name for node in set(whole(other)) - set(whole(read))}
    assert "haar-a-b-seed0" in kept
    assert {"small", "adapted", "small-a-seed1", "adapted-a-seed0-on-a"} <= made  # `adapted` begins with `small`


@pytest.mark.parametrize(
    ("arm", "options", "error", "named"),
    [
        ("haar", {"train": {"step": 5}}, OptionError, "steps"),
        ("haar", {"train": {"objective": "x1"}}, OptionError, "x0"),
        ("published", {"train": {"step": 5}}, OptionError, "steps"),
        ("haar", {"samplings": {"mean": {"stesp": 5}}}, OptionError, "steps"),
        ("haar", {"measure": {"metric": ["psnr"]}}, OptionError, "metrics"),
        ("haar", {"measure": {"split": "test"}}, OptionError, "split"),
        ("shipped", {"upscaler": "latentsr-tine"}, LatentSRError, "latentsr-tiny"),
    ],
)
def test_a_wrong_option_is_named_before_any_work(
    sources: dict[str, Path], arm: str, options: dict[str, Any], error: type[Exception], named: str
) -> None:
    with pytest.raises(error, match=named) as caught:
        nodes_of(design(sources, **{arm: options}))
    assert f"arm {arm}" in str(caught.value)


def test_an_autoencoder_without_weights_is_refused_before_any_work(
    sources: dict[str, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LATENTSR_HOME", str(tmp_path))
    read = design(sources).model_dump()
    read["autoencoders"]["haar"] = {"name": "kl-f4"}
    with pytest.raises(ModelError, match="autoencoder haar: kl-f4"):
        nodes_of(Design.model_validate(read))


def test_a_source_that_is_missing_is_named() -> None:
    with pytest.raises(OptionError, match="source to a="):
        nodes_of(read_design(SMOKE))
    with pytest.raises(InputError, match=r"dataset b: .*nowhere"):
        nodes_of(read_design(SMOKE, sources={"a": SMOKE.parent, "b": Path("nowhere")}))
