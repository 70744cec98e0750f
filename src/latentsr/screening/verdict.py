"""What a screening says, in words: who ranks where, who is not told apart, domain and geometry, what SR to expect."""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import pandas as pd

from latentsr.screening.contrasts import DOMAIN
from latentsr.stats.regression import fit_line

FEW_PATIENTS = 8  # below, a bootstrap interval holds the truth less often than it says
NAMED = 4
MEANING = (
    "The AE ceiling is how true an image is to itself after encoding and decoding, as mean PSNR with its 95 % "
    "interval: what is lost there, no denoiser brings back."
)
Rows = list[dict[str, Any]]


def verdict(frames: Mapping[str, pd.DataFrame], points: pd.DataFrame, published: bool) -> list[str]:
    """Sentences, the most important first: the best autoencoder of each dataset, then the rankings, then the reasons.

    Args:
        frames: `ceilings`, `differences`, `contrasts`, `expected` and `cost` of the screening.
        points: what the expectation rests on.
        published: whether these are the published points.
    """
    names = list(dict.fromkeys(frames["ceilings"]["dataset"]))
    ranked = {name: _ranked(frames["ceilings"], name) for name in names}
    sentences = [_headline(ranked, frames["differences"])]
    if any(ranked.values()):
        sentences.append(MEANING)
    sentences += [_ranking(name, ranked[name], frames["differences"]) for name in names if len(ranked[name]) > 1]
    sentences += _contrast_sentences(frames["contrasts"])
    sentences += _lossless(frames["ceilings"])
    sentences += _expectations(frames["expected"], points, published)
    return sentences


def warnings(frames: Mapping[str, pd.DataFrame], lone: Collection[str] = ()) -> list[str]:
    """What a reader must know before believing the rest: few patients, missing values, what half precision breaks.

    `lone` are the datasets in which no patient has two images.
    """
    ceilings = frames["ceilings"]
    found: list[str] = []
    for name, rows in ceilings.groupby("dataset", sort=False):
        found += _patients(str(name), int(rows["patients"].iloc[0]), int(rows["images"].iloc[0]))
        if name in lone:
            found.append(
                f"{name}: each image counts as a patient of its own; if some share one, intervals are too narrow."
            )
        for metric, images, missing in _missing(rows):
            found.append(f"{name}: {metric} has no value for {missing} of {images} images (too small or constant).")
    return found + _half_precision(frames["cost"])


def _ranked(ceilings: pd.DataFrame, dataset: str) -> Rows:
    """The PSNR rows of the autoencoders that lose something, the highest first."""
    here = ceilings[(ceilings["dataset"] == dataset) & (ceilings["metric"] == "psnr") & ~ceilings["lossless"]]
    return list(here.dropna(subset=["mean"]).sort_values("mean", ascending=False).to_dict(orient="records"))


def _headline(ranked: Mapping[str, Rows], differences: pd.DataFrame) -> str:
    """The best of each dataset in one sentence."""
    told = [_best(name, rows, differences) for name, rows in ranked.items() if rows]
    if not told:
        return "Only lossless autoencoders were screened: none has an AE ceiling to rank by."
    return f"Highest AE ceiling: {'; '.join(told)}."


def _best(dataset: str, ranked: Rows, differences: pd.DataFrame) -> str:
    first = ranked[0]
    ties = [row["method"] for row in ranked[1:] if not _apart(differences, dataset, first["method"], row["method"])]
    tied = f", not told apart from {_listed(ties)}" if ties else ""
    return f"on {dataset} {first['method']}, {_mean(first)}{tied}"


def _ranking(dataset: str, ranked: Rows, differences: pd.DataFrame) -> str:
    """All of a dataset in order, and what lies between each and the next."""
    order = ", ".join(f"{row['method']} {row['mean']:.2f}" for row in ranked)
    neighbours = list(pairwise(row["method"] for row in ranked))
    ties = [(a, b) for a, b in neighbours if not _apart(differences, dataset, a, b)]
    text = f"Ranking on {dataset}, mean PSNR in dB: {order}."
    if not ties:
        closest = min(neighbours, key=lambda pair: _row(differences, dataset, *pair)[0])
        gap = _gap(differences, dataset, *closest)
        return f"{text} Each is told apart from the next; the closest are {closest[0]} and {closest[1]}, {gap} apart."
    told = [f"{a} from {b} ({_gap(differences, dataset, a, b)})" for a, b in ties]
    return f"{text} Not told apart (the 95 % interval of the difference holds zero, or there is none): {_listed(told)}."


def _row(differences: pd.DataFrame, dataset: str, a: str, b: str) -> tuple[float, float, float]:
    """(difference, low, high) of a minus b in PSNR."""
    psnr = differences[(differences["dataset"] == dataset) & (differences["metric"] == "psnr")]
    for first, second, sign in ((a, b, 1), (b, a, -1)):
        for row in psnr[(psnr["a"] == first) & (psnr["b"] == second)].itertuples():
            low, high = sorted((sign * row.low, sign * row.high))
            return sign * row.difference, low, high
    return math.nan, math.nan, math.nan


