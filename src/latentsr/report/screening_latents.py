"""Sections of a screening's page: bands and spectra, the worst images, the latents and what they cost."""

import math
from collections.abc import Iterator, Sequence
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
        "LL3 is the coarse image; LH, HL and HH are horizontal, vertical and "
        "diagonal detail, level 1 the finest. In the spectra the lower panel shows what is missing (below zero) or "
        "added (above zero) against the true images, from coarse on the left to fine on the right."
    )
    blocks: list[Block] = [Text((text,))]
    for name in told["datasets"]:
        own = fingerprint[fingerprint["dataset"] == name]
        lossy = [row["method"] for row in by_ceiling(told, name) if not row["lossless"]]
        blocks += [*_fingerprint_pictures(told, own, name, lossy), *_band_tables(told, own, name, lossy)]
    return Section("Where in frequency it is lost", tuple(blocks))


def _fingerprint_pictures(told: Told, rows: pd.DataFrame, dataset: str, lossy: Sequence[str]) -> Iterator[Picture]:
    methods = list(told["methods"])
    if lossy:
        bands = _wide(rows, "subband_psnr", BANDS, "mean").loc[list(lossy)]
        yield Picture(f"Subband PSNR on {dataset}", band_bars(bands, better="higher", methods=methods))
    curves = _wide(rows, "radial_spectrum", RINGS, "mean").loc[[HR, *lossy]]
    yield Picture(f"Radial spectra on {dataset}", spectra(curves, reference=HR, methods=methods))


def _wide(rows: pd.DataFrame, metric: str, parts: Sequence[str], column: str) -> pd.DataFrame:
    """A row a method, a column a part."""
    names = {f"{metric}/{part}": part for part in parts}
    chosen = rows[rows["metric"].isin(names)]
    return chosen.assign(part=chosen["metric"].map(names)).pivot(index="method", columns="part", values=column)[
        list(parts)
    ]


def _band_tables(told: Told, rows: pd.DataFrame, dataset: str, lossy: Sequence[str]) -> Iterator[Table]:
    """Means by band, and the paired differences to the reference."""
    reference = told["reference"]
    means, differences = (_wide(rows, "subband_psnr", BANDS, column) for column in ("mean", "difference"))
    if lossy:
        cells = tuple((name, *(_band(value) for value in means.loc[name])) for name in lossy)
        yield Table(f"Subband PSNR on {dataset}, dB", ("autoencoder", *BANDS), cells)
    others = [name for name in lossy if name != reference]
    if others and reference in lossy:
        cells = tuple((name, *(_band(value, "+") for value in differences.loc[name])) for name in others)
        title = f"Subband PSNR on {dataset} minus that of {reference}, dB"
        yield Table(title, ("autoencoder", *BANDS), cells, "Paired by image; the intervals are in fingerprint.csv.")


def _band(value: float, sign: str = "") -> str:
    return f"{round(value, 1) + 0.0:{sign}.1f}" if math.isfinite(value) else NONE  # + 0.0: no minus zero


def worst_section(told: Told, pictures: Path) -> Section:
    """The images that the reference gives back worst, under every autoencoder."""
    text = (
        f"The images with the lowest PSNR under {told['reference']}, chosen by this rule and named by a hash. Under "
        "each autoencoder stand the decoded image and its error: black is none, white 0.1 or more of a range of 1. "
        "Lossless autoencoders show nothing here and are left out."
    )
    blocks = [_worst_images(told, image, pictures / image["image"]) for image in told["worst"]]
    return Section("The worst images", (Text((text,)), *blocks))


def _worst_images(told: Told, image: Row, folder: Path) -> Images:
    ranked = by_ceiling(told, image["dataset"])
    names = [row["method"] for row in ranked if not row["lossless"]] or [row["method"] for row in ranked]
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
        "autoencoder", "latent", "numbers", "of pixels", "channel means", "channel sds", "correlation", "NaN in fp16",
        "NaN in bf16",
    )  # fmt: skip
    tables = [
        Table(
            f"Latents on {name}",
            columns,
            tuple(_latent_cells(told, row) for row in of(told["cost"], name)),
            f"Numbers are those of one image's latent, and their share of its pixels. Half precision: share of latent "
            f"values that are NaN or infinite, tried on {max(row['probed'] for row in of(told['cost'], name))} of the "
            "images. Each channel's mean and sd are in latents.csv.",
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
        "autoencoder", "parameters, M", "encode, ms", "decode, ms", "encode, GFLOP", "decode, GFLOP", "UNet, M",
        "UNet step, GFLOP",
    )  # fmt: skip
    tables = [
        Table(
            f"Cost of an image of {name}, {rows[0]['rows']} x {rows[0]['columns']} px",
            columns,
            tuple(_cost_cells(row) for row in rows),
            "Measured: the times. Computed: all else.",
        )
        for name in told["datasets"]
        for rows in (of(told["cost"], name),)
    ]
    return Section("What it costs", (Text((text,)), *tables))


def _cost_cells(row: Row) -> tuple[str, ...]:
    return (
        row["method"],
        f"{row['parameters'] / 1e6:.1f}",
        f"{1000 * row['encode_seconds']:,.1f}",
        f"{1000 * row['decode_seconds']:,.1f}",
        f"{row['encode_flops'] / 1e9:.1f}",
        f"{row['decode_flops'] / 1e9:.1f}",
        f"{row['denoiser_parameters'] / 1e6:.1f}",
        f"{row['denoiser_flops'] / 1e9:.1f}",
    )
