"""The tables of an evaluation: families of tests chosen in advance, and what has no test."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file
from torchvision.models import shufflenet_v2_x0_5

from latentsr.bench.evaluation import Comparison, compare
from latentsr.bench.evaluation_plan import plan_evaluation
from latentsr.bench.tables import MAIN, PARTS, WHOLE, directed, family_of
from latentsr.config import sha256, sha256_json
from latentsr.data.records import Dataset, write_dataset
from latentsr.errors import OptionError, StaleError
from latentsr.io.raster import read_pixels, write_pixels
from latentsr.metrics import METRICS
from latentsr.stats.comparison import PRIMARY, compare_methods, summarise
from latentsr.stats.significance import holm


@pytest.fixture(scope="module")
def folder(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished evaluation of two methods in measures of all three families."""
    out = tmp_path_factory.mktemp("tables") / "out"
    metrics = ("psnr", "haarpsi", "ssim", "gmsd", "subband_psnr", "lr_psnr", "laplacian_variance")
    compare([dataset.root], out, Comparison(methods=("bicubic+projection",), metrics=metrics, device="cpu", workers=0))
    return out


@pytest.fixture(scope="module")
def comparisons(folder: Path) -> pd.DataFrame:
    return pd.read_parquet(folder / "comparisons.parquet")


def test_the_first_family_is_fidelity_and_likeness_alone(comparisons: pd.DataFrame) -> None:
    families = comparisons.groupby("family")["metric"].agg(lambda names: sorted(set(names))).to_dict()
    assert families[PRIMARY] == ["psnr"]
    assert families[MAIN] == ["haarpsi"]
    assert families[WHOLE] == ["gmsd", "ssim"]
    assert all(name.startswith("subband_psnr/") for name in families[PARTS])
    assert set(families) == {PRIMARY, MAIN, WHOLE, PARTS}


def test_p_is_adjusted_within_each_family(comparisons: pd.DataFrame) -> None:
    for _, family in comparisons.groupby(["dataset", "unit", "family"]):
        np.testing.assert_allclose(family["p_holm"], holm(family["p"]))


def test_seed_units_and_side_of_pairs_reach_every_table(dataset: Dataset, tmp_path: Path) -> None:
    """A method minus those before it, intervals of the evaluation's own seed, both units everywhere."""
    asked = Comparison(
        methods=("bicubic+projection",), metrics=("psnr", "mean_intensity"), margins=(("psnr", 1.0),), seed=5,
        device="cpu", workers=0,
    )  # fmt: skip
    records = []  # each image twice, in patients of its own: of a few patients no seed matters
    for record in dataset.records:
        write_pixels(tmp_path / "set" / record.file, read_pixels(dataset.root / record.file))
        records += [replace(record, id=f"{record.id}{end}", patient=f"{record.id}{end}") for end in "ab"]
    compare([write_dataset(tmp_path / "set", "abdomen", records, {}).root], tmp_path / "out", asked)
    names = ("table", "summary", "comparisons", "agreement", "equivalence")
    found = {name: pd.read_parquet(tmp_path / "out" / f"{name}.parquet") for name in names}
    table, pair = found["table"], ("bicubic+projection", "bicubic")
    pd.testing.assert_frame_equal(found["summary"], summarise(table))
    tested = table[table["metric"] == "psnr"]
    options = {"pairs": [pair], "unit": "both", "families": {"psnr": MAIN}, "primary": (*pair, "psnr")}
    expected = compare_methods(tested, **options, seed=5)
    pd.testing.assert_frame_equal(found["comparisons"], expected, check_dtype=False)
    assert not expected.equals(compare_methods(tested, **options, seed=0))
    for name in ("agreement", "equivalence"):
        assert set(found[name]["unit"]) == {"patient", "image"}
    assert set(zip(found["equivalence"]["a"], found["equivalence"]["b"], strict=True)) == {pair}


