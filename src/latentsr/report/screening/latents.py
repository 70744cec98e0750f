"""Sections of a screening's page: bands and spectra, the worst images, the latents and what they cost."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from latentsr.names import HR
from latentsr.report.figures import band_bars, spectra
from latentsr.report.page import Block, Images, Picture, Section, Table, Text, Tile
from latentsr.report.screening.ceilings import LOSSLESS, Row, Told, by_ceiling, lossless, of, written
from latentsr.report.text import NONE

BANDS = ("LL3", "LH3", "HL3", "HH3", "LH2", "HL2", "HH2", "LH1", "HL1", "HH1")
RINGS = tuple(f"{number:02}" for number in range(1, 11))


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
    curves = _wide(rows, "radial_spectrum", RINGS, "mean").loc[[HR, *lossy]].rename(index={HR: HR.upper()})
    yield Picture(f"Radial spectra on {dataset}", spectra(curves, reference=HR.upper(), methods=methods))


def _wide(rows: pd.DataFrame, metric: str, parts: Sequence[str], column: str) -> pd.DataFrame:
    """A row a method, a column a part."""
    names = {f"{metric}/{part}": part for part in parts}
    chosen = rows[rows["metric"].isin(names)]
    wide = chosen.assign(part=chosen["metric"].map(names)).pivot(index="method", columns="part", values=column)
    return wide[list(parts)].astype(float)  # a column of nulls alone is of no number's type


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
        f"{_rule(told)} They are named by a hash. Under each autoencoder stand the decoded image and its error: black "
        "is none, white 0.1 or more of a range of 1. Lossless autoencoders show nothing here and are left out."
    )
    blocks = [_worst_images(told, image, pictures / image["image"]) for image in told["worst"]]
    return Section("The worst images", (Text((text,)), *blocks))


def _rule(told: Told) -> str:
    """How the images were chosen."""
    reference = told["reference"]
    whole = [name for name in told["datasets"] if reference in lossless(told, name)]
    rule = f"The images with the lowest PSNR under the reference autoencoder, {reference}."
    chance = (
        f"{reference}, the reference autoencoder, is lossless, so none is its worst: these are the first images by id, "
        "whatever they show."
    )
    if len(whole) == len(told["datasets"]):
        return chance
    return f"{rule} On {', '.join(whole)}: {chance}" if whole else rule


def _worst_images(told: Told, image: Row, folder: Path) -> Images:
    ranked = by_ceiling(told, image["dataset"])
    names = [row["method"] for row in ranked if not row["lossless"]] or [row["method"] for row in ranked]
    whole = lossless(told, image["dataset"])
    decoded = [
        Tile((folder / name / "decoded.png").read_bytes(), _psnr(image["psnr"][name], name in whole)) for name in names
    ]
    errors = [Tile((folder / name / "error.png").read_bytes()) for name in names]
    truth = Tile((folder / "hr.png").read_bytes(), "the true image")
    return Images(
        f"Image {image['image']} of {image['dataset']}",
        ("truth", *names),
        ("decoded", "error"),
        ((truth, *decoded), (None, *errors)),
    )


def _psnr(value: float | None, whole: bool) -> str:
    if value is None:
        return LOSSLESS if whole else "given back whole"
    return f"{value:.2f} dB"


def latent_section(told: Told) -> Section:
    """The latents: size, spread, smoothness, and what half precision does to them."""
    text = (
        "A smaller latent makes the denoiser cheaper. Correlation is that of neighbouring latent pixels, the median "
        "over channels: near 1 the latent is a smooth picture, near 0 it looks like noise. NaN or infinite values in "
        "half precision mean: encode in float32."
    )
    columns = (
        "autoencoder", "latent", "numbers", "of pixels", "means", "sds", "correlation",
        "NaN, fp16 / bf16",
    )  # fmt: skip
    tables = [
        Table(
            f"Latents on {name}",
            columns,
            tuple(_latent_cells(told, row) for row in of(told["cost"], name)),
            "Numbers of one image's latent, and their share of its pixels; means and sds are by channel. "
            "Half precision: share of latent "
            f"values that are NaN or infinite, on {_probed(of(told['cost'], name))}, so 0 does not clear the others. "
            "Each channel's mean and sd are in latents.csv.",
        )
        for name in told["datasets"]
    ]
    return Section("The latent itself", (Text((text,)), *tables))


def _probed(rows: Sequence[Row]) -> str:
    """On how many images half precision was tried, such as "1 image" or "1 to 4 images"."""
    counts = sorted({row["probed"] for row in rows})
    few, many = str(counts[0]), str(counts[-1])
    return "1 image" if counts == [1] else f"{few if few == many else f'{few} to {many}'} images"


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
        " / ".join(_share(cost[f"nonfinite_{name}"]) for name in ("float16", "bfloat16")),
    )


def _share(value: float | None) -> str:
    return "0 %" if value == 0 else NONE if value is None else f"{100 * value:.1f} %"


def _span(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return NONE
    low, high = min(known), max(known)
    return f"{low:.2f}" if len(known) == 1 else f"{low:.2f} to {high:.2f}"


def cost_section(told: Told) -> Section:
    """Parameters, times and FLOPs."""
    text = (
        "Times are measured in this run, medians over its batches, whatever else the machine did meanwhile: they "
        "compare these autoencoders, no more. FLOPs are computed (a multiply-add counts as two); the denoiser is the "
        "published UNet at the latent's size, for one step of one image."
    )
    columns = (
        "autoencoder", "parameters, M", "encode, ms", "decode, ms", "GFLOP", "UNet, M",
        "UNet, GFLOP",
    )  # fmt: skip
    tables = [
        Table(
            f"Cost of an image of {name}, {rows[0]['rows']} x {rows[0]['columns']} px",
            columns,
            tuple(_cost_cells(row) for row in rows),
            f"{_machine(rows)} Computed: all else; GFLOP of encode / decode, and of one UNet step.",
        )
        for name in told["datasets"]
        for rows in (of(told["cost"], name),)
    ]
    return Section("What it costs", (Text((text,)), *tables))


def _machine(rows: Sequence[Row]) -> str:
    """What the times were measured on, as far as the screening says so; of each autoencoder where they differ."""
    setups: dict[str, list[str]] = {}
    for row in rows:
        if words := _setup(row):
            setups.setdefault(words, []).append(row["method"])
    if not setups:
        return "Measured: the times; on which device, with how many threads and in which batch was not recorded."
    if len(setups) == 1:
        return f"Measured: the times, {next(iter(setups))}."
    told = "; ".join(f"{words}: {', '.join(names)}" for words, names in setups.items())
    return f"Measured: the times, which do not compare across devices, threads or batches ({told})."


def _setup(row: Row) -> str:
    """Such as "on cpu with 2 threads, 8 images at a time"."""
    if row.get("device") is None:
        return ""
    threads, batch = row.get("threads"), row.get("batch")
    words = f"on {row['device']}"
    words += f" with {threads} thread{'' if threads == 1 else 's'}" if threads else ""
    return words + (f", {batch} image{'' if batch == 1 else 's'} at a time" if batch else "")


def _cost_cells(row: Row) -> tuple[str, ...]:
    return (
        row["method"],
        _scaled(row["parameters"], 1e-6),
        _scaled(row["encode_seconds"], 1000),
        _scaled(row["decode_seconds"], 1000),
        f"{_scaled(row['encode_flops'], 1e-9)} / {_scaled(row['decode_flops'], 1e-9)}",
        _scaled(row["denoiser_parameters"], 1e-6),
        _scaled(row["denoiser_flops"], 1e-9),
    )


def _scaled(value: float | None, scale: float) -> str:
    return written(None if value is None else value * scale, ",.1f")
