"""The AE ceilings on an evaluation's page: what is drawn of how many models, and what the table says."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from latentsr.report.blocks import Block, Picture, Table, Text
from latentsr.report.evaluation.data import Evaluation
from latentsr.report.evaluation.figures import ceiling_blocks
from latentsr.stats.comparison import summarise
from latentsr.stats.regression import ceiling_lines, ceiling_points, compare_ceilings, pearson

IMAGES, PATIENTS = 12, 6
RNG = np.random.default_rng(0)
HARDNESS = RNG.normal(size=IMAGES)


def model(
    name: str, hash: str, *, lossless: bool = False, consistency: bool = True, called: str = "autoencoder"
) -> dict:
    latent = {"name": called, "hash": hash, "channels": 3, "factor": 4, "lossless": lossless}
    return {"name": name, "kind": "model", "options": {"consistency": consistency}, "autoencoder": latent}


def evaluation(models: dict[str, tuple[float, float]], facts: list[dict], **run: object) -> Evaluation:
    """An evaluation on the datasets `a` and `b`, in which models have these mean ceilings (NaN: none) and results."""
    rows = []
    for name, (ceiling, result) in {"bicubic": (np.nan, 27.0), **models}.items():
        values = {"psnr": result + 2 * HARDNESS + 0.1 * RNG.normal(size=IMAGES)}
        if np.isfinite(ceiling):
            values["ceiling_psnr"] = ceiling + 3 * HARDNESS + 0.1 * RNG.normal(size=IMAGES)
        for metric, column in values.items():
            rows += [("a", str(n), f"p{n % PATIENTS}", name, metric, value) for n, value in enumerate(column)]
    table = pd.DataFrame(rows, columns=["dataset", "id", "patient", "method", "metric", "value"])
    table = pd.concat([table, table.assign(dataset="b")], ignore_index=True)
    return tabled(
        table,
        {"methods": [{"name": "bicubic", "kind": "baseline"}, *facts], "datasets": {"a": {}, "b": {}}, "seed": 0} | run,
    )


def tabled(table: pd.DataFrame, run: Mapping[str, object]) -> Evaluation:
    """The evaluation of these values, with the tables that the job makes of them."""
    summary = summarise(table)
    facts = [one for one in run["methods"] if "autoencoder" in one]
    lossy = {one["name"]: one["autoencoder"]["hash"] for one in facts if not one["autoencoder"]["lossless"]}
    made = {
        "ceilings": compare_ceilings(table, summary, lossy),
        "ceiling_lines": ceiling_lines(summary, lossy),
        "points": ceiling_points(table, lossy),
    }
    return Evaluation(Path(), run, {"table": table, "summary": summary, **made})


def one_model(**options: bool) -> Evaluation:
    return evaluation({"mine": (35.0, 30.0)}, [model("mine", "12345678aa", **options)])


def blocks(found: Evaluation, dataset: str = "a") -> list[Block]:
    return list(ceiling_blocks(found, dataset))


def of_kind(found: list[Block], kind: type) -> list:
    return [block for block in found if isinstance(block, kind)]


FOUR = {"one": (29.0, 28.0), "two": (31.0, 28.9), "three": (33.0, 29.7), "four": (35.0, 31.0)}


def models(count: int, autoencoders: int) -> Evaluation:
    chosen = dict(list(FOUR.items())[:count])
    return evaluation(chosen, [model(name, f"{n % autoencoders}" * 10) for n, name in enumerate(chosen)])


def test_four_models_are_points_with_a_line_and_its_correlation(drawn: list[Figure]) -> None:
    found = models(4, 4)
    picture, table = blocks(found)
    means = found.summary("a", "psnr")["mean"], found.summary("a", "ceiling_psnr")["mean"]
    expected = pearson(means[1][list(FOUR)], means[0][list(FOUR)])
    assert f"Pearson's r = {expected.r:.2f} [{expected.low:.2f}, {expected.high:.2f}], n = 4" in picture.caption
    assert "4 models of 4 autoencoders" in picture.caption
    legend = [text.get_text() for text in drawn[0].legends[0].get_texts()]
    assert {*FOUR, "least-squares line", "bicubic"} <= set(legend)
    points = [line for line in drawn[0].axes[0].lines if len(line.get_xdata()) == 1]
    assert {line.get_label(): line.get_xdata()[0] for line in points} == pytest.approx(means[1][list(FOUR)].to_dict())
    assert {line.get_label(): line.get_ydata()[0] for line in points} == pytest.approx(means[0][list(FOUR)].to_dict())
    assert [row[0] for row in table.rows] == list(FOUR)


def test_three_models_have_a_line_but_no_interval_of_r() -> None:
    picture = blocks(models(3, 3))[0]
    assert "(no interval below four), n = 3" in picture.caption


@pytest.mark.parametrize(("count", "autoencoders"), [(2, 2), (4, 2)])
def test_no_line_is_laid_through_fewer_than_three_autoencoders(
    count: int, autoencoders: int, drawn: list[Figure]
) -> None:
    picture = blocks(models(count, autoencoders))[0]
    assert "No line is laid through them: it takes models of 3 autoencoders, here are 2." in picture.caption
    assert "Pearson" not in picture.caption
    assert "least-squares line" not in [text.get_text() for text in drawn[0].legends[0].get_texts()]


def test_of_one_model_the_patients_are_the_points(drawn: list[Figure]) -> None:
    found = one_model()
    picture = blocks(found)[0]
    table = found.frames["table"]
    table = table[(table["dataset"] == "a") & (table["method"] == "mine")]
    means = table.groupby(["metric", "patient"])["value"].mean()
    lines = {line.get_label(): line for line in drawn[0].axes[0].lines}
    assert sorted(lines["mine"].get_xdata()) == pytest.approx(sorted(means["ceiling_psnr"]))
    assert sorted(lines["mine"].get_ydata()) == pytest.approx(sorted(means["psnr"]))
    assert len(lines["bicubic"].get_xdata()) == PATIENTS
    assert "A point a patient" in picture.caption


def test_the_table_tells_gap_correlation_and_its_control() -> None:
    found = one_model()
    (table,) = of_kind(blocks(found), Table)
    rows = found.frames["table"]
    wide = rows[rows["dataset"] == "a"].pivot(index=["id", "patient"], columns=["method", "metric"], values="value")
    gap = (wide["mine", "ceiling_psnr"] - wide["mine", "psnr"]).mean()
    means = wide.groupby(level="patient").mean()
    own = pearson(means["mine", "ceiling_psnr"], means["mine", "psnr"])
    other = pearson(means["mine", "ceiling_psnr"], means["bicubic", "psnr"])
    name, latent, ceiling, apart, r, control, patients = table.rows[0]
    assert (name, latent, patients) == ("mine", "12345678, 3 at 1/4", "6")
    assert ceiling.startswith(f"{wide['mine', 'ceiling_psnr'].mean():.2f} [")
    low, high = (float(end) for end in apart.partition("[")[2].rstrip("]").split(","))
    assert apart.startswith(f"{gap:.2f} [")
    assert low <= round(gap, 2) <= high
    assert r == f"{own.r:.2f} [{own.low:.2f}, {own.high:.2f}]"
    assert control == f"{other.r:.2f} [{other.low:.2f}, {other.high:.2f}]"


def test_a_lossless_model_beside_a_lossy_one_is_a_row_in_words(drawn: list[Figure]) -> None:
    facts = [*(model(name, name * 4) for name in ("one", "two")), model("exact", "h", lossless=True, called="haar")]
    found = evaluation({**dict(list(FOUR.items())[:2]), "exact": (np.nan, 30.0)}, facts)
    picture, table = blocks(found)
    assert table.rows[2][:3] == ("exact", "haar, 3 at 1/4", "lossless")
    assert table.rows[2][3:] == ("–",) * 4
    assert "exact" in [text.get_text() for text in drawn[0].legends[0].get_texts()]
    assert "all models here project their results" in picture.caption


def test_lossless_models_alone_are_one_sentence_on_the_page() -> None:
    found = evaluation({"exact": (np.nan, 30.0)}, [model("exact", "h", lossless=True)])
    (text,) = blocks(found)
    assert isinstance(text, Text)
    assert "AE ceiling: none. The latents of all models here (exact) are lossless" in text.paragraphs[0]
    assert blocks(found, "b") == []


def test_without_models_or_without_the_measure_there_is_nothing() -> None:
    assert blocks(evaluation({"files": (np.nan, 30.0)}, [{"name": "files", "kind": "images"}])) == []
    found = one_model()
    table = found.frames["table"]
    for metric in ("psnr", "ceiling_psnr"):
        rest = table[table["metric"] != metric]
        assert blocks(tabled(rest, found.run)) == []


def test_who_projects_is_said() -> None:
    assert "the model projects its results onto the input" in blocks(one_model())[0].caption
    alone = blocks(one_model(consistency=False))[0].caption
    assert "seldom lie above the line 'result = ceiling' (drawn where it is near)." in alone
    assert "consistency" not in alone
    facts = [model("one", "1"), model("two", "2", consistency=False)]
    mixed = blocks(evaluation(dict(list(FOUR.items())[:2]), facts))[0].caption
    assert "one projects its results onto the input" in mixed


def test_three_patients_have_no_r() -> None:
    found = one_model()
    few = found.frames["table"]
    few = few[few["patient"].isin(["p0", "p1", "p2"])]
    (table,) = of_kind(blocks(tabled(few, found.run)), Table)
    assert table.rows[0][4:] == ("–", "–", "3")


@pytest.mark.parametrize("images", [1, 2])
def test_one_image_and_one_patient(images: int) -> None:
    found = one_model()
    few = found.frames["table"]
    few = few[few["id"].isin(["0", str(PATIENTS)][:images])]
    made = blocks(tabled(few, found.run))
    (table,) = of_kind(made, Table)
    assert table.rows[0][4:] == ("–", "–", "1")
    assert "nan" not in " ".join(table.rows[0])
    assert of_kind(made, Picture)


def test_infinite_values_are_left_out() -> None:
    found = one_model()
    table = found.frames["table"].copy()
    chosen = (table["method"] == "mine") & (table["id"] == "3")
    table.loc[chosen & (table["metric"] == "psnr"), "value"] = np.inf
    (shown,) = of_kind(blocks(tabled(table, found.run)), Table)
    assert "inf" not in " ".join(shown.rows[0])
    table.loc[(table["method"] == "mine") & (table["metric"] == "psnr"), "value"] = np.inf
    (shown,) = blocks(tabled(table, found.run))
    assert shown.rows[0][3:] == (*("–",) * 3, "0")


def test_an_autoencoder_that_gives_all_images_back_is_told_in_words() -> None:
    found = evaluation(dict(list(FOUR.items())[:2]), [model(name, name * 4) for name in ("one", "two")])
    table = found.frames["table"].copy()
    table.loc[(table["method"] == "one") & (table["metric"] == "ceiling_psnr"), "value"] = np.inf
    (shown,) = of_kind(blocks(tabled(table, found.run)), Table)
    assert shown.rows[0][2:] == ("identical", *("–",) * 3, "0")
