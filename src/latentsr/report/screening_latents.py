"""Sections of a screening's page: bands and spectra, the worst images, the latents and what they cost."""

import math
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from latentsr.report.figures import band_bars, spectra
from latentsr.report.page import Block, Images, Picture, Section, Table, Text, Tile
from latentsr.report.screening_rows import LOSSLESS, NONE, Row, Told, by_ceiling, of

BANDS = ("LL3", "LH3", "HL3", "HH3", "LH2", "HL2", "HH2", "LH1", "HL1", "HH1")
RINGS = tuple(f"{number:02}" for number in range(1, 11))
HR = "hr"


def fingerprint_section(told: Told, fingerprint: pd.DataFrame) -> Section:
    """Subband PSNR and radial spectra."""
    text = (
        "Where in frequency the images are lost. LL3 is the coarse image; LH, HL and HH are horizontal, vertical and "
        "diagonal detail, level 1 the finest. In the spectra the lower panel shows what is missing (below zero) or "
        "added (above zero) against the true images, from coarse on the left to fine on the right."
    )
    blocks: list[Block] = [Text((text,))]
    for name in told["datasets"]:
        own = fingerprint[fingerprint["dataset"] == name]
        lossy = [row["method"] for row in by_ceiling(told, name) if not row["lossless"]]
        if lossy:
            drawn = band_bars(_wide(own, "subband_psnr", BANDS, "mean").loc[lossy], methods=list(told["methods"]))
            blocks.append(Picture(f"Subband PSNR on {name}", drawn))
            blocks.append(_band_table(told, own, name, lossy))
        curves = _wide(own, "radial_spectrum", RINGS, "mean").loc[[HR, *lossy]]
        blocks.append(
            Picture(f"Radial spectra on {name}", spectra(curves, reference=HR, methods=list(told["methods"])))
        )
    return Section("Where in frequency it is lost", tuple(blocks))


def _wide(rows: pd.DataFrame, metric: str, parts: Sequence[str], column: str) -> pd.DataFrame:
    """A row a method, a column a part."""
    names = {f"{metric}/{part}": part for part in parts}
    chosen = rows[rows["metric"].isin(names)]
    return chosen.assign(part=chosen["metric"].map(names)).pivot(index="method", columns="part", values=column)[
        list(parts)
    ]


def _band_table(told: Told, rows: pd.DataFrame, dataset: str, lossy: Sequence[str]) -> Table:
    means = _wide(rows, "subband_psnr", BANDS, "mean")
    differences = _wide(rows, "subband_psnr", BANDS, "difference")
    reference = told["reference"]
    cells = [
        (name, *(_band_cell(means.loc[name, band], differences.loc[name, band]) for band in BANDS)) for name in lossy
    ]
    return Table(
        f"Subband PSNR on {dataset}, in dB",
        ("autoencoder", *BANDS),
        tuple(cells),
        f"In brackets the paired difference to {reference}; its intervals are in fingerprint.csv.",
    )


def _band_cell(mean: float, difference: float) -> str:
    if not math.isfinite(mean):
        return NONE
    return f"{mean:.1f}" if not math.isfinite(difference) else f"{mean:.1f} ({difference:+.1f})"


def worst_section(told: Told, pictures: Path) -> Section:
    """The images that the reference gives back worst, under every autoencoder."""
    text = (
        f"The images with the lowest PSNR under {told['reference']}, chosen by this rule and named by a hash. Under "
        "each autoencoder stand the decoded image and its error: black is none, white 0.1 or more of a range of 1."
    )
    blocks = [_worst_images(told, image, pictures / image["image"]) for image in told["worst"]]
    return Section("The worst images", (Text((text,)), *blocks))


