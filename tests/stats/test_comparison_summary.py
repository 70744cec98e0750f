import numpy as np
import pandas as pd
import pytest
from scipy import stats

from latentsr.errors import InputError
from latentsr.stats.comparison import over_seeds, seed_means, seed_spread, summarise
from latentsr.stats.table import COLUMNS, check_table

IMAGES = ("a1", "a2", "b1", "c1")
PSNR = {"bicubic": (30.0, 31.0, 32.0, 20.0), "mine": (31.0, 33.0, np.inf, 24.0)}
SHARPNESS = {"bicubic": (1.0, 1.0, 2.0, 0.0), "mine": (2.0, 4.0, 1.0, 1.0), "hr": (4.0, 4.0, 4.0, 4.0)}


def rows(values: dict[str, tuple[float, ...]], metric: str, dataset: str = "set") -> list[tuple]:
    return [
        (dataset, image, image[0], method, metric, value)
        for method, column in values.items()
        for image, value in zip(IMAGES, column, strict=True)
    ]


@pytest.fixture
def table() -> pd.DataFrame:
    small = dict.fromkeys(("bicubic", "mine"), (0.9, np.nan, 0.8, 0.7))
    return pd.DataFrame(
        rows(PSNR, "psnr") + rows(SHARPNESS, "laplacian_variance") + rows(small, "ms_ssim"), columns=list(COLUMNS)
    )


def student(values: list[float]) -> tuple[float, float]:
    return tuple(stats.ttest_1samp(values, 0).confidence_interval())


def cell(summary: pd.DataFrame, method: str, metric: str) -> pd.Series:
    return summary[(summary["method"] == method) & (summary["metric"] == metric)].squeeze()


def test_one_row_a_method_and_metric(table: pd.DataFrame) -> None:
    summary = summarise(table)
    assert len(summary) == 7
    assert set(summary["images"]) == {4}
    assert set(summary["patients"]) == {3}


def test_infinities_are_left_out_of_the_mean_and_counted(table: pd.DataFrame) -> None:
    mine = cell(summarise(table), "mine", "psnr")
    assert (mine["n"], mine["infinite"], mine["missing"]) == (3, 1, 0)
    assert mine["mean"] == pytest.approx(np.mean([32, 24]))  # of patients a and c
    assert mine["sd"] == pytest.approx(np.std([32, 24], ddof=1))
    assert (mine["mean_images"], mine["sd_images"]) == pytest.approx((88 / 3, np.std([31, 33, 24], ddof=1)))


def test_images_without_value_are_counted(table: pd.DataFrame) -> None:
    mine = cell(summarise(table), "mine", "ms_ssim")
    assert (mine["n"], mine["infinite"], mine["missing"], mine["pairs"]) == (3, 0, 1, 3)
    assert mine["mean"] == pytest.approx(0.8)


def test_the_difference_is_paired_and_its_interval_is_over_patients(table: pd.DataFrame) -> None:
    mine = cell(summarise(table), "mine", "psnr")
    assert mine["pairs"] == 3
    assert mine["difference"] == pytest.approx(np.mean([1.5, 4]))
    assert (mine["low"], mine["high"]) == pytest.approx(student([1.5, 4]))


def test_the_baseline_has_no_difference_to_itself(table: pd.DataFrame) -> None:
    assert np.isnan(cell(summarise(table), "bicubic", "psnr")["difference"])


@pytest.mark.parametrize("metric", ["laplacian_variance", "blockiness"])
def test_sharpness_and_blockiness_have_a_ratio_to_hr(table: pd.DataFrame, metric: str) -> None:
    summary = summarise(table.replace("laplacian_variance", metric))
    assert cell(summary, "mine", metric)["ratio_to_hr"] == pytest.approx(5 / 12)
    assert cell(summary, "bicubic", metric)["ratio_to_hr"] == pytest.approx(0.25)
    assert cell(summary, "hr", metric)["ratio_to_hr"] == 1
    assert np.isnan(cell(summary, "mine", "psnr")["ratio_to_hr"])


def test_the_order_of_rows_and_other_datasets_change_nothing(table: pd.DataFrame) -> None:
    other = pd.DataFrame(rows({"bicubic": (1.0, 2.0, 3.0, 4.0)}, "psnr", dataset="zoo"), columns=list(COLUMNS))
    both = summarise(pd.concat([other, table.sample(frac=1, random_state=1)]))
    alone = both[both["dataset"] == "set"].reset_index(drop=True)
    pd.testing.assert_frame_equal(alone, summarise(table))


def test_a_method_without_some_images_is_refused(table: pd.DataFrame) -> None:
    with pytest.raises(InputError, match="lacks 1 images"):
        summarise(table.drop(index=0))


def test_one_image_has_no_spread_and_no_interval(table: pd.DataFrame) -> None:
    mine = cell(summarise(table[table["id"] == "a1"]), "mine", "psnr")
    assert (mine["n"], mine["mean"], mine["difference"]) == (1, 31.0, 1.0)
    assert np.isnan([mine["sd"], mine["low"], mine["high"]]).all()


def test_a_table_without_baseline_has_means_with_intervals(table: pd.DataFrame) -> None:
    summary = summarise(table[table["method"] != "bicubic"])
    assert summary[["difference", "low", "high", "pairs"]].isna().all(axis=None)
    mine = cell(summary, "mine", "laplacian_variance")
    assert (mine["mean_low"], mine["mean_high"]) == pytest.approx(student([3.0, 1.0, 1.0]))


