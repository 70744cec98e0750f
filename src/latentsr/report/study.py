"""The page of a study: a verdict on each claim, then published tables and figures beside ours; nothing is computed."""

from collections.abc import Callable, Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from latentsr import __version__
from latentsr.names import STUDY_PAGE, SUPPLEMENT, listed
from latentsr.report.blocks import Block, Drawing, Page, Picture, Section, tabulate
from latentsr.report.evaluation.data import read_evaluation
from latentsr.report.evaluation.figures import (
    case_blocks,
    intensity_picture,
    map_picture,
    spectrum_picture,
    violin_picture,
)
from latentsr.report.figures import (
    Interval,
    Point,
    ceiling_models,
    intervals,
    latent_curves,
    perception_distortion,
    rates,
)
from latentsr.report.page import write_markdown, write_page
from latentsr.report.text import NONE, counted, estimate, interval, number, p_value
from latentsr.stats.table import read_table

Tables = Mapping[str, pd.DataFrame]
Row = dict[str, Any]
PICTURED = ("MedVAE 4_3", "SD-VAE")  # whose images and maps are shown
NAMES = (
    "claims", "outputs", "published", "ceilings", "lines", "evaluations", "defects", "signal", "seeds", "contrasts",
    "jobs",
)  # fmt: skip


def write_study_report(folder: Path, name: str) -> Path:
    """The path of study.html, written from the tables of the study `name` in `folder`, as far as it is done.

    The same is written to report/report.md, with figures as SVG and PDF and tables as LaTeX.
    """
    tables = {one: read_table(path) for one in NAMES if (path := folder / f"{one}.parquet").exists()}
    page = study_page(tables, folder, name)
    write_markdown(page, folder / SUPPLEMENT, paper=True)
    return write_page(page, folder / STUDY_PAGE)


def study_page(tables: Tables, folder: Path, name: str) -> Page:
    """The page of a study's tables; `folder` is the study's, where the pictures of its evaluations lie."""
    claims, outputs = tables["claims"], tables["outputs"]
    counts = claims["verdict"].value_counts(sort=False)
    said = [f"{counts[verdict]} {verdict}" for verdict in counts.index]
    titles = {one: "; ".join(sorted(set(own["title"]))) for one, own in claims.groupby("verdict", sort=False)}
    sections = [Section.of("The claims", _table(tables, "claims"))]
    for output in outputs.to_dict("records"):
        blocks = tuple(_output_blocks(output, tables, folder))
        if blocks:
            sections.append(Section(f"{_named(output['output'])}: {output['title']}", blocks, output["note"]))
    sections += [
        Section.of("What each defect costs", _table(tables, "defects"), _table(tables, "signal")),
        Section.of(
            "Ceilings, seeds and contrasts", *(_table(tables, one) for one in ("ceilings", "seeds", "contrasts"))
        ),
        Section.of("What is made, and what is not and why", _table(tables, "outputs")),
        Section.of("Jobs", _table(tables, "jobs")),
    ]
    return Page(
        title=f"The published study by the study {name}",
        subtitle="Published values of arXiv 2604.12152 and its revision beside ours, under both protocols",
        verdict=(f"Of {counted(len(claims), 'answer')} to the claims: {listed(said)}.",),
        details=tuple(f"{verdict.capitalize()}: {text}." for verdict, text in titles.items()),
        sections=tuple(section for section in sections if section.blocks),
        facts={"study": name, "versions": f"latentsr {__version__}"},
    )


def _named(output: str) -> str:
    """Such as "Table S1" for table-S1."""
    noun, _, rest = output.partition("-")
    return f"{noun.capitalize()} {rest}"


