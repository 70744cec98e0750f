"""The SR quality to expect, in words, and what the points under it do not say."""

from math import isnan

import pandas as pd

from latentsr.screening.apart import listed
from latentsr.screening.prediction import CAPPED, EXTRAPOLATED
from latentsr.stats.regression import fit_line

# Protocol sections 2 and 4 (3 and 7); MedVAE and SD-VAE against bicubic interpolation in each dataset's table.
PUBLISHED = (
    "The published points are 2 autoencoders on 3 datasets, not independent; SR lay below bicubic interpolation on two "
    "of the three (with SD-VAE on all), its PSNR was taken against decode(encode(HR)), not HR, and MRNet was sampled "
    "with T = 1000, the others with T = 100."
)


def expectation_sentences(expected: pd.DataFrame, points: pd.DataFrame, published: bool) -> list[str]:
    """The best candidate of each dataset in one sentence, bicubic beside it, and what to hold against the points."""
    known = expected.dropna(subset=["expected"])
    if known.empty:
        return []
    line = fit_line(points["ceiling"], points["sr"])
    source = "six published points" if published else f"{len(points)} finished studies of your own"
    best = [_best(str(name), rows) for name, rows in known.groupby("dataset", sort=False)]
    overlap = known["low"].max() <= known["high"].min() and known["method"].nunique() > 1
    wide = "; all intervals overlap, so they say what to expect, not which is better" if overlap else ""
    text = f"Expected SR PSNR, from {source} (r = {line.r:.2f}, R2 = {line.r2:.2f}): {'; '.join(best)}{wide}."
    beyond = sorted(set(known.loc[known["note"].str.contains(EXTRAPOLATED), "method"]))
    extrapolated = f" Extrapolated beyond the points, so less sure still: {listed(beyond)}." if beyond else ""
    return [text + extrapolated, *([PUBLISHED] if published else [])]


def _best(dataset: str, rows: pd.DataFrame) -> str:
    best = rows.sort_values("expected", ascending=False).iloc[0]
    capped = f", capped by its ceiling of {best['ceiling']:.1f} dB" if CAPPED in best["note"] else ""
    interval = f"95 % prediction interval {best['low']:.1f} to {best['high']:.1f} dB"
    at_best = "at best " if len(rows) > 1 else ""
    text = f"on {dataset} {at_best}{best['expected']:.1f} dB with {best['method']} ({interval}{capped})"
    return text if isnan(best["bicubic"]) else f"{text}, where bicubic has {best['bicubic']:.1f} dB"
