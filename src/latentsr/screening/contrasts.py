"""Domain and geometry told apart: pairs of autoencoders that differ in one of them and agree in the other."""

from collections.abc import Iterator, Sequence
from itertools import combinations

import pandas as pd

from latentsr.autoencoders import AutoencoderSpec
from latentsr.screening.apart import psnr_difference
from latentsr.screening.candidates import Identified

DOMAIN, GEOMETRY = "domain", "geometry"
DOMAINS = ("medical", "natural")
CONTRAST_COLUMNS = (
    "dataset", "kind", "a", "b", "domains", "geometries", "one_source", "as_many", "n", "difference", "low", "high",
    "p_holm",
)  # fmt: skip


def contrasts(identified: Sequence[Identified], differences: pd.DataFrame) -> pd.DataFrame:
    """One row a dataset and pair (a, b): the PSNR that a has over b, in dB with its 95 % interval.

    Kind `domain`: same geometry (channels and factor), a is medical and b natural. Kind `geometry`: same domain, a
    keeps more numbers of an image than b, or `as_many` on the finer grid. `one_source`: both say that they come from
    the same place. Those of `unplaced`, and lossless ones, are in none. Architecture, training and budget may differ
    too: only autoencoders that were trained alike tell the cause.
    """
    datasets = sorted(set(differences["dataset"]))
    found = [
        {**row, "dataset": dataset, "kind": kind, **_facts(a.spec, b.spec)}
        for dataset in datasets
        for kind, a, b in _pairs(identified)
        if (row := psnr_difference(differences, dataset, a.name, b.name)) is not None
    ]
    return pd.DataFrame(found, columns=list(CONTRAST_COLUMNS)).sort_values(
        ["dataset", "kind"], kind="stable", ignore_index=True
    )


def unplaced(identified: Sequence[Identified]) -> list[str]:
    """The autoencoders that lose something and are in no contrast, since nobody said on what they were trained."""
    return [one.name for one in identified if not one.spec.lossless and one.spec.domain not in DOMAINS]


def _pairs(identified: Sequence[Identified]) -> Iterator[tuple[str, Identified, Identified]]:
    placed = [one for one in identified if not one.spec.lossless and one.spec.domain in DOMAINS]
    for first, second in combinations(placed, 2):
        alike = _geometry(first.spec) == _geometry(second.spec)
        if alike and first.spec.domain != second.spec.domain:
            yield (DOMAIN, *sorted((first, second), key=lambda one: one.spec.domain != "medical"))  # type: ignore[misc]
        elif not alike and first.spec.domain == second.spec.domain:
            ordered = sorted((first, second), key=lambda one: (-_share(one.spec), one.spec.factor))
            yield (GEOMETRY, *ordered)  # type: ignore[misc]


def _geometry(spec: AutoencoderSpec) -> tuple[int, int]:
    return spec.latent_channels, spec.factor


def _share(spec: AutoencoderSpec) -> float:
    """Latent numbers for each pixel."""
    return spec.latent_channels / spec.factor**2


def _facts(a: AutoencoderSpec, b: AutoencoderSpec) -> dict[str, object]:
    """The labels of the pair."""
    geometries = " - ".join(dict.fromkeys(_shape(one) for one in (a, b)))
    as_many = _geometry(a) != _geometry(b) and _share(a) == _share(b)
    return {
        "domains": " - ".join(dict.fromkeys((a.domain, b.domain))),
        "geometries": f"{geometries} (as many numbers, other shape)" if as_many else geometries,
        "one_source": a.source == b.source,
        "as_many": as_many,
    }


def _shape(spec: AutoencoderSpec) -> str:
    channels = spec.latent_channels
    return f"{channels} channel{'' if channels == 1 else 's'} at 1/{spec.factor}"