def _values(rows: list[Row], title: str) -> Block | None:
    """The published values beside ours; what is not there has its reason."""

    def published(row: Row) -> str:
        spread = f" ± {row['published_sd']:g}" if np.isfinite(row["published_sd"]) else ""
        bracket = f" {interval(row['published_low'], row['published_high'])}".rstrip()
        effect = f", d {row['published_d']:g}" if np.isfinite(row["published_d"]) else ""
        return f"{row['published']:g}{spread}{bracket}{effect}" if np.isfinite(row["published"]) else NONE

    def ours(row: Row) -> str:
        effect = f", d {row['d']:.2f}" if np.isfinite(row["d"]) else ""
        return estimate(row["ours"], row["low"], row["high"]) + effect

    columns = {
        "dataset": lambda row: row["dataset"],
        "method": lambda row: row["method"],
        "measure": lambda row: row["metric"],
        "published": published,
        "protocol": lambda row: row["protocol"],
        "ours": ours,
        "p": lambda row: p_value(row["p"]),
        "of": lambda row: row["samplings"] or NONE,
        "on": lambda row: row["on"] if row["samplings"] else NONE,
        "note": lambda row: row["note"],
    }
    note = (
        "Ours: mean over patients with its 95 % interval; the measure is the protocol's own, such as PSNR against HR."
    )
    return tabulate(title, columns, rows, note)


def _output_blocks(output: Row, tables: Tables, folder: Path) -> Iterator[Block]:
    """The table of an output that has values, and the drawing of a figure."""
    values = tables["published"]
    own = values[values["output"].isin(output["of"].split() or [output["output"]])]
    own = own[own["dataset"] == output["dataset"]] if output["dataset"] else own
    own = own[np.isfinite(own["ours"])]
    if own.empty:
        return
    if output["draws"] in DRAWINGS:
        for title, drawn in DRAWINGS[output["draws"]](own, tables):
            if drawn is not None:
                yield Picture(title or output["title"], drawn, output["shows"])
    if output["output"] in EVALUATED:  # pictures of the evaluations of these methods
        (methods, makers), found = EVALUATED[output["output"]], tables["evaluations"]
        for place in dict.fromkeys(found[found["method"].isin(methods)]["folder"]):
            evaluation = read_evaluation(folder / place)
            for dataset, make in product(evaluation.datasets, makers):
                made = make(evaluation, dataset)
                blocks = [] if made is None else [made] if isinstance(made, Picture) else made
                yield from (block for block in blocks if isinstance(block, Picture))
    elif not output["of"] and (block := _values(own.to_dict("records"), output["title"])):
        yield block


def _intervals(own: pd.DataFrame, group: Callable[[Row], str], **words: Any) -> Any:
    """A row for ours, and before it one for the published value where it is known."""
    rows = []
    for row in own.to_dict("records"):
        for who, start in (("published", "published_"), (f"ours, {row['protocol']}", "")):
            value = row["published" if start else "ours"]
            if np.isfinite(value):
                low, high = row[f"{start}low"], row[f"{start}high"]
                rows.append(Interval(f"{row['method']}, {who}", value, low, high, group(row)))
    return intervals(dict.fromkeys(rows), **words) if rows else None


Drawn = Iterator[tuple[str, Drawing | None]]  # a title, or "" for the output's own, and a drawing


def draw_bars(own: pd.DataFrame, _: Tables) -> Drawn:
    """PSNR and LPIPS of each method."""
    for title, unit in (("PSNR", "dB"), ("LPIPS", "")):
        chosen = own[own["measure"] == title.lower()]
        yield f"{title} of the methods", _intervals(chosen, lambda row: row["dataset"], quantity=title, unit=unit)


def draw_bands(own: pd.DataFrame, _: Tables) -> Drawn:
    """The gap by frequency band."""
    chosen = own[own["measure"].str.startswith("subband_psnr")]
    drawn = _intervals(
        chosen, lambda row: f"{row['dataset']}, {row['measure'].partition('/')[2]}", quantity="Gap of subband PSNR",
        unit="dB", reference=0,
    )  # fmt: skip
    yield "", drawn