def test_both_intervals_are_students_over_patients() -> None:
    values, patients = np.random.default_rng(0).normal(size=(2, 30)), [f"p{n // 3}" for n in range(30)]
    cells = [
        ("set", f"i{n:02d}", patients[n], method, "psnr", value)
        for method, column in zip(("bicubic", "mine"), values, strict=True)
        for n, value in enumerate(column)
    ]
    mine = cell(summarise(pd.DataFrame(cells, columns=list(COLUMNS))), "mine", "psnr")
    for column, names in ((values[1], ("mean_low", "mean_high")), (values[1] - values[0], ("low", "high"))):
        units = pd.Series(column).groupby(patients).mean()
        assert tuple(mine[name] for name in names) == pytest.approx(student(units), rel=1e-12)


def test_a_lossless_method_has_no_mean_and_says_so(table: pd.DataFrame) -> None:
    lossless = table[(table["metric"] == "psnr") & (table["method"] == "mine")].assign(value=np.inf, method="haar")
    found = cell(summarise(pd.concat([table, lossless])), "haar", "psnr")
    assert (found["n"], found["infinite"], found["pairs"]) == (0, 4, 0)
    assert np.isnan([found["mean"], found["difference"], found["mean_low"]]).all()


MEMBERS = {"mine": ("mine@0", "mine@1", "mine@7")}
OFFSETS = {"mine@0": 0.0, "mine@1": 0.3, "mine@7": -0.6}


@pytest.fixture
def seeds_table() -> pd.DataFrame:
    """Three seeds, bicubic and HR on five images of three patients."""
    rng = np.random.default_rng(0)
    rows = [
        ("set", f"i{image}", f"p{image // 2}", method, metric, rng.normal(30, 2) + OFFSETS.get(method, 0))
        for image in range(5)
        for method in ("hr", "bicubic", *OFFSETS)
        for metric in ("psnr", "mae")
    ]
    return pd.DataFrame(rows, columns=["dataset", "id", "patient", "method", "metric", "value"])


def test_each_image_has_the_mean_of_its_seeds(seeds_table: pd.DataFrame) -> None:
    pooled = check_table(over_seeds(seeds_table, MEMBERS))
    assert sorted(pooled["method"].unique()) == ["bicubic", "hr", "mine"]
    wide = seeds_table.pivot(index=["id", "metric"], columns="method", values="value")
    found = pooled[pooled["method"] == "mine"].set_index(["id", "metric"])["value"]
    pd.testing.assert_series_equal(found, wide[list(OFFSETS)].mean(axis=1), check_names=False)
    others = ["bicubic", "hr"]
    kept = pooled[pooled["method"].isin(others)].reset_index(drop=True)
    columns = ["dataset", "id", "patient", "method", "metric"]
    expected = seeds_table[seeds_table["method"].isin(others)].sort_values(columns, ignore_index=True)
    pd.testing.assert_frame_equal(kept, expected)


def test_an_image_without_a_value_under_one_seed_has_none(seeds_table: pd.DataFrame) -> None:
    chosen = (seeds_table["id"] == "i2") & (seeds_table["method"] == "mine@1") & (seeds_table["metric"] == "psnr")
    pooled = over_seeds(seeds_table.assign(value=seeds_table["value"].mask(chosen)), MEMBERS)
    own = pooled[(pooled["method"] == "mine") & (pooled["metric"] == "psnr")].set_index("id")["value"]
    assert list(own.index[own.isna()]) == ["i2"]
    infinite = over_seeds(seeds_table.assign(value=seeds_table["value"].mask(chosen, np.inf)), MEMBERS)
    assert np.isposinf(infinite["value"]).sum() == 1


def test_the_spread_is_of_the_seeds_means_over_patients(seeds_table: pd.DataFrame) -> None:
    spread = seed_spread(seed_means(seeds_table, MEMBERS), MEMBERS)
    summaries = summarise(seeds_table).set_index(["method", "metric"])
    summary = summaries["mean"]
    for row in spread.itertuples():
        means = [summary[seed, row.metric] for seed in OFFSETS]
        assert (row.seeds, row.least, row.greatest) == (3, min(means), max(means))
        by_image = [summaries["mean_images"][seed, row.metric] for seed in OFFSETS]
        assert (row.mean_images, row.sd_images) == pytest.approx((np.mean(by_image), np.std(by_image, ddof=1)))
        assert row.sd == pytest.approx(np.std(means, ddof=1))
        pooled = summarise(over_seeds(seeds_table, MEMBERS)).set_index(["method", "metric"])["mean"]
        assert row.mean == pytest.approx(pooled["mine", row.metric])


def test_seeds_without_a_finite_value_are_not_counted() -> None:
    rows = [("set", f"mine@{seed}", "fid", value) for seed, value in ((0, 2.0), (1, np.inf), (7, 3.0))]
    values = pd.DataFrame([*rows, ("set", "bicubic", "fid", 9.0)], columns=["dataset", "method", "metric", "value"])
    (row,) = seed_spread(values.assign(value_images=np.nan), MEMBERS).to_dict("records")
    assert (row["seeds"], row["mean"], row["least"], row["greatest"]) == (2, 2.5, 2.0, 3.0)
