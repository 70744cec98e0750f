"""The page of a screening: the verdict first, then what it rests on; nothing is computed again."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from latentsr.config import read_json
from latentsr.names import (
    CAPPED,
    DECODED_FILE,
    ERROR_FILE,
    HR,
    HR_FILE,
    PICTURES,
    SCREENING,
    SCREENING_PAGE,
    SUPPLEMENT,
    listed,
)
from latentsr.report.blocks import Block, Columns, Images, Page, Picture, Section, Table, Text, Tile, tabulate
from latentsr.report.figures import Interval, Point, band_bars, intervals, regression, spectra
from latentsr.report.page import write_markdown, write_page
from latentsr.report.text import NONE, counted, data_facts, interval, p_value, run_facts
from latentsr.stats.regression import Correlation
from latentsr.stats.significance import FEWEST, LEVEL, turned
from latentsr.stats.table import read_table

Results = Mapping[str, Any]  # of a screening: the content of screening.json
Row = Mapping[str, Any]
LOSSLESS = "lossless"


def rows_of(rows: Sequence[Row], dataset: str) -> list[Row]:
    """The rows of one dataset."""
    return [row for row in rows if row["dataset"] == dataset]


def by_ceiling(results: Results, dataset: str) -> list[Row]:
    """The PSNR rows of a dataset, the best first, then those without a mean, lossless ones last: they are unranked."""
    rows = [row for row in results["ceilings"] if row["dataset"] == dataset and row["metric"] == "psnr"]
    return sorted(rows, key=lambda row: (row["lossless"], row["mean"] is None, -(row["mean"] or 0.0)))


def lossless(results: Results, dataset: str) -> set[str]:
    """The autoencoders that give back every image of the dataset."""
    return {row["method"] for row in by_ceiling(results, dataset) if row["lossless"]}


def several_lossy(results: Results) -> bool:
    """Whether on some dataset two autoencoders or more lose something, so that there is a ranking."""
    return any(len(results["methods"]) - len(lossless(results, name)) > 1 for name in results["datasets"])


def written(value: float | None, form: str) -> str:
    """The value in that form, such as ".2f", or a dash for null and NaN."""
    return NONE if value is None or math.isnan(value) else format(value, form)


def bracket(row: Row, digits: int = 2, *, signed: bool = False) -> str:
    """The interval after a blank, such as [27.10, 28.61], or nothing where there is none."""
    shown = interval(row["low"], row["high"], signed=signed, digits=digits)
    return f" {shown}" if shown else ""


def numbers(row: Row, *names: str) -> list[float]:
    """The values of those names, NaN for null."""
    return [math.nan if row[name] is None else row[name] for name in names]


PAIRS = 12  # pairs of autoencoders in a table of differences; the CSV has all


def ceiling_section(results: Results) -> Section:
    """AE ceilings with intervals, and the paired differences between autoencoders."""
    text = (
        "Each image is encoded and decoded again, with no diffusion between. What is lost here, a denoiser in that "
        "latent space does not bring back in practice: it is trained towards the latents that encode gives, though "
        "these need not be the best ones for decode. So the PSNR of the decoded against the true image is called the "
        "AE ceiling of super-resolution. Brackets are Student's 95 % intervals of the mean over patients."
    )
    pictures, ceilings, differences = [], [], []
    for name in results["datasets"]:
        rows = []
        for row in by_ceiling(results, name):
            mean, low, high = numbers(row, "mean", "low", "high")
            rows.append(Interval(row["method"], math.inf if row["lossless"] else mean, low, high))
        drawing = intervals(rows, quantity="PSNR", unit="dB", better="higher", methods=list(results["methods"]))
        caption = "Further right more of the image is kept. Whiskers are 95 % intervals over patients."
        pictures.append(Picture(f"AE ceilings on {name}", drawing, caption))
        ceilings.append(_ceiling_table(results, name))
        differences.append(_difference_table(results, name))
    return Section.of("What the autoencoders keep", Text((text,)), *pictures, *ceilings, *differences)


def _ceiling_table(results: Results, dataset: str) -> Table | None:
    own = {(row["method"], row["metric"]): row for row in rows_of(results["ceilings"], dataset)}

    def mean(row: Row, digits: int) -> str:
        if row["lossless"]:
            return LOSSLESS
        if row["mean"] is None:
            return NONE
        spread = "" if row["sd"] is None else f" ± {row['sd']:.{digits}f}"
        return f"{row['mean']:.{digits}f}{spread}{bracket(row, digits)}"

    def column(metric: str) -> Callable[[Row], str]:
        return lambda row: mean(own[row["method"], metric], 2 if metric == "psnr" else 4)

    columns: dict[str, Callable[[Row], str]] = {"autoencoder": lambda row: row["method"]}
    for name, facts in results["measures"].items():
        columns[f"{facts['title']} {facts['unit']}".rstrip()] = column(name)
    # What the values are, and how many images have none.
    note, rows = "Mean ± sd over patients, each the mean of its images [95 % interval].", list(own.values())
    if excluded := max(row.get("excluded") or 0 for row in rows):
        note += f" {excluded} of {rows[0]['images']} images are left out for all: constant, or "
        note += "given back exactly by a lossy autoencoder."
    if missing := max(row["missing"] for row in rows):
        note += f" {_images(missing)} no value of some measure: too small, or constant."
    if whole := max((row["infinite"] for row in rows if not row["lossless"]), default=0):
        note += f" {_images(whole)} an infinite PSNR under some autoencoder, for no error at all: left out of its mean."
    return tabulate(f"AE ceilings on {dataset}", columns, by_ceiling(results, dataset), note)


def _images(count: int) -> str:
    return "1 image has" if count == 1 else f"{count} images have"


def _difference_table(results: Results, dataset: str) -> Table | None:
    rows = []
    for row in rows_of(results["differences"], dataset):
        if row["metric"] == "psnr":  # the better of the pair first, NaN for null
            known = {name: math.nan if value is None else value for name, value in row.items()}
            rows.append(turned(known) if known["difference"] < 0 else known)
    rows.sort(key=lambda row: math.inf if math.isnan(row["difference"]) else row["difference"])
    columns: Columns = {
        "better minus other": pair_name,
        "difference, dB": lambda row: written(row["difference"], ".2f"),
        "95 % interval": lambda row: bracket(row).strip() or NONE,
        "patients": lambda row: str(row["n"]),
        "effect size d_z": lambda row: written(row["d_z"], ".2f"),
        "p (Holm)": lambda row: p_value(row["p_holm"]),
    }
    note = (
        "Mean of the patients' differences with Student's interval, which is not adjusted; p is of Student's test, "
        f"adjusted for all comparisons on this dataset. Two are told apart where p is below {LEVEL:g}, from {FEWEST} "
        "patients on. d_z is the paired effect size over patients."
    )
    if len(rows) > PAIRS:
        note += f" The other {len(rows) - PAIRS} pairs are in differences.csv."
    return tabulate(f"Paired differences in PSNR on {dataset}, the closest pairs first", columns, rows[:PAIRS], note)


def pair_name(row: Row) -> str:
    """The two that a row compares."""
    return f"{row['a']} – {row['b']}"


AS_MANY = "as many, other shape"


def contrast_section(results: Results) -> Section:
    """Pairs that differ in domain or geometry and agree in the other: one figure and one table per dataset."""
    text = (
        "Domain: two autoencoders of the same latent geometry, one trained on medical and one on natural images. "
        "Geometry: two of the same domain whose latents differ in size or shape. Only autoencoders that were trained "
        "alike, with one architecture and one budget, tell the cause; published ones differ in more than their name "
        "says."
    )

    def size(row: Row) -> str:
        """How many numbers the first latent has against the second, such as "3 times as many"."""
        if row["kind"] == "domain":
            return "the same"
        first, second = (results["methods"][row[side]] for side in ("a", "b"))
        ratio = first["latent_channels"] * second["factor"] ** 2 / (second["latent_channels"] * first["factor"] ** 2)
        return AS_MANY if ratio == 1 else f"{ratio:.3g} times as many"

    columns: Columns = {
        "pair": pair_name,
        "differs in": lambda row: row["kind"],
        "latent numbers": size,
        "difference in PSNR, dB [95 % interval]": lambda row: (
            f"{written(row['difference'], '+.2f')}{bracket(row, signed=True)}"
        ),
    }
    note = (
        "First minus second of the pair on the same images, mean over patients. Latent numbers: those of the first "
        "against the second."
    )
    pairs = list(dict.fromkeys(map(pair_name, results["contrasts"])))  # a pair has one mark in all figures
    pictures, tables = [], []
    for name in results["datasets"]:
        if rows := rows_of(results["contrasts"], name):
            shown = []
            for row in rows:
                value, low, high = numbers(row, "difference", "low", "high")
                shown.append(Interval(pair_name(row), value, low, high, row["kind"].capitalize()))
            drawing = intervals(shown, quantity="Difference in PSNR", unit="dB", reference=0.0, methods=pairs)
            caption = (
                "Right of 0 the first of the pair keeps more, left of 0 the second. Whiskers: 95 % intervals by "
                "patient."
            )
            pictures.append(Picture(f"Domain and geometry on {name}", drawing, caption))
            tables.append(tabulate(f"Domain and geometry on {name}", columns, rows, note))
    return Section.of("Domain or geometry?", Text((text,)), *pictures, *tables)


STUDY, OWN = "the six published points", "your finished studies"
BANDS = ("centre", "confidence_low", "confidence_high", "prediction_low", "prediction_high")
# arXiv 2604.12152, its results and the later re-analysis against the true HR
PROVENANCE = (
    "They are 2 autoencoders (MedVAE, SD-VAE) on 3 datasets (MRNet, BraTS, MIMIC-CXR), so they are not independent, as "
    "the interval of r and the bands take them to be: both are too narrow.",
    "The study's main evaluation took the PSNR of SR against decode(encode(HR)), not against HR: it does not contain "
    "what the autoencoder loses, and may lie above what you will measure against the true image.",
    "The study's text says T = 100 sampling steps, the evaluation jobs in its public code run T = 1000.",
    "The authors' later analysis against the true HR, 15 points of 5 autoencoders on the 3 datasets, gave "
    "r = 0.83 [0.55, 0.94], n = 15, R2 = 0.69. Its points are not those of this line.",
)


def expectation_section(results: Results) -> Section:
    """The expected SR PSNR of each ceiling, with the regression that it comes from."""
    line = results["regression"]
    source = STUDY if results["published_points"] else f"{len(line['points'])} points, {OWN}"
    beside = listed([f"{name} ({facts['about']})" for name, facts in results["baseline_methods"].items()])
    text = Text(
        (
            f"A line through {source} (AE ceiling against the PSNR that super-resolution reached: "
            f"{Correlation(**line['correlation']).words}, R2 = {line['r2']:.2f}) says what to expect. The outer band "
            "is the 95 % prediction interval of one new study: so wide that it serves to plan, not to choose between "
            "autoencoders that lie close. It holds for the denoiser and tasks of those points; other data, scales or "
            "networks move it. A lossless autoencoder has no ceiling, so nothing is predicted for it. Where the "
            "network sees LR's pixels the ceiling told nothing in this package's own small study: the best of five "
            "latents had the second lowest ceiling, the lossless one came last (docs/desk-study.md).",
            f"Beside it stands what is measured on the images of this screening, with LR by {results['degradation']}: "
            f"{beside}. Where the line lies below bicubic, it says what the methods of its points reached, not what is "
            "possible. A shipped model is at its best on images like those that it was trained on.",
        )
    )
    origin = Text(
        ("The points are those that were given; whether their PSNR was taken against the true HR, they do not say.",)
    )
    if results["published_points"]:
        sides: dict[str, list[str]] = {"below": [], "above": []}  # the better method of each dataset against bicubic
        for name in dict.fromkeys(point["dataset"] for point in line["points"]):
            own = [point for point in line["points"] if point["dataset"] == name]
            best, bicubic = max(point["sr"] for point in own), own[0]["bicubic"]
            sides["below" if best < bicubic else "above"].append(f"{name} ({best:.2f} against {bicubic:.2f} dB)")
        shown = "; ".join(f"{side} bicubic interpolation on {listed(names)}" for side, names in sides.items() if names)
        better = f"In the same study even the better of the two methods lay {shown}."
        items = (*PROVENANCE[:-1], better, PROVENANCE[-1])
        origin = Text(("Where the six points come from, and what that means:",), items)
    pictures = [_expectation_picture(results, name) for name in results["datasets"]]
    tables = [_expectation_table(results, name) for name in results["datasets"]]
    return Section.of("What SR quality to expect", text, origin, *pictures, *tables)


def _expectation_picture(results: Results, dataset: str) -> Picture:
    """The finished studies with their line, this screening's autoencoders upon it, and the baselines as levels."""
    line, source = results["regression"], STUDY if results["published_points"] else OWN
    points = [Point(str(point.get("dataset") or ""), point["ceiling"], point["sr"], source) for point in line["points"]]
    points += [  # named in the legend: beside the points their names would cover each other
        Point("", row["ceiling"], row["expected"], row["method"])
        for row in _by_expected(results, dataset)
        if row["expected"] is not None
    ]
    levels = {f"{row['method']}, measured": row["mean"] for row in _baselines(results, dataset)}
    methods = [*results["methods"], source, *levels]
    drawing = regression(points, line["x"], [line[name] for name in BANDS], levels=levels, methods=methods)
    names = [row["method"] for row in _baselines(results, dataset)]
    across = f"Lines across: what {listed(names)} reach{'es' * (len(names) == 1)} on these images, measured. "
    caption = "The autoencoders lie on the line, because the line is all that is known of their SR."
    return Picture(f"Ceiling and SR, {dataset}", drawing, across * bool(names) + caption)