def draw_effects(own: pd.DataFrame, _: Tables) -> Drawn:
    """The gap by dataset."""
    chosen = own[own["method"].str.contains(" - ")]
    yield "", _intervals(chosen, lambda row: row["dataset"], quantity="Gap of PSNR", unit="dB", reference=0)


def draw_ceilings(_: pd.DataFrame, tables: Tables) -> Drawn:
    """SR over the ceiling, under each protocol."""
    for protocol, own in tables["ceilings"].groupby("protocol", sort=False):
        points = [
            Point(f"{row['method']} on {row['dataset']}", row["ceiling"], row["psnr"], "", row["low"], row["high"],
                  row["ceiling_low"], row["ceiling_high"])
            for row in own.to_dict("records")
        ]  # fmt: skip
        line = tables["lines"][tables["lines"]["protocol"] == protocol]
        bands = [line[name].to_numpy(float) for name in line.columns[2:]]
        drawn = ceiling_models(points, line["x"].to_numpy(float), bands) if len(line) else ceiling_models(points)
        yield f"The ceiling against super-resolution, {protocol} protocol", drawn


def draw_latents(own: pd.DataFrame, _: Tables) -> Drawn:
    """Cosines over scales, ours and the published."""
    scale = own["measure"].str.partition("/")[2]
    frames = []
    for who, column in (("ours", "ours"), ("published", "published")):
        label = own["dataset"] + ", " + who + (", " + own["protocol"] if who == "ours" else "")
        frames.append(pd.DataFrame({"label": label, "scale": scale, "value": own[column]}))
    rows = pd.concat(frames).dropna().drop_duplicates(["label", "scale"])
    if len(rows):
        wide = rows.pivot(index="label", columns="scale", values="value")[list(dict.fromkeys(scale))]
        yield "", latent_curves(wide)


def draw_plane(own: pd.DataFrame, _: Tables) -> Drawn:
    """LPIPS over PSNR."""
    keys = ["dataset", "method", "protocol"]
    wide = own.drop_duplicates([*keys, "measure"]).pivot(index=keys, columns="measure", values="ours")
    if {"psnr", "lpips"} <= set(wide.columns) and len(wide[["psnr", "lpips"]].dropna()):
        points = [Point(", ".join(name), row["psnr"], row["lpips"]) for name, row in wide.iterrows()]
        yield "", perception_distortion(points, y_label="LPIPS")


def draw_rates(own: pd.DataFrame, _: Tables) -> Drawn:
    """Hallucinated and lost shares, in %."""
    pair = [
        [
            Interval(f"{row['method']}, {row['protocol']}", *(100 * row[name] for name in ("ours", "low", "high")))
            for row in own[own["measure"] == f"{share}/2sigma"].to_dict("records")
        ]
        for share in ("hallucinated", "lost")
    ]
    if all(pair):
        yield "", rates(*pair)


DRAWINGS: Mapping[str, Callable[[pd.DataFrame, Tables], Drawn]] = {
    "bars": draw_bars, "bands": draw_bands, "effects": draw_effects, "ceilings": draw_ceilings, "latents": draw_latents,
    "plane": draw_plane, "rates": draw_rates,
}  # fmt: skip


# What an output takes of the evaluations' own pages: the methods whose evaluations count, and what is drawn.
EVALUATED: Mapping[str, tuple[tuple[str, ...], tuple[Callable[..., Any], ...]]] = {
    "figure-4": (PICTURED, (spectrum_picture,)),
    "figure-5": (PICTURED, (case_blocks,)),
    "figure-7": (PICTURED, (intensity_picture, violin_picture)),
    "figure-S5": (PICTURED[:1], (map_picture,)),
    "figure-S6": (PICTURED[1:], (map_picture,)),
}