def _worst_images(told: Told, image: Row, folder: Path) -> Images:
    names = [row["method"] for row in by_ceiling(told, image["dataset"])]
    decoded = [Tile((folder / name / "decoded.png").read_bytes(), _psnr(image["psnr"][name])) for name in names]
    errors = [Tile((folder / name / "error.png").read_bytes()) for name in names]
    truth = Tile((folder / "hr.png").read_bytes(), "the true image")
    return Images(
        f"Image {image['image']} of {image['dataset']}",
        ("truth", *names),
        ("decoded", "error"),
        ((truth, *decoded), (None, *errors)),
    )


def _psnr(value: float | None) -> str:
    return LOSSLESS if value is None else f"{value:.2f} dB"


def latent_section(told: Told) -> Section:
    """The latents: size, spread, smoothness, and what half precision does to them."""
    text = (
        "A smaller latent makes the denoiser cheaper. Correlation is that of neighbouring latent pixels, the median "
        "over channels: near 1 the latent is a smooth picture, near 0 it looks like noise. NaN or infinite values in "
        "half precision mean: encode in float32."
    )
    columns = (
        "autoencoder", "latent", "numbers an image", "share of pixels", "mean of channels", "sd of channels",
        "correlation", "not finite, fp16", "not finite, bf16",
    )  # fmt: skip
    tables = [
        Table(
            f"Latents on {name}",
            columns,
            tuple(_latent_cells(told, row) for row in of(told["cost"], name)),
            f"Half precision tried on {max(row['probed'] for row in of(told['cost'], name))} images. Means and sds of "
            "each channel are in latents.csv.",
        )
        for name in told["datasets"]
    ]
    return Section("The latent itself", (Text((text,)), *tables))


def _latent_cells(told: Told, cost: Row) -> tuple[str, ...]:
    channels = [row for row in of(told["latents"], cost["dataset"]) if row["method"] == cost["method"]]
    along = [row[name] for row in channels for name in ("correlation_rows", "correlation_columns")]
    known = [value for value in along if value is not None]
    return (
        cost["method"],
        cost["latent"],
        f"{cost['numbers']:,}",
        f"{cost['share']:.1%}",
        _span([row["mean"] for row in channels]),
        _span([row["sd"] for row in channels]),
        f"{pd.Series(known).median():.2f}" if known else NONE,
        f"{cost['nonfinite_float16']:.1%}",
        f"{cost['nonfinite_bfloat16']:.1%}",
    )


def _span(values: Sequence[float]) -> str:
    low, high = min(values), max(values)
    return f"{low:.2f}" if len(values) == 1 else f"{low:.2f} to {high:.2f}"


def cost_section(told: Told) -> Section:
    """Parameters, times and FLOPs."""
    text = (
        "Times are measured in this run, medians over its batches, whatever else the machine did meanwhile: they "
        "compare these autoencoders, no more. FLOPs are computed (a multiply-add counts as two); the denoiser is the "
        "published UNet at the latent's size, for one step of one image."
    )
    columns = (
        "autoencoder", "parameters, M", "encode, s (measured)", "decode, s (measured)", "encode, GFLOP (computed)",
        "decode, GFLOP (computed)", "denoiser, M (computed)", "denoiser step, GFLOP (computed)",
    )  # fmt: skip
    tables = [
        Table(
            f"Cost of an image of {name}, {rows[0]['rows']} x {rows[0]['columns']} px",
            columns,
            tuple(_cost_cells(row) for row in rows),
        )
        for name in told["datasets"]
        for rows in (of(told["cost"], name),)
    ]
    return Section("What it costs", (Text((text,)), *tables))


def _cost_cells(row: Row) -> tuple[str, ...]:
    return (
        row["method"],
        f"{row['parameters'] / 1e6:.1f}",
        f"{row['encode_seconds']:.3f}",
        f"{row['decode_seconds']:.3f}",
        f"{row['encode_flops'] / 1e9:.1f}",
        f"{row['decode_flops'] / 1e9:.1f}",
        f"{row['denoiser_parameters'] / 1e6:.1f}",
        f"{row['denoiser_flops'] / 1e9:.1f}",
    )