def _baselines(results: Results, dataset: str) -> list[Row]:
    """The measured baselines of a dataset."""
    return [row for row in rows_of(results["baselines"], dataset) if row["mean"] is not None]


def _by_expected(results: Results, dataset: str) -> list[Row]:
    """The rows of a dataset, the best first, those without an expectation last."""
    rows = rows_of(results["expected"], dataset)
    return sorted(rows, key=lambda row: -math.inf if row["expected"] is None else row["expected"], reverse=True)


def _expectation_table(results: Results, dataset: str) -> Table | None:
    whole, baselines, rows = lossless(results, dataset), _baselines(results, dataset), _by_expected(results, dataset)

    def minus(baseline: Row) -> Callable[[Row], str]:
        return lambda row: written(None if row["expected"] is None else row["expected"] - baseline["mean"], "+.1f")

    def shown(row: Row) -> str:
        return NONE if row["expected"] is None else f"{row['expected']:.1f}{bracket(row, 1)}"

    def remark(row: Row) -> str:
        """The row's note, and whether what is expected lies above the ceiling."""
        if row["method"] in whole:
            return ""
        (ceiling, expected, high), above = numbers(row, "ceiling", "expected", "high"), ""
        if CAPPED not in row["note"]:  # which says so itself
            if expected > ceiling:
                above = "expected above the ceiling: against the true HR hardly to be reached"
            elif high > ceiling:
                above = "the interval's top lies above the ceiling"
        return "; ".join(filter(None, (row["note"], above)))

    columns: Columns = {
        "autoencoder": lambda row: row["method"],
        "AE ceiling": lambda row: LOSSLESS if row["method"] in whole else written(row["ceiling"], ".2f"),
        "expected": shown,
        **{f"minus {row['method']}": minus(row) for row in baselines},
        **({"remark": remark} if any(map(remark, rows)) else {}),
    }
    measured = "; ".join(f"{row['method']} {row['mean']:.2f} dB{bracket(row)}" for row in baselines)
    note = "In brackets: 95 % prediction interval."
    if measured:
        note += f" Measured on these images: {measured}, mean PSNR with 95 % interval."
    note += " What is expected comes from other images; where it lies below bicubic it is worth nothing here."
    return tabulate(f"Expected SR PSNR on {dataset}, dB", columns, rows, note)