# Of each table its title, the cells of a row (a column's text as it is, or made by a function), and a note.
SHOWN: Mapping[str, tuple[str, Mapping[str, str | Callable[[Row], str]], str]] = {
    "claims": (
        "Verdicts",
        {
            "claim": "title",
            "on": lambda row: ", ".join(filter(None, (row["dataset"] or "all", row["protocol"]))),
            "verdict": "verdict",
            "published": lambda row: row["published"] or NONE,
            "ours": lambda row: estimate(row["ours"], row["low"], row["high"], signed=True),
            "n": lambda row: str(row["n"]) if row["n"] else NONE,
            "of what, and why": lambda row: "; ".join(filter(None, (row["quantity"], row["reason"]))),
        },
        (
            "Differences: 95 % Student interval over patients; equality: 90 % interval of two one-sided tests. n: "
            "patients, of correlations points. Cannot hold as printed: statements that exclude each other."
        ),
    ),
    "defects": (
        "Defects, one at a time",
        {
            "defect": "defect", "dataset": "dataset", "measure": "metric",
            "with": lambda row: number(row["with"]),
            "without": lambda row: number(row["without"]),
            "difference": lambda row: estimate(row["difference"], row["low"], row["high"], signed=True),
            "p": lambda row: p_value(row["p"]),
            "patients": "n_patients", "of": "note",
        },
        "",
    ),
    "signal": (
        "Where samplers stop",
        {
            "arm": "arm", "dataset": "dataset", "sampling": "sampling",
            "rms of latents": lambda row: number(row["latent_rms"]),
            "alpha": lambda row: f"{row['alpha']:.3g}",
            "SNR": lambda row: f"{row['snr']:.3g}",
        },
        "Signal to noise of the last state of each published sampler: far below 1 it stops in noise.",
    ),
    "ceilings": (
        "Ceilings and SR",
        {
            "dataset": "dataset", "latent": "method", "protocol": "protocol",
            "ceiling, dB": lambda row: "lossless" if np.isinf(row["ceiling"]) else number(row["ceiling"], "dB"),
            "SR, dB": lambda row: estimate(row["psnr"], row["low"], row["high"], "dB"),
        },
        "",
    ),
    "seeds": (
        "Seeds",
        {
            "arm": "arm", "dataset": "dataset", "sampling": "method", "seeds": "seeds",
            "PSNR, dB": lambda row: f"{number(row['mean'], 'dB')} ± {number(row['sd'], 'dB')}",
        },
        "",
    ),
    "contrasts": (
        "Contrasts in PSNR",
        {
            "contrast": "contrast", "dataset": "dataset",
            "of": lambda row: f"{row['a']} - {row['b']}",
            "difference, dB": lambda row: estimate(row["difference"], row["low"], row["high"], "dB", signed=True),
            "p (Holm)": lambda row: p_value(row["p_holm"]),
            "d_z": lambda row: number(row["d_z"]),
            "patients": "n",
        },
        "",
    ),
    "outputs": (
        "Outputs of the published study",
        {
            "output": lambda row: _named(row["output"]),
            "title": "title", "state": "state",
            "what is missing": lambda row: row["reason"] or NONE,
            "of the published one": lambda row: row["note"] or NONE,
        },
        "",
    ),
    "jobs": (
        "What the jobs took",
        {
            "step": "step", "job": "name",
            "seconds": lambda row: f"{row['seconds']:.0f}",
            "of a processor": lambda row: f"{row['cpu_seconds']:.0f}",
            "estimated": lambda row: number(row["estimated_seconds"]),
            "memory, MB": lambda row: f"{row['memory_mb']:.0f}",
        },
        "",
    ),
}  # fmt: skip


def _table(tables: Tables, name: str) -> Block | None:
    """A table of the study as SHOWN says, of seeds and contrasts the rows of PSNR; None where it is not there."""
    title, columns, note = SHOWN[name]
    cells = {head: cell if callable(cell) else lambda row, cell=cell: str(row[cell]) for head, cell in columns.items()}
    rows = tables.get(name, pd.DataFrame())
    rows = rows[rows["metric"] == "psnr"] if name in ("seeds", "contrasts") and len(rows) else rows
    return tabulate(title, cells, rows.to_dict("records"), note)
