"""Words against numbers: over 300 simulated studies of unequal patients no sentence or cell contradicts another."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from latentsr.evaluation.facts import measure_facts
from latentsr.evaluation.tables import family_of
from latentsr.report.evaluation_answer import answer, primary
from latentsr.report.evaluation_data import Evaluation
from latentsr.report.evaluation_judgement import FINDINGS
from latentsr.report.evaluation_tables import difference_table, equivalence_table, main_table, pair_table
from latentsr.report.evaluation_verdict import details
from latentsr.report.page import Table
from latentsr.stats import COLUMNS, compare_equivalence, compare_methods, judge, summarise

STUDIES, MARGIN = 300, 0.3
METHODS = ("bicubic", "mine", "theirs")
TITLES = {"psnr": "PSNR", "haarpsi": "HaarPSI"}
PAIRS = [("mine", "bicubic"), ("theirs", "bicubic"), ("theirs", "mine")]


def study(rng: np.random.Generator, dataset: str) -> pd.DataFrame:
    """The tidy table of three methods in two measures: few to many patients of unequal images, effects from none on."""
    patients = int(rng.integers(3, 20))
    members = np.repeat(np.arange(patients), rng.choice([1, 1, 2, 12], size=patients))
    base, frames = rng.normal(30, 2, size=len(members)), []
    for metric in TITLES:
        for method, effect in zip(METHODS, (0, *rng.choice([-0.5, 0, 0.2, 1.5], size=2)), strict=True):
            spread = rng.normal(size=patients)[members] + rng.normal(size=len(members))
            values = base + (method != "bicubic") * (effect + 0.5 * spread)
            frames.append(
                pd.DataFrame({"id": [f"i{n}" for n in range(len(members))], "patient": members.astype(str)}).assign(
                    dataset=dataset, method=method, metric=metric, value=values
                )
            )
    return pd.concat(frames)[list(COLUMNS)]


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    rng = np.random.default_rng(3)
    table = pd.concat([study(rng, f"d{number:03d}") for number in range(STUDIES)], ignore_index=True)
    first = ("mine", "bicubic", "psnr")
    families = {name: family_of(name) for name in TITLES}
    frames = {
        "table": table,
        "summary": summarise(table),
        "comparisons": compare_methods(table, pairs=PAIRS, primary=first, families=families, draws=2),
        "equivalence": compare_equivalence(table, {"psnr": MARGIN}, pairs=PAIRS),
    }
    counts = table.groupby("dataset").agg(images=("id", "nunique"), patients=("patient", "nunique"))
    run = {
        "datasets": counts.to_dict(orient="index"),
        "methods": [{"name": name, "kind": "images"} for name in METHODS],
        "primary": dict(zip(("a", "b", "metric"), first, strict=True)),
        "measures": measure_facts(table), "truth": [], "pairing": [], "reference_autoencoder": None,
    }  # fmt: skip
    return Evaluation(Path(), run, frames)


@pytest.fixture(scope="module")
def findings(evaluation: Evaluation) -> dict[tuple[str, str, str, str], str]:
    """By dataset, measure title and pair, both ways round: what the rule says."""
    found, other = {}, {"better": "worse", "worse": "better"}
    for row in evaluation.frames["comparisons"].to_dict(orient="records"):
        one = judge(row, "higher")
        found[row["dataset"], TITLES[row["metric"]], row["a"], row["b"]] = one
        found[row["dataset"], TITLES[row["metric"]], row["b"], row["a"]] = other.get(one, one)
    assert {"better", "worse", "open", "few"} == set(found.values())
    return found


def test_the_primary_sentence_says_what_the_rule_says(evaluation: Evaluation, findings: dict) -> None:
    clauses = primary(evaluation).removeprefix("Primary comparison, fixed in advance: ").split("; on ")
    said = [clause for clause in clauses if not clause.startswith("80 %")]
    words = {
        "better": "is better than",
        "worse": "is worse than",
        "open": "is not told apart from",
        "few": "differs from",
    }
    assert len(said) == STUDIES
    for clause in said:
        dataset = re.search(r"d\d{3}", clause)[0]  # type: ignore[index]
        finding = findings[dataset, "PSNR", "mine", "bicubic"]
        assert f"mine {words.get(finding, 'differs from')} bicubic in PSNR by " in clause
        low, high = (float(end) for end in re.search(r"\[(.*?)\]", clause)[1].split(", "))  # type: ignore[index]
        if finding in ("better", "worse"):  # of the one that is not in a family the interval decides, too
            assert 0 <= low < high
        if finding == "open":
            assert low <= 0 <= high


def test_answers_name_those_as_best_that_the_rule_does(evaluation: Evaluation, findings: dict) -> None:
    aspects = {"fidelity": "PSNR", "perceptual likeness": "HaarPSI"}
    soles = 0
    for dataset in evaluation.datasets:
        said = answer(evaluation, dataset)
        for aspect, title in aspects.items():
            metric = {value: key for key, value in TITLES.items()}[title]
            means = evaluation.summary(dataset, metric)["mean"].sort_values(ascending=False)
            first, *others = means.index
            better = [findings[dataset, title, first, name] == "better" for name in others]
            sole = re.search(rf"(\w+) is best in (fidelity \([^)]*\) and )?{aspect} \(", said)
            assert bool(sole) == all(better), said
            if sole:
                soles += 1
                assert sole[1] == first
            elif findings[dataset, title, first, others[0]] != "few":
                lead = re.search(rf"in {aspect} (no method is told apart from the best mean \(|)(\w+)(.*)", said)
                assert lead is not None, said
                assert lead[2] == first
                assert bool(lead[1]) == (not any(better))
        for loser, titles in re.findall(r"(\w+) is worse than bicubic in ([\w, ]+)", said):
            assert all(findings[dataset, title, loser, "bicubic"] == "worse" for title in titles.split(" and "))
    assert soles > STUDIES / 10


def cells(table: Table | None) -> dict[tuple[str, str], tuple[str, ...]]:
    """The rows of a table by measure title and pair, "(primary)" left away."""
    assert table is not None
    place = table.columns.index("pair") if "pair" in table.columns else None
    found = {}
    for row in table.rows:
        pair = row[place].removesuffix(" (primary)") if place is not None else f"{row[1]} – bicubic"
        (title,) = [title for title in TITLES.values() if any(cell.startswith(title) for cell in row[:2])]
        found[title, pair] = row
    return found


def test_tables_say_the_same_of_a_pair_and_nothing_against_the_rule(evaluation: Evaluation, findings: dict) -> None:
    for dataset in evaluation.datasets:
        main = cells(main_table(evaluation, dataset))
        every, pairs = cells(difference_table(evaluation, dataset)), cells(pair_table(evaluation, dataset))
        equal = cells(equivalence_table(evaluation, dataset))
        for (title, pair), row in main.items():
            a, b = pair.split(" – ")
            assert row[4] == FINDINGS[findings[dataset, title, a, b]]
            assert row[2] == " ".join(every[title, pair][2:4]) == " ".join(pairs[title, pair][2:4])
            assert row[3] == every[title, pair][4] == pairs[title, pair][4]
            difference, d_z = float(row[2].split()[0]), float(row[6])
            assert difference * d_z >= 0
        for (title, pair), row in equal.items():
            assert row[3] == pairs[title, pair][2]
            low, high = (float(end) for end in row[4].strip("[]").split(", "))
            furthest = max(-low, high)  # as printed, so rounded
            assert furthest <= MARGIN if row[-1] == "equivalent" else furthest >= MARGIN


def test_details_call_worse_and_equivalent_only_what_is(evaluation: Evaluation, findings: dict) -> None:
    equal = evaluation.frames["equivalence"].set_index(["dataset", "a", "b"])["verdict"]
    for sentence in details(evaluation):
        dataset, _, said = sentence.partition(": ")
        for loser, titles in re.findall(r"(\w+) is worse than bicubic in ([\w, ]+)\.", said):
            assert all(findings[dataset, title, loser, "bicubic"] == "worse" for title in titles.split(" and "))
        if said.startswith("Within"):
            shown = re.search(r"[, ]equivalent: ([^;.]*)", said.replace("not shown to be equivalent", "not shown"))
            named = {tuple(pair.split(" and ")) for pair in shown[1].split(", ")} if shown else set()
            assert named == {pair for pair in PAIRS if equal[(dataset, *pair)] == "equivalent"}