SPECTRUM_BANDS = ("LL3", "LH3", "HL3", "HH3", "LH2", "HL2", "HH2", "LH1", "HL1", "HH1")
RINGS = tuple(f"{number:02}" for number in range(1, 11))


def fingerprint_section(results: Results, fingerprint: pd.DataFrame) -> Section:
    """Subband PSNR and radial spectra."""
    text = (
        "LL3 is the coarse image; LH, HL and HH are horizontal, vertical and "
        "diagonal detail, level 1 the finest. In the spectra the lower panel shows what is missing (below zero) or "
        "added (above zero) against the true images, from coarse on the left to fine on the right."
    )
    blocks: list[Block] = [Text((text,))]
    methods, reference = list(results["methods"]), results["reference"]
    for name in results["datasets"]:
        rows = fingerprint[fingerprint["dataset"] == name]
        lossy = [row["method"] for row in by_ceiling(results, name) if not row["lossless"]]
        curves = _wide(rows, "radial_spectrum", RINGS, "mean").loc[[HR, *lossy]].rename(index={HR: HR.upper()})
        spectrum = spectra(curves, reference=HR.upper(), methods=methods)
        pictures, tables, title = [Picture(f"Radial spectra on {name}", spectrum)], [], f"Subband PSNR on {name}"
        if lossy:
            bands = _wide(rows, "subband_psnr", SPECTRUM_BANDS, "mean").loc[lossy]
            pictures.insert(0, Picture(title, band_bars(bands, better="higher", methods=methods)))
            tables.append(_band_table(f"{title}, dB", bands))
        others = [method for method in lossy if method != reference]
        if others and reference in lossy:
            differences = _wide(rows, "subband_psnr", SPECTRUM_BANDS, "difference").loc[others]
            note = "Paired by image; the intervals are in fingerprint.csv."
            tables.append(_band_table(f"{title} minus that of {reference}, dB", differences, note, "+"))
        blocks += [*pictures, *tables]
    return Section("Where in frequency it is lost", tuple(blocks))


