import numpy as np
import pandas as pd
import pytest
from scipy import stats

from latentsr.stats.comparison import summarise
from latentsr.stats.regression import CEILING_COLUMNS, ceiling_lines, ceiling_points, compare_ceilings, fisher_interval
from latentsr.stats.table import COLUMNS

PATIENTS = np.repeat([f"p{n}" for n in range(6)], [1, 2, 3, 1, 2, 3])
MODELS = {"a": 28.0, "b": 31.0, "c": 34.0}  # mean ceilings
HASHES = {name: name for name in MODELS}


def tidy(datasets: tuple[str, ...], models: dict[str, float]) -> pd.DataFrame:
    rng, rows = np.random.default_rng(0), []
    for shift, dataset in enumerate(datasets):
        hard = rng.normal(size=len(PATIENTS))
        for method, mean in {"bicubic": 27.0, **models}.items():
            cells = {"psnr": 20 + 0.25 * mean + shift + hard + 0.3 * rng.normal(size=len(PATIENTS))}
            if method in models:
                cells["ceiling_psnr"] = mean + 2 * shift + 2 * hard + 0.3 * rng.normal(size=len(PATIENTS))
            for metric, column in cells.items():
                rows += [
                    (dataset, f"i{n}", p, method, metric, v)
                    for n, (p, v) in enumerate(zip(PATIENTS, column, strict=True))
                ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return tidy(("brain", "chest"), MODELS)


@pytest.fixture(scope="module")
def rows(table: pd.DataFrame) -> pd.DataFrame:
    found = compare_ceilings(table, summarise(table), HASHES)
    assert tuple(found.columns) == CEILING_COLUMNS
    return found


def row(rows: pd.DataFrame, *key: str) -> pd.Series:
    """The row of a dataset, model and method."""
    return rows.set_index(["dataset", "model", "method"]).loc[key]


def test_the_gap_is_that_of_the_patients_means_and_belongs_to_the_models_own_results(
    table: pd.DataFrame, rows: pd.DataFrame
) -> None:
    values = table[(table["dataset"] == "brain") & (table["method"] == "a")].pivot(
        index=["id", "patient"], columns="metric", values="value"
    )
    gaps = (values["ceiling_psnr"] - values["psnr"]).groupby("patient").mean()
    own, other = (
        rows.query("dataset == 'brain' and model == 'a' and method == @one").iloc[0] for one in ("a", "bicubic")
    )
    assert own["gap"] == pytest.approx(gaps.mean())
    low, high = stats.t.interval(0.95, 5, gaps.mean(), stats.sem(gaps))
    assert (own["gap_low"], own["gap_high"]) == pytest.approx((low, high))
    assert np.isnan(other["gap"])
    assert (own["n"], own["points"], own["autoencoders"]) == (6, "patients", 1)


def test_correlations_over_patients_are_those_of_their_means(table: pd.DataFrame, rows: pd.DataFrame) -> None:
    points = ceiling_points(table, HASHES)
    for method in ("b", "bicubic"):
        drawn = points.query("dataset == 'chest' and model == 'b'").groupby("method").get_group(method)
        found = row(rows, "chest", "b", method)
        expected = stats.linregress(drawn["x"], drawn["y"])
        assert (found["r"], found["slope"], found["intercept"]) == pytest.approx(
            (expected.rvalue, expected.slope, expected.intercept)
        )
        assert (found["r_low"], found["r_high"]) == pytest.approx(fisher_interval(expected.rvalue, 6))


def test_regressions_over_models_are_pooled_over_datasets(table: pd.DataFrame, rows: pd.DataFrame) -> None:
    """The study's regression: autoencoders x datasets, with Fisher's interval; on each dataset the models alone."""
    means = summarise(table).pivot(index=["dataset", "method"], columns="metric", values="mean").dropna()
    over = rows[rows["points"] == "models"].set_index("dataset")
    assert over["n"].to_dict() == {"brain": 3, "chest": 3, "": 6}
    assert (over["autoencoders"] == 3).all()
    for dataset, chosen in (("brain", means.loc[["brain"]]), ("", means)):
        expected = stats.linregress(chosen["ceiling_psnr"], chosen["psnr"])
        found = over.loc[dataset]
        assert (found["r"], found["p"], found["slope"]) == pytest.approx(
            (expected.rvalue, expected.pvalue, expected.slope)
        )
        assert found["r2"] == pytest.approx(expected.rvalue**2)
        known = fisher_interval(expected.rvalue, len(chosen))
        assert (found["r_low"], found["r_high"]) == pytest.approx(known, nan_ok=True)


def test_lines_lie_where_their_regressions_say(table: pd.DataFrame, rows: pd.DataFrame) -> None:
    lines = ceiling_lines(summarise(table), HASHES)
    assert lines["dataset"].unique().tolist() == ["brain", "chest", ""]
    for dataset, line in lines.groupby("dataset"):
        found = row(rows, dataset, "", "")
        np.testing.assert_allclose(line["centre"], found["intercept"] + found["slope"] * line["x"])
        assert (line["prediction_low"] < line["confidence_low"]).all()


def test_two_autoencoders_have_a_line_over_datasets_but_on_none_of_them() -> None:
    table = tidy(("brain", "chest", "knee"), {"a": 28.0, "b": 33.0})
    summary = summarise(table)
    rows = compare_ceilings(table, summary, HASHES)
    assert rows[rows["points"] == "models"].set_index("dataset")["r"].notna().to_dict() == {
        "brain": False, "chest": False, "knee": False, "": True,
    }  # fmt: skip
    assert ceiling_lines(summary, HASHES)["dataset"].unique().tolist() == [""]


@pytest.mark.parametrize("metric", ["psnr", "ceiling_psnr"])
def test_without_results_or_ceilings_there_is_nothing(table: pd.DataFrame, metric: str) -> None:
    rest = table[table["metric"] != metric]
    summary = summarise(rest)
    assert compare_ceilings(rest, summary, HASHES).empty
    assert ceiling_lines(summary, HASHES).empty
    assert ceiling_points(rest, HASHES).empty


def test_infinite_values_are_left_out(table: pd.DataFrame) -> None:
    changed = table.copy()
    chosen = (table["dataset"] == "brain") & (table["method"] == "a") & (table["metric"] == "psnr")
    changed.loc[chosen & (table["patient"] == "p0"), "value"] = np.inf
    found = compare_ceilings(changed, summarise(changed), HASHES)
    assert found.query("dataset == 'brain' and model == 'a'")["n"].tolist() == [5, 5]
