import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.proportion import proportion_effectsize

from latentsr.errors import InputError, OptionError
from latentsr.stats.comparison import (
    COMPARISON_COLUMNS,
    PRIMARY,
    SUBGROUP_COLUMNS,
    compare_methods,
    compare_subgroups,
    effect_sizes,
    interaction,
    overlapping_t,
)
from latentsr.stats.intervals import cluster_intervals
from latentsr.stats.paired import cohen_d, dz_interval, wilcoxon
from latentsr.stats.significance import FEWEST, detectable, holm, turned
from latentsr.stats.table import COLUMNS, short_hash

PATIENTS = np.repeat([f"p{n:02d}" for n in range(12)], [1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6])
METRICS = ("psnr", "ssim")
PAIRS = [("mine", "bicubic"), ("yours", "bicubic"), ("yours", "mine")]
BASELINE = PAIRS[:2]


def tidy(values: dict[tuple[str, str], np.ndarray], patients: np.ndarray, dataset: str = "set") -> pd.DataFrame:
    images = [f"i{n:03d}" for n in range(len(patients))]
    methods, metrics = zip(*values, strict=True)
    rows = {"id": np.tile(images, len(values)), "patient": np.tile(patients, len(values))}
    rows |= {"method": np.repeat(methods, len(images)), "metric": np.repeat(metrics, len(images))}
    return pd.DataFrame({"dataset": dataset, **rows, "value": np.concatenate(list(values.values()))})[list(COLUMNS)]


@pytest.fixture
def values() -> dict[tuple[str, str], np.ndarray]:
    rng = np.random.default_rng(1)
    shift = {"bicubic": 0.0, "mine": 1.0, "yours": 0.3}
    return {(m, metric): 30 + shift[m] + rng.normal(size=len(PATIENTS)) for m in shift for metric in METRICS}


@pytest.fixture
def table(values: dict[tuple[str, str], np.ndarray]) -> pd.DataFrame:
    return tidy(values, PATIENTS)


def row(comparison: pd.DataFrame, **chosen: str) -> pd.Series:
    mask = np.logical_and.reduce([comparison[name] == value for name, value in chosen.items()])
    (found,) = (one for _, one in comparison[mask].iterrows())
    return found


def test_one_row_a_metric_pair_and_unit(table: pd.DataFrame) -> None:
    compared = compare_methods(table, pairs=PAIRS, unit="both", draws=100)
    assert tuple(compared.columns) == COMPARISON_COLUMNS
    assert len(compared) == 2 * 3 * 2
    assert set(zip(compared["a"], compared["b"], strict=True)) == set(PAIRS)
    assert set(compared["images"]) == {len(PATIENTS)}
    assert set(compared["patients"]) == {12}


def test_by_image_each_image_counts(table: pd.DataFrame, values: dict[tuple[str, str], np.ndarray]) -> None:
    found = row(compare_methods(table, pairs=BASELINE, unit="image"), metric="psnr", a="mine")
    a, b = values["mine", "psnr"], values["bicubic", "psnr"]
    assert found["n"] == len(PATIENTS)
    assert found["difference"] == pytest.approx((a - b).mean())
    assert found["sd_difference"] == pytest.approx((a - b).std(ddof=1))
    assert found["p"] == pytest.approx(stats.ttest_rel(a, b).pvalue)
    assert found["p_wilcoxon"] == pytest.approx(stats.wilcoxon(a, b).pvalue)
    assert found["d"] == pytest.approx(cohen_d(a, b))
    assert found["d_z"] == pytest.approx((a - b).mean() / (a - b).std(ddof=1))
    assert (found["low"], found["high"]) == pytest.approx(tuple(stats.ttest_rel(a, b).confidence_interval()))
    scipys = stats.bootstrap((a - b,), np.mean, method="percentile", rng=1).confidence_interval
    np.testing.assert_allclose([found["image_weighted_low"], found["image_weighted_high"]], scipys, atol=0.04)