def _wide(rows: pd.DataFrame, metric: str, parts: Sequence[str], column: str) -> pd.DataFrame:
    """One row per method, one column per part."""
    names = {f"{metric}/{part}": part for part in parts}
    wide = rows[rows["metric"].isin(names)].pivot(index="method", columns="metric", values=column)
    return wide.rename(columns=names)[list(parts)].astype(float)  # a column of nulls alone is of no number's type


def _band_table(title: str, values: pd.DataFrame, note: str = "", sign: str = "") -> Table:
    def shown(value: float) -> str:
        return f"{round(value, 1) + 0.0:{sign}.1f}" if math.isfinite(value) else NONE  # + 0.0: no minus zero

    rows = tuple((str(name), *map(shown, row)) for name, *row in values.itertuples())
    return Table(title, ("autoencoder", *values.columns), rows, note)


def worst_section(results: Results, pictures: Path) -> Section:
    """The images that the reference gives back worst, under every autoencoder."""
    reference = results["reference"]
    whole = [name for name in results["datasets"] if reference in lossless(results, name)]
    rule = f"The images with the lowest PSNR under the reference autoencoder, {reference}."
    chance = (
        f"{reference}, the reference autoencoder, is lossless, so none is its worst: these are the first images by id, "
        "whatever they show."
    )
    if len(whole) == len(results["datasets"]):
        rule = chance
    elif whole:
        rule += f" On {', '.join(whole)}: {chance}"
    text = (
        f"{rule} They are named by a hash. Under each autoencoder stand the decoded image and its error: black "
        "is none, white 0.1 or more of a range of 1. Lossless autoencoders show nothing here and are left out."
    )
    images = []
    for image in results["worst"]:
        folder, ranked = pictures / image["image"], by_ceiling(results, image["dataset"])
        names = [row["method"] for row in ranked if not row["lossless"]] or [row["method"] for row in ranked]
        decoded = [Tile((folder / HR_FILE).read_bytes(), "the true image")]
        errors: list[Tile | None] = [None]
        for name in names:
            psnr = image["psnr"][name]
            exact = LOSSLESS if name in lossless(results, image["dataset"]) else "given back whole"
            note = exact if psnr is None else f"{psnr:.2f} dB"
            decoded.append(Tile((folder / name / DECODED_FILE).read_bytes(), note))
            errors.append(Tile((folder / name / ERROR_FILE).read_bytes()))
        title, rows = f"Image {image['image']} of {image['dataset']}", (tuple(decoded), tuple(errors))
        images.append(Images(title, ("truth", *names), ("decoded", "error"), rows))
    return Section.of("The worst images", Text((text,)), *images)


