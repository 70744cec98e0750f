"""The table of an evaluation's report on whole sets: how realistic the images of each method are together."""

from latentsr.report.evaluation_data import Evaluation, number
from latentsr.report.page import Table

SET_TITLES = {"swd": "Sliced Wasserstein (x 1000)", "fid": "FID", "kid": "KID"}


def set_table(evaluation: Evaluation, dataset: str) -> Table | None:
    """Distances of whole sets: sliced Wasserstein by pyramid level, FID and KID where measured."""
    rows = evaluation.frame("sets", dataset)
    if rows.empty:
        return None
    names = sorted(rows["metric"].unique(), key=_set_order)
    wide = rows.pivot(index="method", columns="metric", values="value")
    cells = tuple((method, *(number(wide.loc[method, name]) for name in names)) for method in evaluation.methods)
    extractor = evaluation.run["features"]
    titles = SET_TITLES | {name: f"{SET_TITLES[name]} ({extractor})" for name in ("fid", "kid")}
    heads = [titles.get(name) or f"level {name.split('/')[1]} px" for name in names]
    few = int(rows["images"].iloc[0])
    note = (
        "How far the SR images as a whole lie from the HR images as a whole, nothing paired; less is better. Sliced "
        "Wasserstein distance of Laplacian-pyramid patches (Karras 2018), its mean over levels and each level. One "
        "value a set: no interval, no test."
    )
    if "fid" in names:
        note += f" FID of {few} images" + (
            ", below 2048: biased and unreliable, read KID instead." if few < 2048 else "."
        )
    return Table(f"Realism of the whole set on {dataset}", ("method", *heads), cells, note)


def _set_order(name: str) -> tuple[int, int]:
    level = name.partition("/")[2]
    return (1, -int(level)) if level else (0, list(SET_TITLES).index(name) if name in SET_TITLES else 9)