def test_by_patient_the_patients_means_count(table: pd.DataFrame, values: dict[tuple[str, str], np.ndarray]) -> None:
    found = row(compare_methods(table, pairs=BASELINE), metric="psnr", a="mine")
    a, b = (pd.Series(values[name, "psnr"]).groupby(PATIENTS).mean().to_numpy() for name in ("mine", "bicubic"))
    assert (found["unit"], found["n"]) == ("patient", 12)
    assert found["p"] == pytest.approx(stats.ttest_rel(a, b).pvalue)
    assert found["p_wilcoxon"] == pytest.approx(stats.wilcoxon(a, b).pvalue)
    assert found["d"] == pytest.approx(cohen_d(a, b))
    assert found["d_z"] == pytest.approx((a - b).mean() / (a - b).std(ddof=1))
    assert (found["mean_a"], found["mean_b"]) == pytest.approx((a.mean(), b.mean()))
    assert found["difference"] == pytest.approx((a - b).mean())
    assert (found["low"], found["high"]) == pytest.approx(tuple(stats.ttest_rel(a, b).confidence_interval()))


def test_a_patients_images_count_once_however_many_there_are(values: dict[tuple[str, str], np.ndarray]) -> None:
    """Each image of the first patients given three times: by patient nothing moves, the mean over images does."""
    once = compare_methods(tidy(values, PATIENTS), pairs=BASELINE, draws=100)
    times = np.where(PATIENTS < "p06", 3, 1)
    often = compare_methods(
        tidy({name: column.repeat(times) for name, column in values.items()}, PATIENTS.repeat(times)),
        pairs=BASELINE, draws=100,
    )  # fmt: skip
    same = ["difference", "low", "high", "p", "p_holm", "d_z", "p_wilcoxon", "loo_low", "loo_high", "detectable"]
    pd.testing.assert_frame_equal(once[same], often[same])
    assert (once["image_weighted"] - often["image_weighted"]).abs().max() > 0.05


def test_how_even_a_difference_is(table: pd.DataFrame, values: dict[tuple[str, str], np.ndarray]) -> None:
    found = row(compare_methods(table, pairs=BASELINE), metric="psnr", a="mine")
    differences = values["mine", "psnr"] - values["bicubic", "psnr"]
    units = pd.Series(differences).groupby(PATIENTS).mean().to_numpy()
    left = [np.delete(units, one).mean() for one in range(len(units))]
    assert (found["least"], found["greatest"]) == pytest.approx((units.min(), units.max()))
    assert (found["loo_low"], found["loo_high"]) == pytest.approx((min(left), max(left)))
    assert (found["units_below"], found["units_above"]) == ((units < 0).sum(), (units > 0).sum())
    assert (found["images_below"], found["images_above"]) == ((differences < 0).sum(), (differences > 0).sum())
    assert found["detectable"] == pytest.approx(detectable(12) * units.std(ddof=1))


@pytest.mark.parametrize("a", ["mine", "bicubic"])
def test_the_primary_comparison_stands_outside_all_families(
    table: pd.DataFrame, values: dict[tuple[str, str], np.ndarray], a: str
) -> None:
    """Asked for either way round; methods and measures beside it change none of its numbers, only the others'."""
    primary = (a, {"mine": "bicubic", "bicubic": "mine"}[a], "psnr")
    alone = compare_methods(table[table["method"] != "yours"], pairs=PAIRS[:1], primary=primary, draws=50)
    junk = {("junk", metric): np.random.default_rng(5).normal(10, 9, size=len(PATIENTS)) for metric in METRICS}
    beside = compare_methods(tidy(values | junk, PATIENTS), pairs=[*PAIRS, ("mine", "junk")], primary=primary, draws=50)
    first, second = (row(one, family=PRIMARY) for one in (alone, beside))
    assert {first["a"], first["b"]} == {"mine", "bicubic"}
    assert first["metric"] == "psnr"
    pd.testing.assert_series_equal(first, second, check_names=False)
    assert first["p_holm"] == first["p"]
    others = beside[beside["family"] != PRIMARY]
    assert len(others) == len(beside) - 1
    np.testing.assert_allclose(others["p_holm"], holm(others["p"]))


def test_a_primary_comparison_that_there_is_not_is_refused(table: pd.DataFrame) -> None:
    for primary in (("mine", "theirs", "psnr"), ("mine", "bicubic", "vif"), ("mine", "yours", "psnr")):
        with pytest.raises(InputError, match=f"no comparison of mine and {primary[1]} in {primary[2]}"):
            compare_methods(table, pairs=BASELINE, primary=primary, draws=10)
    with pytest.raises(InputError, match="a family of tests named primary"):
        compare_methods(table, pairs=PAIRS, families={"psnr": PRIMARY, "ssim": "rest"})


