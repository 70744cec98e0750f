"""The tables of an evaluation's report on whole sets: how realistic the images of each method are together."""

from collections.abc import Iterator

import pandas as pd

from latentsr.report.evaluation_data import HR, Evaluation
from latentsr.report.evaluation_judgement import told_pairs
from latentsr.report.numbers import estimate, number
from latentsr.report.page import Table

SET_TITLES = {"swd": "Sliced Wasserstein (x 1000)", "fid": "FID", "kid": "KID"}
RELIABLE_FID = 2048
FLOOR = "HR, other patches"  # the row of HR as a method


def set_table(evaluation: Evaluation, dataset: str) -> Table | None:
    """Distances of whole sets with intervals: sliced Wasserstein and its levels, FID and KID where measured."""
    rows = evaluation.frame("sets", dataset)
    if rows.empty:
        return None
    names = sorted(rows["metric"].unique(), key=_set_order)
    wide = rows.set_index(["method", "metric"])
    titles = {name: name for name in evaluation.methods} | {HR: FLOOR}
    measured = set(rows["method"])
    cells = tuple(
        (title, *(_cell(name, wide.loc[(method, name)]) for name in names))
        for method, title in titles.items()
        if method in measured
    )
    note = (
        "How far the SR images as a whole lie from the HR images as a whole, not each from its own; less is better. "
        "Sliced Wasserstein distance of Laplacian-pyramid patches (Karras 2018), its mean over levels and each level, "
        "named by how much coarser its pixels are (x1: the finest); the levels' intervals stand in sets.csv. "
        "Patches of SR and of HR lie at independent places: HR against HR is the floor. " + interval_note(rows)
    )
    if "fid" in names:
        note += _fid_note(int(rows["images"].iloc[0]))
    heads = [set_title(evaluation, name) for name in names]
    return Table(f"Realism of the whole set on {dataset}", ("method", *heads), cells, note)


def set_difference_table(evaluation: Evaluation, dataset: str) -> Table | None:
    """Differences between all methods of the measures of whole sets that have intervals, by patient."""
    cells = tuple(_difference_cells(evaluation, dataset))
    note = (
        "First minus second, below 0: the first is more realistic. The same patients are left out of both, so that "
        "what both owe to them drops out. Not adjusted for the number of rows. Levels: set_comparisons.csv."
    )
    columns = ("measure", "pair", "difference", "95 % interval", "patients")
    return Table(f"Realism: differences on {dataset}", columns, cells, note) if cells else None


def floor(evaluation: Evaluation, dataset: str) -> float:
    """The sliced Wasserstein distance of HR from HR at other places, NaN where it was not measured."""
    rows = evaluation.frame("sets", dataset)
    found = rows if rows.empty else rows[(rows["method"] == HR) & (rows["metric"] == "swd")]["value"]
    return float(found.iloc[0]) if len(found) else float("nan")


def _difference_cells(evaluation: Evaluation, dataset: str) -> Iterator[tuple[str, ...]]:
    """A row a measure and pair, each pair the way round that it has in all tables."""
    rows = evaluation.frame("set_comparisons", dataset)
    if rows.empty:
        return
    chosen = rows[rows["low"].notna() & ~rows["metric"].str.contains("/")]
    found = {(row["metric"], row["a"], row["b"]): row for row in chosen.to_dict(orient="records")}
    for metric in sorted(chosen["metric"].unique(), key=_set_order):
        for a, b in told_pairs(evaluation):
            if (row := found.get((metric, a, b))) is not None:
                values = row["difference"], row["low"], row["high"]
            elif (row := found.get((metric, b, a))) is not None:
                values = -row["difference"], -row["high"], -row["low"]
            else:
                continue
            shown = estimate(*values, _unit(metric), signed=True)
            yield set_title(evaluation, metric), f"{a} – {b}", *shown, str(int(row["patients"]))


def set_title(evaluation: Evaluation, name: str) -> str:
    """A measure of whole sets in words, FID and KID with the features that they are of."""
    if level := name.partition("/")[2]:
        return f"level {level}"
    return SET_TITLES[name] if name == "swd" else f"{SET_TITLES[name]} ({evaluation.run['features']})"


def interval_note(rows: pd.DataFrame) -> str:
    """How the intervals in rows of the table `sets` were made, or why there are none."""
    if rows["low"].isna().all():
        return "No intervals: they need five patients or more."
    return (
        "In brackets 95 % intervals with the patient as the unit, by leaving out one group of patients after the other "
        "(at most 20 groups; SR and HR leave together): of such a measure neither images nor patients can be drawn "
        "twice, since a copy would count as a perfect match."
    )


def set_definitions(evaluation: Evaluation) -> Iterator[str]:
    """How the measures of whole sets are defined, of those that were measured."""
    measured = {str(name) for one in evaluation.datasets for name in evaluation.frame("sets", one).get("metric", ())}
    told = []
    if "swd" in measured:
        told.append(
            "sliced Wasserstein, the mean distance of two sets of 7x7 patches of each Laplacian-pyramid level along "
            "random directions, times 1000 (Karras et al. 2018), at independent places of SR and HR; as many levels as "
            "the smallest image has, whose level "
            "is not under 16 px, of all images"
        )
    if "fid" in measured:
        features = f"of the features of {evaluation.run['features']}"
        told.append(f"FID, the Frechet distance of normal distributions {features} (Heusel et al. 2017)")
        told.append(
            f"KID, the unbiased squared maximum mean discrepancy {features} (Binkowski et al. 2018), from pairs of "
            f"images of different patients{_of_one_patient(evaluation)}: SR and HR of one image are no independent "
            "pair (Gretton et al. 2012)"
        )
    if told:
        yield (
            f"Measures of whole sets: {'; '.join(told)}. Their intervals are those of the delete-a-group jackknife "
            "over patients with Student's t (Kott 2001); FID has none, and no test is made of them."
        )


def _of_one_patient(evaluation: Evaluation) -> str:
    """What KID is of where there are no two patients, if a dataset has but one."""
    patients = [evaluation.frame("sets", one).get("patients", pd.Series(dtype=int)) for one in evaluation.datasets]
    return " (of different images where there is but one patient)" if any(one.eq(1).any() for one in patients) else ""


def _fid_note(images: int) -> str:
    few = f", below {RELIABLE_FID}: biased and unreliable, read KID instead" if images < RELIABLE_FID else ""
    return f" FID of {images} images{few}; it has no interval, since its bias grows as images are left out."


def _cell(name: str, row: "pd.Series") -> str:
    """The value, with its interval but for levels: theirs stand in sets.csv."""
    if "/" in name:
        return number(row["value"], _unit(name))
    return " ".join(estimate(row["value"], row["low"], row["high"], _unit(name))).strip()


def _unit(name: str) -> str:
    """The unit by which decimals are chosen: sliced Wasserstein, in thousandths, has two as dB have."""
    return "dB" if name.partition("/")[0] == "swd" else ""


def _set_order(name: str) -> tuple[int, int]:
    level = name.partition("/")[2]
    return (
        (1, int(level.removeprefix("x"))) if level else (0, list(SET_TITLES).index(name) if name in SET_TITLES else 9)
    )
