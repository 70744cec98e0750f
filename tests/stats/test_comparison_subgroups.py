"""Differences within groups of images, and the test of whether they depend on the group."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from latentsr.stats.comparison import SUBGROUP_COLUMNS, compare_methods, compare_subgroups, interaction, overlapping_t
from latentsr.stats.significance import FEWEST

PAIR = ("mine", "bicubic")
METRICS = ("psnr", "ssim")


def tidy(patients: int, effect: dict[str, float], *, group_of: str = "patient") -> tuple[pd.DataFrame, dict[str, str]]:
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
    table, groups = tidy(24, {"a": 1.0, "b": 1.0, "c": 3.0})
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
    table, groups = tidy(24, {"a": 1.0, "b": 1.0, "c": 3.0})
    found = compare_subgroups(table, {"set": groups}, pairs=[PAIR], draws=200)
    wide = table[table["metric"] == "psnr"].pivot(index=["patient", "id"], columns="method", values="value")
    gains = (wide["mine"] - wide["bicubic"]).groupby("patient").mean()
    of_patient = {id.partition("-")[0].replace("i", "p"): group for id, group in groups.items()}
    means = [part.to_numpy() for _, part in gains.groupby(of_patient)]
    expected = stats.f_oneway(*means, equal_var=False).pvalue
    assert found.loc[found["metric"] == "psnr", "p_interaction"].to_numpy() == pytest.approx([expected] * 3)
    assert expected < 0.01


def test_a_patient_of_two_groups_counts_in_both_with_each_ones_images() -> None:
    table, views = tidy(12, {"axial": 1.0, "sagittal": 2.0}, group_of="image")
    found = compare_subgroups(table, {"set": views}, pairs=[PAIR], draws=200)
    assert set(found["n"]) == set(found["images"]) == {12}
    assert found["shared"].eq(12).all()
    gains = table.pivot(index=["metric", "id"], columns="method", values="value").eval("mine - bicubic")
    axial, sagittal = (gains["psnr"][[f"i{p}-{image}" for p in range(12)]] for image in (0, 1))
    expected = stats.ttest_rel(axial, sagittal).pvalue
    assert found.loc[found["metric"] == "psnr", "p_interaction"].to_numpy() == pytest.approx([expected] * 2)


def test_images_without_a_group_and_small_groups_take_no_part_in_the_test() -> None:
    table, groups = tidy(24, {"a": 1.0, "b": 1.0, "c": 30.0})
    few = {id: group for id, group in groups.items() if group != "c" or int(id[1:].partition("-")[0]) < 12}
    found = compare_subgroups(table, {"set": few}, pairs=[PAIR], draws=200)
    assert found.groupby("group")["n"].first().to_dict() == {"a": 8, "b": 8, "c": 4}
    without = {id: group for id, group in groups.items() if group != "c"}
    expected = compare_subgroups(table, {"set": without}, pairs=[PAIR], draws=200)
    assert list(found["p_interaction"][:4]) == pytest.approx(list(expected["p_interaction"]))
    alone = compare_subgroups(table, {"set": dict.fromkeys(few, "a")}, pairs=[PAIR], draws=200)
    assert alone["p_interaction"].isna().all()
    assert compare_subgroups(table, {}, pairs=[PAIR]).empty


def values(*numbers: float, first: int = 0) -> pd.Series:
    return pd.Series(numbers, index=[f"p{first + place}" for place in range(len(numbers))], dtype=float)


def test_the_overlapping_t_is_welchs_and_the_paired_one_at_its_ends() -> None:
    rng = np.random.default_rng(1)
    a, b = values(*rng.normal(0, 1, 9)), values(*rng.normal(1, 3, 9))
    assert overlapping_t(a, b) == pytest.approx(stats.ttest_rel(a, b).pvalue)
    apart = b.set_axis([f"q{place}" for place in range(9)])
    assert overlapping_t(a, apart) == pytest.approx(stats.ttest_ind(a, apart, equal_var=False).pvalue)
    between = overlapping_t(a, values(*b, first=4))
    assert 0 < between < 1
    assert np.isnan(overlapping_t(a, a + 1))


def test_without_spread_or_patients_there_is_no_test() -> None:
    spread = values(*range(FEWEST))
    assert np.isnan(interaction([spread, values(*[2.0] * FEWEST, first=10)]))
    assert np.isnan(interaction([spread, values(*range(FEWEST - 1), first=10)]))
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
