"""The section of a screening's page on the AE ceilings and the paired differences between them."""

import math
from typing import Any

from latentsr.report.figures import Interval, intervals
from latentsr.report.numbers import NONE, p_value
from latentsr.report.page import Block, Picture, Section, Table, Text
from latentsr.report.screening_rows import LOSSLESS, Row, Told, bracket, by_ceiling, number, written

PAIRS = 12  # pairs of autoencoders in a table of differences; the CSV has all


def ceiling_section(told: Told) -> Section:
    """AE ceilings with intervals, and the paired differences between autoencoders."""
    text = (
        "Each image is encoded and decoded again, with no diffusion between. What is lost here, a denoiser in that "
        "latent space does not bring back in practice: it is trained towards the latents that encode gives, though "
        "these need not be the best ones for decode. So the PSNR of the decoded against the true image is called the "
        "AE ceiling of super-resolution. Brackets are Student's 95 % intervals of the mean over patients."
    )
    blocks: list[Block] = [Text((text,))]
    blocks += [_picture(told, name) for name in told["datasets"]]
    blocks += [_ceiling_table(told, name) for name in told["datasets"]]
    blocks += [table for name in told["datasets"] if (table := _difference_table(told, name))]
    return Section("What the autoencoders keep", tuple(blocks))


def _picture(told: Told, dataset: str) -> Picture:
    rows = [
        Interval(row["method"], _centre(row), number(row["low"]), number(row["high"]))
        for row in by_ceiling(told, dataset)
    ]
    drawing = intervals(rows, quantity="PSNR", unit="dB", better="higher", methods=list(told["methods"]))
    caption = "Further right more of the image is kept. Whiskers are 95 % intervals over patients."
    return Picture(f"AE ceilings on {dataset}", drawing, caption)


def _centre(row: Row) -> float:
    return math.inf if row["lossless"] else number(row["mean"])


def _ceiling_table(told: Told, dataset: str) -> Table:
    measures = told["measures"]
    own = {(row["method"], row["metric"]): row for row in told["ceilings"] if row["dataset"] == dataset}
    order = [row["method"] for row in by_ceiling(told, dataset)]
    heads = [" ".join(filter(None, (facts["title"], facts["unit"]))) for facts in measures.values()]
    rows = [(name, *(_value(own[name, metric], metric) for metric in measures)) for name in order]
    return Table(f"AE ceilings on {dataset}", ("autoencoder", *heads), tuple(rows), _ceiling_note(list(own.values())))


def _ceiling_note(rows: list[Row]) -> str:
    """What the values are, and how many images have none."""
    note = "Mean ± sd over patients, each the mean of its images [95 % interval]."
    if excluded := max(row.get("excluded") or 0 for row in rows):
        note += f" {excluded} of {rows[0]['images']} images are left out for all: constant, or "
        note += "given back exactly by a lossy autoencoder."
    if missing := max(row["missing"] for row in rows):
        note += f" {_images(missing)} no value of some measure: too small, or constant."
    if whole := max((row["infinite"] for row in rows if not row["lossless"]), default=0):
        note += f" {_images(whole)} an infinite PSNR under some autoencoder, for no error at all: left out of its mean."
    return note


def _images(count: int) -> str:
    return "1 image has" if count == 1 else f"{count} images have"


def _value(row: Row, metric: str) -> str:
    """Mean, sd and interval of a cell."""
    if row["lossless"]:
        return LOSSLESS
    if row["mean"] is None:
        return NONE
    digits = 2 if metric == "psnr" else 4
    spread = "" if row["sd"] is None else f" ± {row['sd']:.{digits}f}"
    return f"{row['mean']:.{digits}f}{spread}{bracket(row, digits)}"


def _difference_table(told: Told, dataset: str) -> Table | None:
    chosen = [row for row in told["differences"] if row["dataset"] == dataset and row["metric"] == "psnr"]
    rows = sorted((_upright(row) for row in chosen), key=lambda row: number(row["difference"], math.inf))
    if not rows:
        return None
    more = f" The other {len(rows) - PAIRS} pairs are in differences.csv." if len(rows) > PAIRS else ""
    return Table(
        f"Paired differences in PSNR on {dataset}, the closest pairs first",
        ("better minus other", "difference, dB", "95 % interval", "patients", "effect size d_z", "p (Holm)"),
        tuple(_difference_cells(row) for row in rows[:PAIRS]),
        "Where the interval holds zero, the two are not told apart. d_z is the paired effect size over patients; p is "
        f"of Student's test, adjusted for all comparisons on this dataset.{more}",
    )


def _upright(row: Row) -> dict[str, Any]:
    """The row with the better of the pair first."""
    if row["difference"] is None or row["difference"] >= 0:
        return dict(row)
    low, high = (None if row[end] is None else -row[end] for end in ("high", "low"))
    turned = {"a": row["b"], "b": row["a"], "difference": -row["difference"], "low": low, "high": high}
    return {**row, **turned, "d_z": None if row["d_z"] is None else -row["d_z"]}


def _difference_cells(row: Row) -> tuple[str, ...]:
    return (
        f"{row['a']} – {row['b']}",
        written(row["difference"], ".2f"),
        bracket(row).strip() or NONE,
        str(row["n"]),
        written(row["d_z"], ".2f"),
        p_value(row["p_holm"]),
    )
