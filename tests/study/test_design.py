from pathlib import Path

import pytest

from latentsr.autoencoders import SPECS
from latentsr.errors import OptionError
from latentsr.study.design import read_design
from latentsr.study.nodes import nodes_of
from latentsr.study.published import MINUS, publication
from latentsr.training.autoencoder import FitVaeConfig
from latentsr.training.denoiser import TrainConfig
from latentsr.upscalers import Sampling

STUDIES = Path(__file__).resolve().parents[2] / "studies"

BASE = """
name: base
datasets:
  knees: {source: data/knees, options: {size: 64}}
  heads: {source: /heads}
autoencoders: {haar: {name: haar}}
arms:
  one: {datasets: [knees, heads], autoencoder: haar, train: {steps: 9, channels: [8, 16]}}
  two: {like: one, datasets: [knees], train: {steps: 5}}
"""


def written(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text)
    return folder / name


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return written(tmp_path, "base.yaml", BASE)


def test_an_arm_like_another_has_its_options_but_for_its_own(base: Path) -> None:
    arms = read_design(base).arms
    assert arms["two"].train == {"steps": 5, "channels": [8, 16]}
    assert (arms["two"].datasets, arms["two"].autoencoder) == (("knees",), "haar")
    assert arms["one"].train["steps"] == 9


def test_sources_lie_beside_their_file_or_where_the_command_says(base: Path, tmp_path: Path) -> None:
    assert read_design(base).datasets["knees"].source == tmp_path / "data" / "knees"
    datasets = read_design(base, sources={"knees": Path("/elsewhere")}).datasets
    assert [one.source for one in datasets.values()] == [Path("/elsewhere"), Path("/heads")]


def test_a_dataset_like_another_has_its_source(base: Path, tmp_path: Path) -> None:
    text = "inherit: base.yaml\ndatasets: {twice: {like: knees, options: {size: null}, degradation: 'bicubic:2'}}\n"
    file = written(tmp_path, "twice.yaml", text)
    twice = read_design(file).datasets["twice"]
    assert (twice.source, twice.options, twice.degradation) == (tmp_path / "data" / "knees", {}, "bicubic:2")
    assert read_design(file, sources={"knees": Path("/elsewhere")}).datasets["twice"].source == Path("/elsewhere")


def test_a_file_inherits_and_null_takes_away(base: Path, tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    text = "inherit: ../base.yaml\nname: mine\narms: {two: null, one: {train: {channels: null, crop: 8}}}\n"
    design = read_design(written(tmp_path, "inner/mine.yaml", text))
    assert (design.name, list(design.arms)) == ("mine", ["one"])
    assert design.arms["one"].train == {"steps": 9, "crop": 8}
    assert design.datasets["knees"].source == tmp_path / "data" / "knees"  # of the file that says it


def test_a_null_of_an_arms_measure_takes_away_what_the_study_has(base: Path, tmp_path: Path) -> None:
    text = "inherit: base.yaml\nmeasure: {limit: 4, primary: 'mean:psnr'}\narms: {two: {measure: {primary: null}}}\n"
    design = read_design(written(tmp_path, "mine.yaml", text), sources=dict.fromkeys(("knees", "heads"), tmp_path))
    assert "primary" not in nodes_of(design)["two"][0].options["options"]
    assert nodes_of(design)["one"][0].options["options"] == {"limit": 4, "primary": "mean:psnr"}


def test_of_several_parents_the_first_goes_before(base: Path, tmp_path: Path) -> None:
    written(tmp_path, "long.yaml", "arms: {one: {train: {steps: 99}}}\ndegradation: lanczos:4\n")
    text = "inherit: [long.yaml, base.yaml]\ndegradation: bicubic:2\n"
    design = read_design(written(tmp_path, "both.yaml", text))
    assert (design.arms["one"].train["steps"], design.degradation) == (99, "bicubic:2")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("inherit: self.yaml\n", "self.yaml"),
        ("inherit: base.yaml\narms: {two: {like: two}}\n", "two"),
        ("inherit: base.yaml\narms: {one: {like: two}}\n", "one"),
        ("inherit: base.yaml\narms: {three: {like: tow}}\n", "two"),
        ("inherit: base.yaml\ndatasets: {more: {like: knee}}\n", "knees"),
        ("inherit: base.yaml\narms: {one: {sampling: {}}}\n", "samplings"),
        ("inherit: base.yaml\narms: {one: {datasets: [knee]}}\n", "knees"),
        ("inherit: base.yaml\narms: {one: {autoencoder: harr}}\n", "haar"),
        ("inherit: base.yaml\narms: {one: {upscaler: bicubic}}\n", "either"),
        ("inherit: base.yaml\nautoencoders: {haar: {fit: {}}}\n", "either"),
        ("inherit: base.yaml\narm: {}\n", "arms"),
        ("inherit: base.yaml\ncontrasts: {gap: ['one:mean', 'two:maen']}\n", "two:mean"),
        ("inherit: base.yaml\ndatasets: {knees: {degradation: 'box:4'}}\narms: {one: {joint: true}}\n", "joint"),
        ("inherit: none.yaml\n", "none.yaml"),
        ("- a list\n", "expected"),
        ("name: [\n", "YAML"),
    ],
)
def test_a_fault_is_one_line_that_names_it(base: Path, text: str, named: str) -> None:
    with pytest.raises(OptionError, match=named) as caught:
        read_design(written(base.parent, "self.yaml", text))
    assert "\n" not in str(caught.value)


def test_a_source_of_no_dataset_is_refused(base: Path) -> None:
    with pytest.raises(OptionError, match="knees"):
        read_design(base, sources={"knee": Path("/elsewhere")})


@pytest.mark.parametrize("file", sorted(STUDIES.glob("*.yaml")), ids=lambda file: file.stem)
def test_the_options_of_every_study_that_comes_with_it_are_valid(file: Path) -> None:
    design = read_design(file)
    for arm in design.arms.values():
        for options in arm.samplings.values():
            Sampling.model_validate(options)
        TrainConfig.model_validate(arm.train)
    for autoencoder in design.autoencoders.values():
        FitVaeConfig.model_validate(autoencoder.fit or {})
        assert autoencoder.name is None or autoencoder.name in SPECS


@pytest.mark.parametrize("name", ["desk", "h200"])
def test_the_regression_of_a_study_sees_the_crops_of_its_competitor(name: str) -> None:
    arms = read_design(STUDIES / f"{name}.yaml").arms
    seen = [
        (one.crop, one.batch) for one in (TrainConfig.model_validate(arms[arm].train) for arm in ("haar", "regression"))
    ]
    assert seen[0] == seen[1]


def test_the_published_study_has_an_arm_for_each_of_its_methods() -> None:
    roles = read_design(STUDIES / "cajas2026.yaml").stands_for
    wanted = {one for output in publication().outputs.values() for name in output.values for one in name.split(MINUS)}
    without = {method for method in wanted if not roles.samplings("published", method)}
    assert without == {"MedVAE 4_3 autoencoder", "MedVAE 4_3, epsilon"}  # FID of no job; the public code has none
