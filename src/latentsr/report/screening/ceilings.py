"""Sections of a screening's page: AE ceilings, domain and geometry, and the SR quality to expect."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from latentsr.names import CAPPED, listed
from latentsr.report.drawing import Drawing
from latentsr.report.figures import Interval, Point, intervals, regression
from latentsr.report.page import Block, Picture, Section, Table, Text
from latentsr.report.text import NONE, interval, p_value
from latentsr.stats.regression import Correlation, fisher_interval
from latentsr.stats.significance import FEWEST, LEVEL

Told = Mapping[str, Any]
Row = Mapping[str, Any]
LOSSLESS = "lossless"


def of(rows: Sequence[Row], dataset: str) -> list[Row]:
    """The rows of one dataset."""
    return [row for row in rows if row["dataset"] == dataset]


def by_ceiling(told: Told, dataset: str) -> list[Row]:
    """The PSNR rows of a dataset, the best first, then those without a mean, lossless ones last: they are unranked."""
    rows = [row for row in told["ceilings"] if row["dataset"] == dataset and row["metric"] == "psnr"]
    return sorted(rows, key=lambda row: (row["lossless"], row["mean"] is None, -(row["mean"] or 0.0)))


def lossless(told: Told, dataset: str) -> set[str]:
    """The autoencoders that give back every image of the dataset."""
    return {row["method"] for row in by_ceiling(told, dataset) if row["lossless"]}


def several_lossy(told: Told) -> bool:
    """Whether on some dataset two autoencoders or more lose something, so that there is a ranking."""
    return any(len(told["methods"]) - len(lossless(told, name)) > 1 for name in told["datasets"])


def written(value: float | None, form: str) -> str:
    """The value in that form, such as ".2f", or a dash for null."""
    return NONE if value is None else format(value, form)


def bracket(row: Row, digits: int = 2, *, signed: bool = False) -> str:
    """The interval after a blank, such as [27.10, 28.61], or nothing where there is none."""
    shown = interval(row["low"], row["high"], signed=signed, digits=digits)
    return f" {shown}" if shown else ""


def number(value: float | None, null: float = math.nan) -> float:
    """The value, NaN or what is given for null."""
    return null if value is None else value


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
    blocks += [_ceiling_picture(told, name) for name in told["datasets"]]
    blocks += [_ceiling_table(told, name) for name in told["datasets"]]
    blocks += [table for name in told["datasets"] if (table := _difference_table(told, name))]
    return Section("What the autoencoders keep", tuple(blocks))


def _ceiling_picture(told: Told, dataset: str) -> Picture:
    rows = [
        Interval(
            row["method"],
            (math.inf if row["lossless"] else number(row["mean"])),
            number(row["low"]),
            number(row["high"]),
        )
        for row in by_ceiling(told, dataset)
    ]
    drawing = intervals(rows, quantity="PSNR", unit="dB", better="higher", methods=list(told["methods"]))
    caption = "Further right more of the image is kept. Whiskers are 95 % intervals over patients."
    return Picture(f"AE ceilings on {dataset}", drawing, caption)


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
        "Mean of the patients' differences with Student's interval, which is not adjusted; p is of Student's test, "
        f"adjusted for all comparisons on this dataset. Two are told apart where p is below {LEVEL:g}, from {FEWEST} "
        f"patients on. d_z is the paired effect size over patients.{more}",
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


AS_MANY = "as many, other shape"


def contrast_section(told: Told) -> Section:
    """Pairs that differ in domain or geometry and agree in the other, a figure and a table a dataset."""
    text = (
        "Domain: two autoencoders of the same latent geometry, one trained on medical and one on natural images. "
        "Geometry: two of the same domain whose latents differ in size or shape. Only autoencoders that were trained "
        "alike, with one architecture and one budget, tell the cause; published ones differ in more than their name "
        "says."
    )
    names = [name for name in told["datasets"] if of(told["contrasts"], name)]
    blocks: list[Block] = [Text((text,))]
    blocks += [_contrast_picture(told, name) for name in names]
    blocks += [_contrast_table(told, name) for name in names]
    return Section("Domain or geometry?", tuple(blocks))


def _contrast_picture(told: Told, dataset: str) -> Picture:
    rows = [
        Interval(_pair(row), number(row["difference"]), number(row["low"]), number(row["high"]), kind.capitalize())
        for row in of(told["contrasts"], dataset)
        for kind in (row["kind"],)
    ]
    pairs = list(dict.fromkeys(_pair(row) for row in told["contrasts"]))  # a pair has one mark in all figures
    drawing = intervals(rows, quantity="Difference in PSNR", unit="dB", reference=0.0, methods=pairs)
    caption = "Right of 0 the first of the pair keeps more, left of 0 the second. Whiskers: 95 % intervals by patient."
    return Picture(f"Domain and geometry on {dataset}", drawing, caption)


def _contrast_table(told: Told, dataset: str) -> Table:
    rows = tuple(
        (
            _pair(row),
            row["kind"],
            _numbers(told, row),
            f"{written(row['difference'], '+.2f')}{bracket(row, signed=True)}",
        )
        for row in of(told["contrasts"], dataset)
    )
    return Table(
        f"Domain and geometry on {dataset}",
        ("pair", "differs in", "latent numbers", "difference in PSNR, dB [95 % interval]"),
        rows,
        "First minus second of the pair on the same images, mean over patients. Latent numbers: those of the first "
        "against the second.",
    )


def _pair(row: Row) -> str:
    return f"{row['a']} – {row['b']}"


def _numbers(told: Told, row: Row) -> str:
    """How many numbers the first latent has against the second, such as "3 times as many"."""
    if row["kind"] == "domain":
        return "the same"
    first, second = (told["methods"][row[side]] for side in ("a", "b"))
    ratio = first["latent_channels"] * second["factor"] ** 2 / (second["latent_channels"] * first["factor"] ** 2)
    return AS_MANY if ratio == 1 else f"{ratio:.3g} times as many"


STUDY, OWN = "the six published points", "your finished studies"
BANDS = ("centre", "confidence_low", "confidence_high", "prediction_low", "prediction_high")
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
    blocks += [_expectation_picture(told, name) for name in told["datasets"]]
    blocks += [_expectation_table(told, name) for name in told["datasets"]]
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


def _expectation_picture(told: Told, dataset: str) -> Picture:
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


def _expectation_table(told: Told, dataset: str) -> Table:
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
