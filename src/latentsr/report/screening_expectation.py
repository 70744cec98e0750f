"""The section of a screening's page on the SR quality to expect, and where the line comes from that says so."""

import math

from latentsr.report.drawing import Drawing
from latentsr.report.figures import Point, regression
from latentsr.report.numbers import NONE, listed
from latentsr.report.page import Block, Picture, Section, Table, Text
from latentsr.report.screening_rows import LOSSLESS, Row, Told, bracket, lossless, of, written
from latentsr.stats.regression import Correlation, fisher_interval

STUDY, OWN = "the six published points", "your finished studies"
BANDS = ("centre", "confidence_low", "confidence_high", "prediction_low", "prediction_high")
CAPPED = "capped by the ceiling"  # what a newer screening itself says in a note
LATER = Correlation(0.83, *fisher_interval(0.83, 15), math.nan, 15)  # the published r and n
# arXiv 2604.12152, its results and the later re-analysis against the true HR
PROVENANCE = (
    "They are 2 autoencoders (MedVAE, SD-VAE) on 3 datasets (MRNet, BraTS, MIMIC-CXR), so they are not independent, as "
    "the interval of r and the bands take them to be: both are too narrow.",
    "The study's main evaluation took the PSNR of SR against decode(encode(HR)), not against HR: it does not contain "
    "what the autoencoder loses, and may lie above what you will measure against the true image.",
    "The study's text says T = 100 sampling steps, the evaluation jobs in its public code run T = 1000.",
    "The authors' later analysis against the true HR, 15 points of 5 autoencoders on the 3 datasets, gave "
    f"{LATER.words}, R2 = 0.69. Its points are not those of this line.",
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
    beside = listed([f"{name} ({facts['about']})" for name, facts in told["baseline_methods"].items()])
    return Text(
        (
            f"A line through {source} (AE ceiling against the PSNR that super-resolution reached: "
            f"{Correlation(**line['correlation']).words}, R2 = {line['r2']:.2f}) says what to expect. The outer band "
            "is the 95 % prediction interval of one new study: so wide that it serves to plan, not to choose between "
            "autoencoders that lie close. It holds for the denoiser and tasks of those points; other data, scales or "
            "networks move it. A lossless autoencoder has no ceiling, so nothing is predicted for it.",
            f"Beside it stands what is measured on the images of this screening, with LR by {told['degradation']}: "
            f"{beside}. Where the line lies below bicubic, it says what the methods of its points reached, not what is "
            "possible. A shipped model is at its best on images like those that it was trained on.",
        )
    )


def _provenance(told: Told) -> list[Block]:
    """What is known of the points."""
    if told["published_points"]:
        items = (*PROVENANCE[:-1], _published_bicubic(told["regression"]["points"]), PROVENANCE[-1])
        return [Text(("Where the six points come from, and what that means:",), items)]
    words = "The points are those that were given; whether their PSNR was taken against the true HR, they do not say."
    return [Text((words,))]


def _published_bicubic(points: list[Row]) -> str:
    """The better method of each of the study's datasets against bicubic there."""
    sides: dict[str, list[str]] = {"below": [], "above": []}
    for name in dict.fromkeys(point["dataset"] for point in points):
        own = [point for point in points if point["dataset"] == name]
        best, bicubic = max(point["sr"] for point in own), own[0]["bicubic"]
        sides["below" if best < bicubic else "above"].append(f"{name} ({best:.2f} against {bicubic:.2f} dB)")
    told = "; ".join(f"{side} bicubic interpolation on {listed(names)}" for side, names in sides.items() if names)
    return f"In the same study even the better of the two methods lay {told}."


def _picture(told: Told, dataset: str) -> Picture:
    names = [row["method"] for row in _baselines(told, dataset)]
    across = f"Lines across: what {listed(names)} reach{'es' * (len(names) == 1)} on these images, measured. "
    caption = "The autoencoders lie on the line, because the line is all that is known of their SR."
    return Picture(f"Ceiling and SR, {dataset}", _regression(told, dataset), across * bool(names) + caption)


def _regression(told: Told, dataset: str) -> Drawing:
    """The finished studies with their line, this screening's autoencoders upon it, and the baselines as levels."""
    line, source = told["regression"], STUDY if told["published_points"] else OWN
    points = [Point(str(point.get("dataset") or ""), point["ceiling"], point["sr"], source) for point in line["points"]]
    points += [  # named in the legend: beside the points their names would cover each other
        Point("", row["ceiling"], row["expected"], row["method"])
        for row in _by_expected(told, dataset)
        if row["expected"] is not None
    ]
    levels = {f"{row['method']}, measured": row["mean"] for row in _baselines(told, dataset)}
    methods = [*told["methods"], source, *levels]
    return regression(points, line["x"], [line[name] for name in BANDS], levels=levels, methods=methods)


def _baselines(told: Told, dataset: str) -> list[Row]:
    """What was measured beside the expectation on a dataset."""
    return [row for row in of(told["baselines"], dataset) if row["mean"] is not None]


def _by_expected(told: Told, dataset: str) -> list[Row]:
    """The rows of a dataset, the best first, those without an expectation last."""
    rows = of(told["expected"], dataset)
    return sorted(rows, key=lambda row: -math.inf if row["expected"] is None else row["expected"], reverse=True)


def _table(told: Told, dataset: str) -> Table:
    whole, baselines = lossless(told, dataset), _baselines(told, dataset)
    measured = "; ".join(f"{row['method']} {row['mean']:.2f} dB{bracket(row)}" for row in baselines)
    note = f" Measured on these images: {measured}, mean PSNR with 95 % interval." if measured else ""
    columns = ("autoencoder", "AE ceiling", "expected", *(f"minus {row['method']}" for row in baselines), "remark")
    rows = tuple(_cells(row, baselines, row["method"] in whole) for row in _by_expected(told, dataset))
    shown = len(columns) - (not any(cells[-1] for cells in rows))  # no column of remarks without any
    return Table(
        f"Expected SR PSNR on {dataset}, dB",
        columns[:shown],
        tuple(cells[:shown] for cells in rows),
        f"In brackets: 95 % prediction interval.{note} What is expected comes from other images; where it lies below "
        "bicubic it is worth nothing here.",
    )


def _cells(row: Row, baselines: list[Row], whole: bool) -> tuple[str, ...]:
    expected = row["expected"]
    return (
        row["method"],
        LOSSLESS if whole else written(row["ceiling"], ".2f"),
        NONE if expected is None else f"{expected:.1f}{bracket(row, 1)}",
        *(written(None if expected is None else expected - one["mean"], "+.1f") for one in baselines),
        "" if whole else _remark(row),
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