def latent_section(results: Results) -> Section:
    """The latents: size, spread, smoothness, and what half precision does to them."""
    text = (
        "A smaller latent makes the denoiser cheaper. Correlation is that of neighbouring latent pixels, the median "
        "over channels: near 1 the latent is a smooth picture, near 0 it looks like noise. NaN or infinite values in "
        "half precision mean: encode in float32."
    )

    def span(column: str) -> Callable[[Row], str]:
        def shown(cost: Row) -> str:
            rows = [row for row in rows_of(results["latents"], cost["dataset"]) if row["method"] == cost["method"]]
            known = [row[column] for row in rows if row[column] is not None]
            ends = [min(known), max(known)] if len(known) > 1 else known
            return " to ".join(f"{end:.2f}" for end in ends) or NONE

        return shown

    def share(value: float | None) -> str:
        return "0 %" if value == 0 else NONE if value is None else f"{100 * value:.1f} %"

    columns: Columns = {
        "autoencoder": lambda cost: cost["method"],
        "latent": lambda cost: cost["latent"],
        "numbers": lambda cost: f"{cost['numbers']:,}",
        "of pixels": lambda cost: f"{cost['share']:.1%}",
        "means": span("mean"),
        "sds": span("sd"),
        "correlation": lambda cost: written(cost["latent_correlation"], ".2f"),
        "NaN, fp16 / bf16": lambda cost: f"{share(cost['nonfinite_float16'])} / {share(cost['nonfinite_bfloat16'])}",
    }
    tables = []
    for name in results["datasets"]:
        rows = rows_of(results["cost"], name)
        probed = sorted({row["probed"] for row in rows})  # images that half precision was tried on
        images = "1 image" if probed == [1] else f"{' to '.join(map(str, sorted({probed[0], probed[-1]})))} images"
        note = (
            "Numbers of one image's latent, and their share of its pixels; means and sds are by channel. "
            f"Half precision: share of latent values that are NaN or infinite, on {images}, so 0 does not clear the "
            "others. Each channel's mean and sd are in latents.csv."
        )
        tables.append(tabulate(f"Latents on {name}", columns, rows, note))
    return Section.of("The latent itself", Text((text,)), *tables)


