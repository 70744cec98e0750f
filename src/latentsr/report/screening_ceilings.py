"""Sections of a screening's page: AE ceilings, domain and geometry, the SR quality to expect."""

import math
from typing import Any

from latentsr.report.drawing import Drawing
from latentsr.report.figures import Interval, Point, intervals, regression
from latentsr.report.page import Block, Picture, Section, Table, Text
from latentsr.report.screening_rows import LOSSLESS, NONE, Row, Told, bracket, by_ceiling, number, of

PAIRS = 12  # pairs of autoencoders in a table of differences; the CSV has all


def ceiling_section(told: Told) -> Section:
    """AE ceilings with intervals, and the paired differences between autoencoders."""
    text = (
        "Each image is encoded and decoded again, with no diffusion between. What is lost here, no denoiser can bring "
        "back: the PSNR of the decoded against the true image is the AE ceiling of a super-resolution model in that "
        "latent space. Higher is better. Whiskers and brackets are 95 % intervals from a bootstrap of patients."
    )
    blocks: list[Block] = [Text((text,)), Picture("AE ceilings", _ceilings(told))]
    blocks += [_ceiling_table(told, name) for name in told["datasets"]]
    blocks += [table for name in told["datasets"] if (table := _difference_table(told, name))]
    return Section("What the autoencoders keep", tuple(blocks))


def _ceilings(told: Told) -> Drawing:
    rows = [
        Interval(row["method"], _centre(row), number(row["low"]), number(row["high"]), row["dataset"])
        for name in told["datasets"]
        for row in by_ceiling(told, name)
    ]
    return intervals(rows, quantity="PSNR", unit="dB", better="higher", methods=list(told["methods"]))


def _ceiling_table(told: Told, dataset: str) -> Table:
    measures = told["measures"]
    own = {(row["method"], row["metric"]): row for row in told["ceilings"] if row["dataset"] == dataset}
    order = [row["method"] for row in by_ceiling(told, dataset)]
    heads = [" ".join(filter(None, (facts["title"], facts["unit"]))) for facts in measures.values()]
    rows = [(name, *(_value(own[name, metric], metric) for metric in measures)) for name in order]
    missing = max(row["missing"] for row in own.values())
    note = "Mean ± sd over images [95 % interval]."
    if missing:
        note += f" {missing} images have no value of some measure: they are too small, or constant."
    return Table(f"AE ceilings on {dataset}", ("autoencoder", *heads), tuple(rows), note)


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
    rows = sorted((_upright(row) for row in chosen), key=lambda row: row["difference"])
    if not rows:
        return None
    more = f" The {len(rows) - PAIRS} pairs that lie further apart are in differences.csv." if len(rows) > PAIRS else ""
    return Table(
        f"Paired differences in PSNR on {dataset}, the closest pairs first",
        ("better minus other", "difference, dB", "95 % interval", "patients", "effect size d_z", "p (Holm)"),
        tuple(_difference_cells(row) for row in rows[:PAIRS]),
        "Where the interval holds zero, the two are not told apart. d_z is the paired effect size over patients; p is "
        f"of the Wilcoxon test, adjusted for all comparisons on this dataset.{more}",
    )


def _upright(row: Row) -> dict[str, Any]:
    """The row with the better of the pair first."""
    if row["difference"] is None or row["difference"] >= 0:
        return {**row, "difference": row["difference"] or 0.0}
    low, high = (None if row[end] is None else -row[end] for end in ("high", "low"))
    turned = {"a": row["b"], "b": row["a"], "difference": -row["difference"], "low": low, "high": high}
    return {**row, **turned, "d_z": None if row["d_z"] is None else -row["d_z"]}


def _difference_cells(row: Row) -> tuple[str, ...]:
    p = row["p_holm"]
    return (
        f"{row['a']} – {row['b']}",
        f"{row['difference']:.2f}",
        bracket(row).strip() or NONE,
        str(row["n"]),
        NONE if row["d_z"] is None else f"{row['d_z']:.2f}",
        NONE if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}",
    )