def test_draws_and_seed_are_those_of_the_intervals(
    table: pd.DataFrame, values: dict[tuple[str, str], np.ndarray]
) -> None:
    options = {"draws": 300, "seed": 7}
    found = row(compare_methods(table, pairs=BASELINE, **options), metric="psnr", a="mine")
    differences = values["mine", "psnr"] - values["bicubic", "psnr"]
    low, high = cluster_intervals(differences[:, None], list(PATIENTS), **options)
    assert (found["image_weighted_low"], found["image_weighted_high"]) == pytest.approx((low[0], high[0]), rel=1e-12)


def test_holm_takes_a_dataset_and_unit_as_its_family(table: pd.DataFrame) -> None:
    two = pd.concat([table, table.assign(dataset="zoo")])
    compared = compare_methods(two, pairs=PAIRS, unit="both", draws=100)
    for _, family in compared.groupby(["dataset", "unit"]):
        assert len(family) == 6
        np.testing.assert_allclose(family["p_holm"], holm(family["p"]))


def test_each_family_is_adjusted_for_its_own_tests(table: pd.DataFrame) -> None:
    families = {"psnr": "first", "ssim": "rest"}
    compared = compare_methods(table, pairs=PAIRS, unit="both", families=families, draws=100)
    assert dict(zip(compared["metric"], compared["family"], strict=True)) == {"psnr": "first", "ssim": "rest"}
    for _, family in compared.groupby(["family", "unit"]):
        assert len(family) == 3
        np.testing.assert_allclose(family["p_holm"], holm(family["p"]))
    with pytest.raises(InputError, match="no family of tests for ssim: name one"):
        compare_methods(table, pairs=PAIRS, families={"psnr": "first"})


def test_an_image_a_patient_makes_the_units_equal(values: dict[tuple[str, str], np.ndarray]) -> None:
    own = np.array([f"p{n:03d}" for n in range(len(PATIENTS))])
    compared = compare_methods(tidy(values, own), pairs=PAIRS, unit="both", draws=200)
    by_patient, by_image = (
        compared[compared["unit"] == unit].drop(columns="unit").reset_index(drop=True) for unit in ("patient", "image")
    )
    pd.testing.assert_frame_equal(by_patient, by_image)


def test_a_row_turned_round_is_that_of_the_pair_swapped(table: pd.DataFrame) -> None:
    there = compare_methods(table, pairs=[("mine", "yours")]).iloc[0]
    back = compare_methods(table, pairs=[("yours", "mine")]).iloc[0]
    turned_round = turned(dict(there))
    assert turned(turned_round) == dict(there)
    for name in COMPARISON_COLUMNS:
        expected = back[name] if isinstance(back[name], str) else pytest.approx(back[name], rel=1e-3)  # other draws
        assert turned_round[name] == expected, name


def test_the_order_of_rows_changes_nothing(table: pd.DataFrame) -> None:
    shuffled = table.sample(frac=1, random_state=2)
    options = {"pairs": PAIRS, "unit": "both", "draws": 200}
    pd.testing.assert_frame_equal(compare_methods(shuffled, **options), compare_methods(table, **options))


def test_infinite_and_missing_values_are_counted_apart(values: dict[tuple[str, str], np.ndarray]) -> None:
    lossy, lossless = values["bicubic", "psnr"].copy(), np.full(len(PATIENTS), np.inf)
    partly = values["mine", "psnr"].copy()
    partly[[0, 5]], partly[[1]], lossy[[1, 2]] = np.inf, np.nan, np.nan
    table = tidy({("lossy", "psnr"): lossy, ("lossless", "psnr"): lossless, ("partly", "psnr"): partly}, PATIENTS)
    compared = compare_methods(table, pairs=[("lossless", "lossy"), ("partly", "lossy")], unit="both")
    none = row(compared, a="lossless", unit="patient")
    assert (none["n"], none["infinite"], none["missing"]) == (0, len(PATIENTS) - 2, 2)
    assert none[["mean_a", "mean_b", "difference", "low", "high", "p", "p_holm", "d", "d_z"]].isna().all()
    some, kept = row(compared, a="partly", unit="image"), np.delete(np.arange(len(PATIENTS)), [0, 1, 2, 5])
    assert (some["n"], some["infinite"], some["missing"]) == (len(kept), 2, 2)
    assert some["mean_a"] == pytest.approx(partly[kept].mean())
    assert some["p_wilcoxon"] == wilcoxon(partly[kept] - lossy[kept])
    assert row(compared, a="partly", unit="patient")["n"] == 10  # two patients have no image left: 0; 1 and 2