def cost_section(results: Results) -> Section:
    """Parameters, times and FLOPs."""
    text = (
        "Times are measured in this run, medians over its batches, whatever else the machine did meanwhile: they "
        "compare these autoencoders, no more. FLOPs are computed (a multiply-add counts as two); the denoiser is the "
        "published UNet at the latent's size, for one step of one image."
    )

    def scaled(row: Row, name: str, scale: float) -> str:
        return written(None if row[name] is None else row[name] * scale, ",.1f")

    columns: Columns = {
        "autoencoder": lambda row: row["method"],
        "parameters, M": lambda row: scaled(row, "parameters", 1e-6),
        "encode, ms": lambda row: scaled(row, "encode_seconds", 1000),
        "decode, ms": lambda row: scaled(row, "decode_seconds", 1000),
        "GFLOP": lambda row: f"{scaled(row, 'encode_flops', 1e-9)} / {scaled(row, 'decode_flops', 1e-9)}",
        "UNet, M": lambda row: scaled(row, "denoiser_parameters", 1e-6),
        "UNet, GFLOP": lambda row: scaled(row, "denoiser_flops", 1e-9),
    }
    tables = []
    for name in results["datasets"]:
        rows = rows_of(results["cost"], name)
        title = f"Cost of an image of {name}, {rows[0]['rows']} x {rows[0]['columns']} px"
        setups: dict[str, list[str]] = {}  # the autoencoders by what they were measured on
        for row in rows:
            if row.get("device") is not None:  # such as "on cpu with 2 threads, 8 images at a time"
                words, threads, batch = f"on {row['device']}", row.get("threads"), row.get("batch")
                words += f" with {counted(threads, 'thread')}" if threads else ""
                words += f", {counted(batch, 'image')} at a time" if batch else ""
                setups.setdefault(words, []).append(row["method"])
        groups = "; ".join(f"{words}: {', '.join(names)}" for words, names in setups.items())
        where = f", which do not compare across devices, threads or batches ({groups})"
        if len(setups) < 2:
            unknown = "; on which device, with how many threads and in which batch was not recorded"
            where = f", {next(iter(setups))}" if setups else unknown
        note = f"Measured: the times{where}. Computed: all else; GFLOP of encode / decode, and of one UNet step."
        tables.append(tabulate(title, columns, rows, note))
    return Section.of("What it costs", Text((text,)), *tables)