def contrast_section(told: Told) -> Section:
    """Domain and geometry: pairs that differ in one and agree in the other."""
    text = (
        "Domain: two autoencoders of the same latent geometry, one trained on medical and one on natural images. "
        "Geometry: two of the same domain whose latents have other sizes. Only autoencoders that were trained alike, "
        "with one architecture and one budget, tell the cause; published ones differ in more than their name says."
    )
    rows = [
        (
            row["dataset"],
            row["kind"],
            f"{row['a']} – {row['b']}",
            row["geometries"] if row["kind"] == "domain" else f"{row['domains']}: {row['geometries']}",
            f"{row['difference']:+.2f}{bracket(row, signed=True)}",
        )
        for row in told["contrasts"]
    ]
    figure = intervals(
        [
            Interval(f"{row['a']} – {row['b']}", row["difference"], number(row["low"]), number(row["high"]), group)
            for row in told["contrasts"]
            for group in (f"{row['kind'].capitalize()}, {row['dataset']}",)
        ],
        quantity="Difference in PSNR",
        unit="dB",
        reference=0.0,
    )
    columns = ("dataset", "differs in", "pair", "at", "difference in PSNR, dB")
    blocks = (Text((text,)), Picture("Domain and geometry", figure), Table("Domain and geometry", columns, tuple(rows)))
    return Section("Domain or geometry?", blocks)


def expectation_section(told: Told) -> Section:
    """The expected SR PSNR of each ceiling, with the regression that it comes from."""
    line = told["regression"]
    source = "six points of the published study" if told["published_points"] else f"{len(line['points'])} own studies"
    text = (
        f"A line through {source} (AE ceiling against the PSNR that super-resolution reached: r = {line['r']:.2f}, "
        f"R2 = {line['r2']:.2f}) says what to expect. The outer band is the 95 % prediction interval of one new study: "
        "so wide that it serves to plan, not to choose between autoencoders that lie close. It holds for the published "
        "denoiser and tasks; other data, scales or networks move it. A lossless autoencoder has no ceiling, so nothing "
        "is predicted for it."
    )
    columns = ("autoencoder", "AE ceiling, dB", "expected SR PSNR, dB", "95 % prediction interval", "remark")
    tables = [
        Table(f"Expected SR on {name}", columns, tuple(_expected_cells(row) for row in _by_expected(told, name)))
        for name in told["datasets"]
    ]
    return Section("What SR quality to expect", (Text((text,)), Picture("Ceiling and SR", _regression(told)), *tables))


def _by_expected(told: Told, dataset: str) -> list[Row]:
    """The rows of a dataset, the best first, those without an expectation last."""
    rows = of(told["expected"], dataset)
    return sorted(rows, key=lambda row: -math.inf if row["expected"] is None else row["expected"], reverse=True)


def _expected_cells(row: Row) -> tuple[str, ...]:
    if row["expected"] is None:
        return row["method"], LOSSLESS if row["ceiling"] is None else NONE, NONE, NONE, row["note"]
    interval = f"[{row['low']:.1f}, {row['high']:.1f}]"
    return row["method"], f"{row['ceiling']:.2f}", f"{row['expected']:.1f}", interval, row["note"]


def _regression(told: Told) -> Drawing:
    """The finished studies with their line, and this screening's autoencoders upon it."""
    line = told["regression"]
    source = "published studies" if told["published_points"] else "your finished studies"
    points = [Point(str(point.get("dataset") or ""), point["ceiling"], point["sr"], source) for point in line["points"]]
    points += [
        Point(row["method"], row["ceiling"], row["expected"], f"expected on {row['dataset']}")
        for row in told["expected"]
        if row["expected"] is not None
    ]
    names = ("centre", "confidence_low", "confidence_high", "prediction_low", "prediction_high")
    return regression(points, line["x"], [line[name] for name in names])


def _centre(row: Row) -> float:
    return math.inf if row["lossless"] else number(row["mean"])