def test_images_given_back_exactly_are_no_ranks_of_the_test(values: dict[tuple[str, str], np.ndarray]) -> None:
    """An infinite PSNR would have the highest rank: the test is that of the other images, as are mean and interval."""
    own = np.array([f"p{n:02d}" for n in range(len(PATIENTS))])
    a, b = values["mine", "psnr"].copy(), values["bicubic", "psnr"]
    a[[3, 7]] = np.inf
    found = compare_methods(tidy({("mine", "psnr"): a, ("bicubic", "psnr"): b}, own), pairs=PAIRS[:1]).iloc[0]
    kept = np.isfinite(a)
    assert (found["n"], found["infinite"]) == (len(own) - 2, 2)
    assert found["p"] == pytest.approx(stats.ttest_rel(a[kept], b[kept]).pvalue)
    assert found["p_wilcoxon"] == pytest.approx(stats.wilcoxon(a[kept], b[kept]).pvalue)
    ranked = np.where(kept, a - b, 1e9)  # what a rank for them would give
    assert found["p_wilcoxon"] > stats.wilcoxon(ranked).pvalue


def test_identical_methods_differ_by_nothing(values: dict[tuple[str, str], np.ndarray]) -> None:
    same = values["mine", "psnr"]
    found = compare_methods(tidy({("a", "psnr"): same, ("b", "psnr"): same}, PATIENTS), pairs=[("a", "b")]).iloc[0]
    assert (found["difference"], found["low"], found["high"], found["p"], found["rank_biserial"]) == (0, 0, 0, 1, 0)


@pytest.mark.parametrize(
    ("patients", "unit", "n"), [(["p"], "image", 1), (["p"], "both", 1), (["p"] * 4, "patient", 1)]
)
def test_one_patient_or_image_has_means_and_no_test(patients: list[str], unit: str, n: int) -> None:
    rng = np.random.default_rng(3)
    images = len(patients)
    values = {("a", "psnr"): rng.normal(size=images), ("b", "psnr"): rng.normal(size=images)}
    for _, found in compare_methods(tidy(values, np.array(patients)), pairs=[("a", "b")], unit=unit).iterrows():
        assert found["n"] == n
        assert np.isfinite([found["mean_a"], found["mean_b"], found["difference"]]).all()
        assert found[["low", "high", "sd_difference", "p", "p_holm", "d", "d_z", "rank_biserial"]].isna().all()


def test_a_pair_is_compared_in_the_metrics_that_both_have(values: dict[tuple[str, str], np.ndarray]) -> None:
    table = tidy({**values, ("hr", "laplacian_variance"): np.ones(len(PATIENTS))}, PATIENTS)
    sharpness = {("mine", "laplacian_variance"): np.arange(len(PATIENTS), dtype=float)}
    table = pd.concat([table, tidy(sharpness, PATIENTS)])
    named = compare_methods(table, pairs=[("mine", "hr")], draws=10)
    assert list(named["metric"]) == ["laplacian_variance"]


def test_unpaired_tables_are_refused_and_list_the_images(table: pd.DataFrame) -> None:
    with pytest.raises(InputError, match=f"lacks 1 images: set / mine / psnr / image {short_hash('set', 'i004')}"):
        lost = (table["id"] == "i004") & (table["method"] == "mine") & (table["metric"] == "psnr")
        compare_methods(table[~lost], pairs=PAIRS)
    with pytest.raises(InputError, match=f"images twice: set / bicubic / psnr / image {short_hash('set', 'i000')}"):
        compare_methods(pd.concat([table, table.head(1)]), pairs=PAIRS)
    with pytest.raises(InputError, match="lacks"):  # two methods without an image in common
        other = table["method"] == "mine"
        apart = table[other].assign(id=lambda rows: "x" + rows["id"])
        compare_methods(pd.concat([table[~other], apart]), pairs=PAIRS)


def test_unknown_methods_and_units_are_refused(table: pd.DataFrame) -> None:
    with pytest.raises(InputError, match="no method theirs in dataset set: it has bicubic, mine, yours"):
        compare_methods(table, pairs=[("mine", "theirs")])
    with pytest.raises(OptionError, match="expected patient, image or both"):
        compare_methods(table, pairs=PAIRS, unit="slice")
    with pytest.raises(OptionError, match="mine with mine"):
        compare_methods(table, pairs=[("mine", "mine")])