def _apart(differences: pd.DataFrame, dataset: str, a: str, b: str) -> bool:
    _, low, high = _row(differences, dataset, a, b)
    return low > 0 or high < 0


def _gap(differences: pd.DataFrame, dataset: str, a: str, b: str) -> str:
    difference, low, high = _row(differences, dataset, a, b)
    return f"{difference:.2f} dB [{low:.2f}, {high:.2f}]" if low == low else f"{difference:.2f} dB, no interval"


def _contrast_sentences(contrasts: pd.DataFrame) -> list[str]:
    if contrasts.empty:
        return ["Domain and geometry cannot be told apart here: no two of these differ in one and agree in the other."]
    return [
        _contrast(str(dataset), str(kind), list(rows.to_dict(orient="records")))
        for (dataset, kind), rows in contrasts.groupby(["dataset", "kind"], sort=False)
    ]


def _contrast(dataset: str, kind: str, rows: Rows) -> str:
    told = "; ".join(_contrast_part(kind, row) for row in rows[:NAMED])
    more = f"; and {len(rows) - NAMED} more pairs in the table" if len(rows) > NAMED else ""
    what = "Domain, at one geometry, medical minus natural" if kind == DOMAIN else "Geometry, within one domain"
    return f"{what}, on {dataset}: {told}{more}."


def _contrast_part(kind: str, row: Mapping[str, Any]) -> str:
    where = f"at {row['geometries']}" if kind == DOMAIN else f"{row['domains']}, {row['geometries']}"
    interval = f" [{row['low']:.2f}, {row['high']:.2f}]" if row["low"] == row["low"] else " (no interval)"
    tie = "" if row["low"] > 0 or row["high"] < 0 else ", not told apart"
    return f"{row['difference']:+.2f} dB{interval} {where} ({row['a']} - {row['b']}){tie}"


def _lossless(ceilings: pd.DataFrame) -> list[str]:
    names = list(dict.fromkeys(ceilings.loc[ceilings["lossless"], "method"]))
    if not names:
        return []
    verb, whose = ("is", "Its latent keeps") if len(names) == 1 else ("are", "Their latents keep")
    return [
        f"{_listed(names)} {verb} lossless: without a ceiling, so neither ranked nor predicted here. {whose} "
        "the whole image; whether a denoiser does better there, only training can show."
    ]


def _expectations(expected: pd.DataFrame, points: pd.DataFrame, published: bool) -> list[str]:
    known = expected.dropna(subset=["expected"])
    if known.empty:
        return []
    line = fit_line(points["ceiling"], points["sr"])
    source = "the published study's six points" if published else f"{len(points)} finished studies of your own"
    best = known.sort_values("expected", ascending=False).iloc[0]
    text = (
        f"Expected SR PSNR, from {source} (r = {line.r:.2f}, R2 = {line.r2:.2f}): at best {best['expected']:.1f} dB, "
        f"95 % prediction interval {best['low']:.1f} to {best['high']:.1f} dB, for {best['method']} on "
        f"{best['dataset']}."
    )
    beyond = sorted(set(known.loc[known["note"] != "", "method"]))
    extrapolated = f" Extrapolated beyond the points, so less sure still: {_listed(beyond)}." if beyond else ""
    overlap = known["low"].max() <= known["high"].min()
    wide = " All prediction intervals overlap: they say what to expect, not which is better." if overlap else ""
    return [text + wide + extrapolated]


def _patients(name: str, patients: int, images: int) -> Iterator[str]:
    if patients == 1:
        yield f"{name}: all {images} images are of one patient: no interval can be given and nothing is told apart."
    elif patients < FEW_PATIENTS:
        yield f"{name}: only {patients} patients: intervals from so few hold the truth less often than they say."


def _missing(rows: pd.DataFrame) -> Iterator[tuple[str, int, int]]:
    for metric, own in rows.groupby("metric", sort=False):
        if missing := int(own["missing"].max()):
            yield str(metric), int(own["images"].iloc[0]), missing


def _half_precision(cost: pd.DataFrame) -> list[str]:
    found = []
    for column in (name for name in cost.columns if name.startswith("nonfinite_")):
        worst = cost.groupby("method", sort=False)[column].max()
        if names := [f"{name} ({share:.0%})" for name, share in worst.items() if share > 0]:
            kind = column.removeprefix("nonfinite_")
            found.append(f"Latents with NaN or infinity in {kind}: {_listed(names)}. Encode with these in float32.")
    return found


def _mean(row: Mapping[str, Any]) -> str:
    interval = f" [{row['low']:.2f}, {row['high']:.2f}]" if row["low"] == row["low"] else " (no interval)"
    return f"{row['mean']:.2f} dB{interval}"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
