"""Seeds of one method: their mean in its place, and how far they lie apart."""

import numpy as np
import pandas as pd
import pytest

from latentsr.stats.summary import over_seeds, seed_means, seed_spread, summarise
from latentsr.stats.table import check_table

MEMBERS = {"mine": ("mine@0", "mine@1", "mine@7")}
OFFSETS = {"mine@0": 0.0, "mine@1": 0.3, "mine@7": -0.6}


@pytest.fixture
def table() -> pd.DataFrame:
    """Three seeds, bicubic and HR on five images of three patients."""
    rng = np.random.default_rng(0)
    rows = [
        ("set", f"i{image}", f"p{image // 2}", method, metric, rng.normal(30, 2) + OFFSETS.get(method, 0))
        for image in range(5)
        for method in ("hr", "bicubic", *OFFSETS)
        for metric in ("psnr", "mae")
    ]
    return pd.DataFrame(rows, columns=["dataset", "id", "patient", "method", "metric", "value"])


def test_each_image_has_the_mean_of_its_seeds(table: pd.DataFrame) -> None:
    pooled = check_table(over_seeds(table, MEMBERS))
    assert sorted(pooled["method"].unique()) == ["bicubic", "hr", "mine"]
    wide = table.pivot(index=["id", "metric"], columns="method", values="value")
    found = pooled[pooled["method"] == "mine"].set_index(["id", "metric"])["value"]
    pd.testing.assert_series_equal(found, wide[list(OFFSETS)].mean(axis=1), check_names=False)
    others = ["bicubic", "hr"]
    kept = pooled[pooled["method"].isin(others)].reset_index(drop=True)
    columns = ["dataset", "id", "patient", "method", "metric"]
    expected = table[table["method"].isin(others)].sort_values(columns, ignore_index=True)
    pd.testing.assert_frame_equal(kept, expected)


def test_an_image_without_a_value_under_one_seed_has_none(table: pd.DataFrame) -> None:
    chosen = (table["id"] == "i2") & (table["method"] == "mine@1") & (table["metric"] == "psnr")
    pooled = over_seeds(table.assign(value=table["value"].mask(chosen)), MEMBERS)
    own = pooled[(pooled["method"] == "mine") & (pooled["metric"] == "psnr")].set_index("id")["value"]
    assert list(own.index[own.isna()]) == ["i2"]
    infinite = over_seeds(table.assign(value=table["value"].mask(chosen, np.inf)), MEMBERS)
    assert np.isposinf(infinite["value"]).sum() == 1


def test_the_spread_is_of_the_seeds_means_over_patients(table: pd.DataFrame) -> None:
    spread = seed_spread(seed_means(table, MEMBERS), MEMBERS)
    assert tuple(spread.columns) == ("dataset", "method", "metric", "seeds", "mean", "sd", "least", "greatest")
    summary = summarise(table).set_index(["method", "metric"])["mean"]
    for row in spread.itertuples():
        means = [summary[seed, row.metric] for seed in OFFSETS]
        assert (row.seeds, row.least, row.greatest) == (3, min(means), max(means))
        assert row.sd == pytest.approx(np.std(means, ddof=1))
        pooled = summarise(over_seeds(table, MEMBERS)).set_index(["method", "metric"])["mean"]
        assert row.mean == pytest.approx(pooled["mine", row.metric])


def test_seeds_without_a_finite_value_are_not_counted() -> None:
    rows = [("set", f"mine@{seed}", "fid", value) for seed, value in ((0, 2.0), (1, np.inf), (7, 3.0))]
    values = pd.DataFrame([*rows, ("set", "bicubic", "fid", 9.0)], columns=["dataset", "method", "metric", "value"])
    (row,) = seed_spread(values, MEMBERS).to_dict("records")
    assert (row["seeds"], row["mean"], row["least"], row["greatest"]) == (2, 2.5, 2.0, 3.0)
