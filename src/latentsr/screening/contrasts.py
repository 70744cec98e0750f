"""Domain and geometry told apart: pairs of autoencoders that differ in one of them and agree in the other."""

from collections.abc import Iterator, Sequence
from itertools import combinations

import pandas as pd

from latentsr.autoencoders import AutoencoderSpec
from latentsr.screening.candidates import Identified

DOMAIN, GEOMETRY = "domain", "geometry"
CONTRAST_COLUMNS = ("dataset", "kind", "a", "b", "domains", "geometries", "n", "difference", "low", "high")


def contrasts(identified: Sequence[Identified], differences: pd.DataFrame) -> pd.DataFrame:
    """One row a dataset and pair (a, b): the PSNR that a has over b, in dB with its 95 % interval.

    Kind `domain`: same geometry (channels and factor), a is medical and b natural. Kind `geometry`: same domain, a
    keeps more numbers of an image than b. Lossless autoencoders and those of no domain are in none. Architecture,
    training and budget may differ too: only autoencoders that were trained alike tell the cause.
    """
    psnr = differences[differences["metric"] == "psnr"]
    found = [
        {"kind": kind, "a": a.name, "b": b.name, **_labels(a.spec, b.spec), **row}
        for kind, a, b in _pairs(identified)
        for row in _differences(psnr, a.name, b.name)
    ]
    return pd.DataFrame(found, columns=list(CONTRAST_COLUMNS)).sort_values(
        ["dataset", "kind"], kind="stable", ignore_index=True
    )


def _pairs(identified: Sequence[Identified]) -> Iterator[tuple[str, Identified, Identified]]:
    lossy = [one for one in identified if not one.spec.lossless and one.spec.domain != "none"]
    for first, second in combinations(lossy, 2):
        alike = _geometry(first.spec) == _geometry(second.spec)
        if alike and first.spec.domain != second.spec.domain:
            yield (DOMAIN, *sorted((first, second), key=lambda one: one.spec.domain != "medical"))  # type: ignore[misc]
        elif not alike and first.spec.domain == second.spec.domain:
            yield (GEOMETRY, *sorted((first, second), key=lambda one: -_share(one.spec)))  # type: ignore[misc]


def _geometry(spec: AutoencoderSpec) -> tuple[int, int]:
    return spec.latent_channels, spec.factor


def _share(spec: AutoencoderSpec) -> float:
    """Latent numbers for each pixel."""
    return spec.latent_channels / spec.factor**2


def _labels(a: AutoencoderSpec, b: AutoencoderSpec) -> dict[str, str]:
    geometries = dict.fromkeys(f"{one.latent_channels} channels at 1/{one.factor}" for one in (a, b))
    return {"domains": " - ".join(dict.fromkeys((a.domain, b.domain))), "geometries": " - ".join(geometries)}


def _differences(psnr: pd.DataFrame, a: str, b: str) -> Iterator[dict[str, object]]:
    """The rows of the pair, a minus b, turned round where the table has b minus a."""
    for row in psnr[(psnr["a"] == a) & (psnr["b"] == b)].to_dict(orient="records"):
        yield {key: row[key] for key in ("dataset", "n", "difference", "low", "high")}
    for row in psnr[(psnr["a"] == b) & (psnr["b"] == a)].to_dict(orient="records"):
        turned = {"difference": -row["difference"], "low": -row["high"], "high": -row["low"]}
        yield {"dataset": row["dataset"], "n": row["n"], **turned}