def test_without_pairs_the_comparison_is_empty(table: pd.DataFrame) -> None:
    compared = compare_methods(table, pairs=[], unit="both")
    assert tuple(compared.columns) == COMPARISON_COLUMNS
    assert compared.empty


PAIR = ("mine", "bicubic")


def grouped(
    patients: int, effect: dict[str, float], *, group_of: str = "patient"
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Two images a patient and two metrics, and the groups of the images: by patient in turn, or by image."""
    rng, names = np.random.default_rng(0), list(effect)
    rows, groups = [], {}
    for patient in range(patients):
        for image in range(2):
            id = f"i{patient}-{image}"
            groups[id] = names[(patient if group_of == "patient" else image) % len(names)]
            for metric in METRICS:
                base = rng.normal(30, 3)
                gain = effect[groups[id]] + rng.normal(0, 1)
                rows += [("set", id, f"p{patient}", method, metric, value)
                         for method, value in (("bicubic", base), ("mine", base + gain))]  # fmt: skip
    return pd.DataFrame(rows, columns=["dataset", "id", "patient", "method", "metric", "value"]), groups


def test_a_groups_rows_are_those_of_its_images_alone() -> None:
    table, groups = grouped(24, {"a": 1.0, "b": 1.0, "c": 3.0})
    found = compare_subgroups(table, {"set": groups}, pairs=[PAIR], draws=200)
    assert tuple(found.columns) == SUBGROUP_COLUMNS
    assert list(zip(found["group"], found["metric"], strict=True)) == [(g, m) for g in "abc" for m in METRICS]
    for group, part in found.groupby("group"):
        own = table[table["id"].map(groups) == group]
        expected = compare_methods(own, pairs=[PAIR], draws=200).drop(columns=["p_holm", "family"])
        pd.testing.assert_frame_equal(part[expected.columns].reset_index(drop=True), expected)
    assert set(found["n"]) == {8}
    assert found["shared"].eq(0).all()


def test_the_interaction_is_welchs_analysis_of_variance() -> None:
    table, groups = grouped(24, {"a": 1.0, "b": 1.0, "c": 3.0})
    found = compare_subgroups(table, {"set": groups}, pairs=[PAIR], draws=200)
    wide = table[table["metric"] == "psnr"].pivot(index=["patient", "id"], columns="method", values="value")
    gains = (wide["mine"] - wide["bicubic"]).groupby("patient").mean()
    of_patient = {id.partition("-")[0].replace("i", "p"): group for id, group in groups.items()}
    means = [part.to_numpy() for _, part in gains.groupby(of_patient)]
    expected = stats.f_oneway(*means, equal_var=False).pvalue
    assert found.loc[found["metric"] == "psnr", "p_interaction"].to_numpy() == pytest.approx([expected] * 3)
    assert expected < 0.01


def test_a_patient_of_two_groups_counts_in_both_with_each_ones_images() -> None:
    table, views = grouped(12, {"axial": 1.0, "sagittal": 2.0}, group_of="image")
    found = compare_subgroups(table, {"set": views}, pairs=[PAIR], draws=200)
    assert set(found["n"]) == set(found["images"]) == {12}
    assert found["shared"].eq(12).all()
    gains = table.pivot(index=["metric", "id"], columns="method", values="value").eval("mine - bicubic")
    axial, sagittal = (gains["psnr"][[f"i{p}-{image}" for p in range(12)]] for image in (0, 1))
    expected = stats.ttest_rel(axial, sagittal).pvalue
    assert found.loc[found["metric"] == "psnr", "p_interaction"].to_numpy() == pytest.approx([expected] * 2)


def test_images_without_a_group_and_small_groups_take_no_part_in_the_test() -> None:
    table, groups = grouped(24, {"a": 1.0, "b": 1.0, "c": 30.0})
    few = {id: group for id, group in groups.items() if group != "c" or int(id[1:].partition("-")[0]) < 12}
    found = compare_subgroups(table, {"set": few}, pairs=[PAIR], draws=200)
    assert found.groupby("group")["n"].first().to_dict() == {"a": 8, "b": 8, "c": 4}
    without = {id: group for id, group in groups.items() if group != "c"}
    expected = compare_subgroups(table, {"set": without}, pairs=[PAIR], draws=200)
    assert list(found["p_interaction"][:4]) == pytest.approx(list(expected["p_interaction"]))
    alone = compare_subgroups(table, {"set": dict.fromkeys(few, "a")}, pairs=[PAIR], draws=200)
    assert alone["p_interaction"].isna().all()
    assert compare_subgroups(table, {}, pairs=[PAIR]).empty


def by_patient(*numbers: float, first: int = 0) -> pd.Series:
    return pd.Series(numbers, index=[f"p{first + place}" for place in range(len(numbers))], dtype=float)


def test_the_overlapping_t_is_welchs_and_the_paired_one_at_its_ends() -> None:
    rng = np.random.default_rng(1)
    a, b = by_patient(*rng.normal(0, 1, 9)), by_patient(*rng.normal(1, 3, 9))
    assert overlapping_t(a, b) == pytest.approx(stats.ttest_rel(a, b).pvalue)
    apart = b.set_axis([f"q{place}" for place in range(9)])
    assert overlapping_t(a, apart) == pytest.approx(stats.ttest_ind(a, apart, equal_var=False).pvalue)
    between = overlapping_t(a, by_patient(*b, first=4))
    assert 0 < between < 1
    assert np.isnan(overlapping_t(a, a + 1))


def test_without_spread_or_patients_there_is_no_test() -> None:
    spread = by_patient(*range(FEWEST))
    assert np.isnan(interaction([spread, by_patient(*[2.0] * FEWEST, first=10)]))
    assert np.isnan(interaction([spread, by_patient(*range(FEWEST - 1), first=10)]))
    assert np.isnan(interaction([]))


@pytest.mark.parametrize(
    ("sizes", "spreads", "overlap", "least", "most"),
    [
        ((8, 30), (3.0, 1.0), 0, 0.035, 0.065),  # where the usual analysis of variance is far off its level
        ((20, 20), (1.0, 2.0), 10, 0.035, 0.065),
        ((15, 15, 15), (1.0, 1.0, 2.0), 5, 0.02, 0.065),  # Bonferroni's tests are careful
    ],
)
def test_it_holds_its_level(
    sizes: tuple[int, ...], spreads: tuple[float, ...], overlap: int, least: float, most: float
) -> None:
    """Over 1,000 simulated studies without an interaction, patients of several groups alike in both."""
    rng, found = np.random.default_rng(7), []
    firsts = np.cumsum([0, *(size - overlap for size in sizes[:-1])])
    members = [pd.RangeIndex(first, first + size) for first, size in zip(firsts, sizes, strict=True)]
    for _ in range(1000):
        own = rng.normal(0, 1, sum(sizes))
        drawn = [
            spread * (own[index] + rng.normal(0, 1, len(index))) for spread, index in zip(spreads, members, strict=True)
        ]
        groups = [pd.Series(one, index=index) for one, index in zip(drawn, members, strict=True)]
        found.append(interaction(groups) < 0.05)
    assert least < np.mean(found) < most


def test_effect_sizes_are_by_patient_with_their_interval_and_h_of_rates_alone() -> None:
    rng = np.random.default_rng(5)
    shares = {(name, "lost/2sigma"): rng.uniform(0.1, 0.3, len(PATIENTS)) for name in ("mine", "bicubic")}
    values = {(name, "psnr"): 30 + rng.normal(size=len(PATIENTS)) for name in ("mine", "bicubic")}
    compared = compare_methods(tidy({**shares, **values}, PATIENTS), pairs=[("mine", "bicubic")], unit="both", draws=20)
    found = effect_sizes(compared).set_index("metric")
    rows = compared[compared["unit"] == "patient"].set_index("metric")
    pd.testing.assert_series_equal(found["d_z"], rows["d_z"])
    expected = dz_interval(rows["d_z"]["psnr"], 12)
    assert (found["d_z_low"]["psnr"], found["d_z_high"]["psnr"]) == pytest.approx(expected)
    assert np.isnan(found["h"]["psnr"])
    lost = rows.loc["lost/2sigma"]
    assert found["h"]["lost/2sigma"] == pytest.approx(proportion_effectsize(lost["mean_a"], lost["mean_b"]))
    opposite = turned({**rows.loc["psnr"], **found.loc["psnr"]})
    assert (opposite["d_z_low"], opposite["d_z_high"]) == pytest.approx((-expected[1], -expected[0]))
    with pytest.raises(InputError, match=r"outside \[0, 1\]"):
        effect_sizes(compared.assign(mean_a=24.7))
