"""The SR quality to expect, in words, beside what is measured, and what the points under it do not say."""

import math
from typing import Any

import pandas as pd

from latentsr.baselines import BICUBIC
from latentsr.screening.apart import listed
from latentsr.screening.prediction import CAPPED, EXTRAPOLATED
from latentsr.stats.regression import fit_line, pearson

# Protocol sections 2 and 4 (3 and 7); MedVAE and SD-VAE against bicubic interpolation in each dataset's table.
PUBLISHED = (
    "The published points are 2 autoencoders on 3 datasets, so not independent, as the interval of r takes them to be; "
    "SR lay below bicubic interpolation on two of the three (with SD-VAE on all), and its PSNR was taken against "
    "decode(encode(HR)), not HR."
)


def expectation_sentences(
    expected: pd.DataFrame, baselines: pd.DataFrame, points: pd.DataFrame, published: bool
) -> list[str]:
    """The best candidate of each dataset, what the baselines reach there, and what to hold against the points."""
    known = expected.dropna(subset=["expected"])
    if known.empty:
        return []
    line = fit_line(points["ceiling"], points["sr"])
    source = "six published points" if published else f"{len(points)} finished studies of your own"
    best = {str(name): _best(rows) for name, rows in known.groupby("dataset", sort=False)}
    overlap = known["low"].max() <= known["high"].min() and known["method"].nunique() > 1
    wide = "; all intervals overlap, so they say what to expect, not which is better" if overlap else ""
    several = {name for name, rows in known.groupby("dataset") if len(rows) > 1}
    told = "; ".join(f"on {name} {'at best ' * (name in several)}{_expected(row)}" for name, row in best.items())
    correlation = f"{pearson(points['ceiling'], points['sr']).words}, R2 = {line.r2:.2f}"
    text = f"Expected SR PSNR, from {source} ({correlation}): {told}{wide}."
    beyond = sorted(set(known.loc[known["note"].str.contains(EXTRAPOLATED), "method"]))
    extrapolated = f" Extrapolated beyond the points, so less sure still: {listed(beyond)}." if beyond else ""
    return [text + extrapolated, *_measured(best, baselines), *([PUBLISHED] if published else [])]


def _best(rows: pd.DataFrame) -> dict[str, Any]:
    return dict(rows.sort_values("expected", ascending=False).iloc[0])


def _expected(best: dict[str, Any]) -> str:
    capped = f", capped by its ceiling of {best['ceiling']:.1f} dB" if CAPPED in best["note"] else ""
    interval = f"95 % prediction interval {best['low']:.1f} to {best['high']:.1f} dB"
    return f"{best['expected']:.1f} dB with {best['method']} ({interval}{capped})"


def _measured(best: dict[str, dict[str, Any]], baselines: pd.DataFrame) -> list[str]:
    """What each baseline reaches on the same images, against the best of what is expected there."""
    told, below = [], []
    for name, row in best.items():
        here = baselines[(baselines["dataset"] == name) & baselines["mean"].notna()].to_dict(orient="records")
        if here:
            told.append(f"on {name} {listed([_against(one, row['expected']) for one in here])}")
        below += [one["mean"] > row["expected"] for one in here if one["method"] == BICUBIC]
    if not told:
        return []
    verdict = " So the line lies below what interpolation gives here: plan by what is measured, not by it."
    return [
        f"Measured on the same images, with the distance to that expectation: {'; '.join(told)}."
        + verdict * (bool(below) and all(below))
    ]


def _against(row: dict[str, Any], expected: float) -> str:
    """Such as "bicubic 27.6 dB [27.1, 28.2] (+1.1 dB)"."""
    name = row["method"] if row["method"] == BICUBIC else f"the shipped model {row['method']}"
    interval = f" [{row['low']:.1f}, {row['high']:.1f}]" if math.isfinite(row["low"]) else ""
    return f"{name} {row['mean']:.1f} dB{interval} ({row['mean'] - expected:+.1f} dB)"
