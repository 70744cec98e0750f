"""Domain and geometry of autoencoders told apart: contrasts of pairs, and what is said of them."""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

import pandas as pd

from latentsr.autoencoders import AutoencoderSpec
from latentsr.bench.screening_plan import Identified
from latentsr.names import listed
from latentsr.stats.significance import LEVEL, judge, turned

RULE = (
    "Told apart means: the mean over patients of the paired difference is not zero, by Student's test with p adjusted "
    f"for all comparisons on the dataset (Holm) below {LEVEL:g}; intervals are of one difference alone."
)
Row = Mapping[str, Any]


def psnr_difference(differences: pd.DataFrame, dataset: str, a: str, b: str) -> Row | None:
    """The row of a minus b in PSNR, turned round where the table has b minus a; None if it has neither."""
    psnr = differences[(differences["dataset"] == dataset) & (differences["metric"] == "psnr")]
    for row in psnr[(psnr["a"] == a) & (psnr["b"] == b)].to_dict(orient="records"):
        return row
    for row in psnr[(psnr["a"] == b) & (psnr["b"] == a)].to_dict(orient="records"):
        return turned(row)
    return None


def judgeable(row: Row | None) -> bool:
    """Whether enough patients stand behind the difference to say anything."""
    return row is not None and judge(row, "higher") != "few"


def told_apart(row: Row | None) -> bool:
    """As RULE says."""
    return row is not None and judge(row, "higher") in ("better", "worse")


def gap(row: Row, sign: str = "") -> str:
    """The difference in dB with its interval."""
    interval = f"[{row['low']:.2f}, {row['high']:.2f}]" if math.isfinite(row["low"]) else "(no interval)"
    return f"{row['difference']:{sign}.2f} dB {interval}"


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
    shapes = (f"{one.latent_channels} channel{'s' * (one.latent_channels > 1)} at 1/{one.factor}" for one in (a, b))
    geometries = " - ".join(dict.fromkeys(shapes))
    as_many = _geometry(a) != _geometry(b) and _share(a) == _share(b)
    return {
        "domains": " - ".join(dict.fromkeys((a.domain, b.domain))),
        "geometries": f"{geometries} (as many numbers, other shape)" if as_many else geometries,
        "one_source": a.source == b.source,
        "as_many": as_many,
    }


TITLES = {
    DOMAIN: "Domain (medical minus natural at one geometry)",
    GEOMETRY: "Geometry (more latent numbers minus fewer in one domain)",
}
CAVEAT = "Only autoencoders trained alike, with one architecture and budget, tell the cause."
Rows = Sequence[dict[str, Any]]


def contrast_sentences(contrasts: pd.DataFrame, unplaced: Sequence[str]) -> list[str]:
    """A text a kind; the last one says what they do not tell, and of whom they are silent."""
    told = [
        f"{title}: {' '.join(_groups(contrasts[contrasts['kind'] == kind]))}"
        for kind, title in TITLES.items()
        if kind in set(contrasts["kind"])
    ]
    silent = f"In no contrast, their domain not known: {listed(unplaced)}." if unplaced else ""
    if not told:
        none = "Domain and geometry cannot be told apart here: no two of these differ in one and agree in the other."
        return [f"{none} {silent}".strip()]
    told[-1] = " ".join(filter(None, (told[-1], CAVEAT, silent)))
    return told


def _groups(rows: pd.DataFrame) -> Iterator[str]:
    """Pairs of one source first; those of several, and those of as many numbers, are ranges of their own."""
    for (several, as_many), own in rows.groupby([~rows["one_source"].astype(bool), rows["as_many"].astype(bool)]):
        words = " ".join(filter(None, ("as many numbers in another shape" * as_many, "between sources" * several)))
        ranges = [
            f"on {dataset} {_range(list(here.to_dict(orient='records')))}"
            for dataset, here in own.groupby("dataset", sort=False)
        ]
        yield f"{words[:1].upper()}{words[1:]}{': ' * bool(words)}{'; '.join(ranges)}."


def _range(rows: Rows) -> str:
    """Such as "+4.54 to +5.12 dB (3 of 4 pairs told apart)"; of a single pair its interval and names."""
    if len(rows) == 1:
        return f"{gap(rows[0], '+')} ({rows[0]['a']} over {rows[0]['b']}, {_judged(rows)})"
    differences = [row["difference"] for row in rows]
    return f"{min(differences):+.2f} to {max(differences):+.2f} dB ({_judged(rows)})"


def _judged(rows: Rows) -> str:
    if not any(judgeable(row) for row in rows):
        return "not to be judged" if len(rows) == 1 else f"{len(rows)} pairs, not to be judged"
    apart = sum(told_apart(row) for row in rows)
    if len(rows) == 1:
        return "told apart" if apart else "not told apart"
    count = f"all {apart}" if apart == len(rows) else f"{apart or 'none'} of {len(rows)}"
    return f"{count} pairs told apart"