def test_what_is_of_the_truth_alone_is_not_tested() -> None:
    """A ceiling is of HR and an autoencoder; no method of restoring it has one that is better."""
    of_hr = [name for one in METRICS.values() if not one.compared for name in one.names]
    assert of_hr
    assert not set(of_hr) & set(directed(METRICS.values()))


def test_the_csv_says_which_family_each_row_is_of(folder: Path) -> None:
    assert {PRIMARY, MAIN, WHOLE, PARTS} == set(pd.read_csv(folder / "comparisons.csv")["family"])


def test_agreement_with_lr_is_measured_and_not_tested(folder: Path, comparisons: pd.DataFrame) -> None:
    assert "lr_psnr" in set(pd.read_parquet(folder / "summary.parquet")["metric"])
    assert "lr_psnr" not in set(comparisons["metric"])
    assert "lr_psnr" not in directed(METRICS.values())


def test_what_has_no_better_side_is_not_tested(comparisons: pd.DataFrame) -> None:
    assert not [name for name in set(comparisons["metric"]) if METRICS[name.partition("/")[0]].better == "closer"]


def test_every_measure_belongs_to_one_family() -> None:
    names = directed(METRICS.values())
    assert {family_of(name) for name in names} == {MAIN, WHOLE, PARTS}
    assert sum(family_of(name) == MAIN for name in names) == 2


@pytest.mark.parametrize(
    ("methods", "options", "expected"),
    [
        (("a", "b"), {}, ("a", "bicubic", "psnr")),
        (("bicubic", "a"), {}, ("a", "bicubic", "psnr")),
        (("bicubic+projection", "a"), {}, ("a", "bicubic", "psnr")),
        (("bicubic+projection",), {}, ("bicubic+projection", "bicubic", "psnr")),
        (("a", "b"), {"pictured": "b"}, ("a", "bicubic", "psnr")),  # pictures decide no test
        (("a", "b"), {"pictured": "bicubic"}, ("a", "bicubic", "psnr")),
        (("a",), {"metrics": ("laplacian_variance", "intensity_bias", "lr_psnr", "ssim")}, ("a", "bicubic", "ssim")),
        (("a",), {"metrics": ("laplacian_variance", "intensity_bias", "lr_psnr")}, None),
        ((), {}, None),
        (("a", "b"), {"primary": "b:ssim"}, ("b", "bicubic", "ssim")),
        (("a", "b"), {"primary": "b,a:subband_psnr/HH1"}, ("b", "a", "subband_psnr/HH1")),
        (("a", "b"), {"primary": "bicubic,a:psnr"}, ("bicubic", "a", "psnr")),
    ],
)
def test_the_primary_comparison_is_the_one_asked_for_or_psnr_of_the_first_method(
    dataset: Dataset, images: Path, methods: tuple[str, ...], options: dict, expected: tuple[str, ...] | None
) -> None:
    given = tuple(f"{name}={images}" if len(name) == 1 else name for name in methods)
    plan = plan_evaluation([dataset.root], Comparison(methods=given, device="cpu", **options))
    assert plan.primary == expected
    assert plan.facts["primary"] == (
        None if expected is None else dict(zip(("a", "b", "metric"), expected, strict=True))
    )


