"""Sections of a screening's page: bands and spectra, the worst images, the latents and what they cost."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from latentsr.names import DECODED_FILE, ERROR_FILE, HR, HR_FILE
from latentsr.report.blocks import Block, Columns, Images, Picture, Section, Table, Text, Tile, tabulate
from latentsr.report.figures import band_bars, spectra
from latentsr.report.screening.ceilings import LOSSLESS, Results, Row, by_ceiling, lossless, rows_of, written
from latentsr.report.text import NONE, counted

BANDS = ("LL3", "LH3", "HL3", "HH3", "LH2", "HL2", "HH2", "LH1", "HL1", "HH1")
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
            bands = _wide(rows, "subband_psnr", BANDS, "mean").loc[lossy]
            pictures.insert(0, Picture(title, band_bars(bands, better="higher", methods=methods)))
            tables.append(_band_table(f"{title}, dB", bands))
        others = [method for method in lossy if method != reference]
        if others and reference in lossy:
            differences = _wide(rows, "subband_psnr", BANDS, "difference").loc[others]
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
    images = [_worst_images(results, image, pictures) for image in results["worst"]]
    return Section.of("The worst images", Text((text,)), *images)


def _worst_images(results: Results, image: Row, pictures: Path) -> Images:
    folder, ranked = pictures / image["image"], by_ceiling(results, image["dataset"])
    names = [row["method"] for row in ranked if not row["lossless"]] or [row["method"] for row in ranked]
    whole = lossless(results, image["dataset"])
    decoded = [Tile((folder / HR_FILE).read_bytes(), "the true image")]
    errors: list[Tile | None] = [None]
    for name in names:
        psnr, exact = image["psnr"][name], LOSSLESS if name in whole else "given back whole"
        note = exact if psnr is None else f"{psnr:.2f} dB"
        decoded.append(Tile((folder / name / DECODED_FILE).read_bytes(), note))
        errors.append(Tile((folder / name / ERROR_FILE).read_bytes()))
    title, rows = f"Image {image['image']} of {image['dataset']}", (tuple(decoded), tuple(errors))
    return Images(title, ("truth", *names), ("decoded", "error"), rows)


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
        note = f"{_machine(rows)} Computed: all else; GFLOP of encode / decode, and of one UNet step."
        tables.append(tabulate(title, columns, rows, note))
    return Section.of("What it costs", Text((text,)), *tables)


def _machine(rows: Sequence[Row]) -> str:
    """What the times were measured on, as far as the screening says so; of each autoencoder where they differ."""
    setups: dict[str, list[str]] = {}
    for row in rows:
        if row.get("device") is not None:  # such as "on cpu with 2 threads, 8 images at a time"
            words, threads, batch = f"on {row['device']}", row.get("threads"), row.get("batch")
            words += f" with {counted(threads, 'thread')}" if threads else ""
            words += f", {counted(batch, 'image')} at a time" if batch else ""
            setups.setdefault(words, []).append(row["method"])
    if not setups:
        return "Measured: the times; on which device, with how many threads and in which batch was not recorded."
    if len(setups) == 1:
        return f"Measured: the times, {next(iter(setups))}."
    groups = "; ".join(f"{words}: {', '.join(names)}" for words, names in setups.items())
    return f"Measured: the times, which do not compare across devices, threads or batches ({groups})."