def write_screening_page(folder: Path, *, paper: bool = False) -> Path:
    """The path of the page that was written beside the tables of the screening in `folder`.

    The same is written to report/report.md with its figures, with `paper` also as PDF, and tables as LaTeX.

    InputError if the folder holds no finished screening.
    """
    results = read_json(folder / SCREENING)
    fingerprint = read_table(folder / "fingerprint.parquet")
    page = screening_page(results, fingerprint, folder / PICTURES)
    write_markdown(page, folder / SUPPLEMENT, paper=paper)
    return write_page(page, folder / SCREENING_PAGE)


def screening_page(results: Results, fingerprint: pd.DataFrame, pictures: Path) -> Page:
    """The page of screening.json's content, the fingerprint table and the folder of pictures."""
    sets = [
        f"{name} ({facts['images']} images of {facts['patients']} patients)"
        for name, facts in results["datasets"].items()
    ]
    count = counted(len(results["methods"]), "autoencoder")
    subtitle = f"A screening of {count}, before any diffusion model is trained, on {', '.join(sets)}"
    # Versions, options and hashes.
    facts = run_facts(results) | {"reference": results["reference"], "seed of the bootstrap": str(results["seed"])}
    facts |= data_facts(results)
    for name, spec in results["methods"].items():
        origin = f"{spec['source']}, licence {spec['licence']}, domain {spec['domain']}, hash {spec['hash']}"
        facts[f"autoencoder {name}"] = origin
    return Page(
        title="Which autoencoder?" if several_lossy(results) else "What does the autoencoder keep?",
        subtitle=subtitle,
        verdict=tuple(results["verdict"]),
        warnings=tuple(results["warnings"]),
        sections=(
            ceiling_section(results),
            *([contrast_section(results)] if results["contrasts"] else []),
            expectation_section(results),
            fingerprint_section(results, fingerprint),
            worst_section(results, pictures),
            latent_section(results),
            cost_section(results),
        ),
        facts=facts,
    )