def test_the_primary_comparison_decides_the_key(dataset: Dataset, images: Path) -> None:
    keys = {
        plan_evaluation([dataset.root], Comparison(methods=(f"a={images}",), device="cpu", primary=primary)).key
        for primary in (None, "a:psnr", "a:ssim")
    }
    assert len(keys) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a", "expected METHOD:MEASURE or METHOD,OTHER:MEASURE, such as a:psnr, of methods bicubic, a$"),
        (":psnr", "expected METHOD:MEASURE"), ("a,a:psnr", "expected METHOD:MEASURE"),
        ("bicubic:psnr", "expected METHOD:MEASURE"), ("a,b:psnr", "expected METHOD:MEASURE"),
        ("a:", "no test of '' here; choose from psnr, ssim$"), ("a:vif", "no test of 'vif' here; choose from psnr"),
        ("a:lr_psnr", "no test of 'lr_psnr'"), ("a:intensity_bias", "no test of 'intensity_bias'"),
    ],
)  # fmt: skip
def test_a_primary_comparison_that_cannot_be_tested_is_refused_before_the_work(
    dataset: Dataset, images: Path, text: str, message: str
) -> None:
    """Also one in a measure without a better side: it has values, and no test."""
    metrics = ("psnr", "ssim", "lr_psnr", "intensity_bias")
    with pytest.raises(OptionError, match=rf"^the option primary is '{text}': {message}"):
        plan_evaluation(
            [dataset.root], Comparison(methods=(f"a={images}",), metrics=metrics, device="cpu", primary=text)
        )


def extractor(folder: Path, seed: int) -> str:
    """A feature extractor's folder, with weights of that seed."""
    torch.manual_seed(seed)
    folder.mkdir(parents=True)
    save_file(shufflenet_v2_x0_5(weights=None).state_dict(), folder / "model.safetensors")
    (folder / "config.json").write_text('{"architecture": "shufflenet_v2_x0_5"}')
    settings = '{"size": 32, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.2, 0.2, 0.2]}'
    (folder / "preprocessor_config.json").write_text(settings)
    return str(folder)


def digest(folder: str) -> str:
    """That of the folder's files."""
    return sha256_json({path.name: sha256(path) for path in Path(folder).iterdir()})


def test_weights_are_recorded_by_their_hash_and_decide_the_key(dataset: Dataset, tmp_path: Path) -> None:
    """The same name with other weights is another evaluation: its parts must never be taken for this one's."""
    one, other = (extractor(tmp_path / f"{seed}" / "net", seed) for seed in (1, 2))
    plans = [
        plan_evaluation([dataset.root], Comparison(methods=(), metrics=("psnr",), features=name, device="cpu"))
        for name in (one, other)
    ]
    assert [plan.facts["features"] for plan in plans] == ["net", "net"]
    assert plans[0].facts["weights"] == {"features": digest(one)}
    assert plans[0].key != plans[1].key


def test_run_json_holds_the_weights(dataset: Dataset, tmp_path: Path) -> None:
    name = extractor(tmp_path / "net", 1)
    asked = Comparison(methods=(), metrics=("psnr",), features=name, device="cpu", workers=0)
    compare([dataset.root], tmp_path / "out", asked)
    assert json.loads((tmp_path / "out" / "run.json").read_text())["weights"] == {"features": digest(name)}


def test_parts_never_lie_without_the_key_that_they_were_made_under(dataset: Dataset, tmp_path: Path) -> None:
    out = tmp_path / "out"
    asked = Comparison(methods=(), metrics=("psnr",), batch=1, device="cpu", workers=0)

    def stop(done: int, total: int) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compare([dataset.root], out, asked, progress=stop)
    assert json.loads((out / "run.partial.json").read_text())["key"] == plan_evaluation([dataset.root], asked).key
    assert list((out / "parts").rglob("*.npz"))
    (out / "run.partial.json").unlink()
    with pytest.raises(StaleError, match="holds files but no evaluation"):
        compare([dataset.root], out, asked)


def test_a_measure_of_agreement_with_lr_alone_leaves_nothing_to_test(dataset: Dataset, tmp_path: Path) -> None:
    asked = Comparison(methods=("bicubic+projection",), metrics=("lr_psnr",), device="cpu", workers=0)
    compare([dataset.root], tmp_path / "out", asked)
    assert "comparisons" not in json.loads((tmp_path / "out" / "run.json").read_text())["tables"]


def test_what_is_an_autoencoders_alone_is_not_tested() -> None:
    assert not [name for name in directed(METRICS.values()) if name.startswith(("ceiling", "noise_floor"))]
