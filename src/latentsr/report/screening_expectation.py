"""The section of a screening's page on the SR quality to expect, and where the line comes from that says so."""

import math

from latentsr.report.drawing import Drawing
from latentsr.report.figures import Point, regression
from latentsr.report.numbers import NONE
from latentsr.report.page import Block, Picture, Section, Table, Text
from latentsr.report.screening_rows import LOSSLESS, Row, Told, lossless, of, written

STUDY, OWN = "the six published points", "your finished studies"
BANDS = ("centre", "confidence_low", "confidence_high", "prediction_low", "prediction_high")
CAPPED = "capped by the ceiling"  # what a newer screening itself says in a note
# arXiv 2604.12152, its results and the later re-analysis against the true HR
PROVENANCE = (
    "They are 2 autoencoders (MedVAE, SD-VAE) on 3 datasets (MRNet, BraTS, MIMIC-CXR), so they are not independent.",
    "The study's main evaluation took the PSNR of SR against decode(encode(HR)), not against HR: it does not contain "
    "what the autoencoder loses, and may lie above what you will measure against the true image.",
    "They mix samplers: T = 1000 on MRNet, T = 100 on BraTS and MIMIC-CXR.",
    "In the same study even the better of the two methods lay below bicubic interpolation on BraTS (26.42 against "
    "29.91 dB) and MIMIC-CXR (28.87 against 30.47 dB); on MRNet it lay above (25.26 against 23.79 dB).",
    "The authors' later analysis against the true HR, 15 points of 5 autoencoders on the 3 datasets, gave r = 0.83, "
    "R2 = 0.69. Its points are not those of this line.",
)


def expectation_section(told: Told) -> Section:
    """The expected SR PSNR of each ceiling, with the regression that it comes from."""
    blocks: list[Block] = [_text(told), *_provenance(told)]
    blocks += [_picture(told, name) for name in told["datasets"]]
    blocks += [_table(told, name) for name in told["datasets"]]
    return Section("What SR quality to expect", tuple(blocks))


def _text(told: Told) -> Text:
    line = told["regression"]
    source = STUDY if told["published_points"] else f"{len(line['points'])} points, {OWN}"
    return Text(
        (
            f"A line through {source} (AE ceiling against the PSNR that super-resolution reached: r = {line['r']:.2f}, "
            f"R2 = {line['r2']:.2f}) says what to expect. The outer band is the 95 % prediction interval of one new "
            "study: so wide that it serves to plan, not to choose between autoencoders that lie close. It holds for "
            "the denoiser and tasks of those points; other data, scales or networks move it. A lossless autoencoder "
            "has no ceiling, so nothing is predicted for it.",
        )
    )


def _provenance(told: Told) -> list[Block]:
    """What is known of the points."""
    if told["published_points"]:
        return [Text(("Where the six points come from, and what that means:",), PROVENANCE)]
    words = "The points are those that were given; whether their PSNR was taken against the true HR, they do not say."
    return [Text((words,))]


def _picture(told: Told, dataset: str) -> Picture:
    caption = "The autoencoders of this screening lie on the line, because the line is all that is known of them."
    return Picture(f"Ceiling and SR, {dataset}", _regression(told, dataset), caption)


def _regression(told: Told, dataset: str) -> Drawing:
    """The finished studies with their line, and this screening's autoencoders upon it."""
    line, source = told["regression"], STUDY if told["published_points"] else OWN
    points = [Point(str(point.get("dataset") or ""), point["ceiling"], point["sr"], source) for point in line["points"]]
    points += [  # named in the legend: beside the points their names would cover each other
        Point("", row["ceiling"], row["expected"], row["method"])
        for row in _by_expected(told, dataset)
        if row["expected"] is not None
    ]
    return regression(points, line["x"], [line[name] for name in BANDS], methods=[*told["methods"], source])


def _by_expected(told: Told, dataset: str) -> list[Row]:
    """The rows of a dataset, the best first, those without an expectation last."""
    rows = of(told["expected"], dataset)
    return sorted(rows, key=lambda row: -math.inf if row["expected"] is None else row["expected"], reverse=True)


def _table(told: Told, dataset: str) -> Table:
    whole = lossless(told, dataset)
    return Table(
        f"Expected SR on {dataset}",
        ("autoencoder", "AE ceiling, dB", "expected SR PSNR, dB", "95 % prediction interval", "bicubic, dB", "remark"),
        tuple(_cells(row, row["method"] in whole) for row in _by_expected(told, dataset)),
        f"Bicubic: the mean PSNR on these very images of LR ({told['degradation']}), enlarged bicubically; what is "
        "expected comes from other images, and is worth nothing below it.",
    )


def _cells(row: Row, whole: bool) -> tuple[str, ...]:
    ends = row["low"], row["high"]
    return (
        row["method"],
        LOSSLESS if whole else written(row["ceiling"], ".2f"),
        written(row["expected"], ".1f"),
        NONE if None in ends else f"[{row['low']:.1f}, {row['high']:.1f}]",
        written(row["bicubic"], ".1f"),
        _remark(row),
    )


def _remark(row: Row) -> str:
    """The row's note, and whether what is expected lies above the ceiling."""
    if CAPPED in row["note"]:
        return str(row["note"])
    above = ""
    if None not in (row["ceiling"], row["expected"]) and row["expected"] > row["ceiling"]:
        above = "expected above the ceiling: against the true HR hardly to be reached"
    elif None not in (row["ceiling"], row["high"]) and row["high"] > row["ceiling"]:
        above = "the interval's top lies above the ceiling"
    return "; ".join(filter(None, (row["note"], above)))
