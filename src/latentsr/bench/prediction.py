"""The SR quality to expect of an autoencoder: a line through published points, and baselines measured beside it."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import resources
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from latentsr.bench.roundtrip import Arrays, arrays_of
from latentsr.degrade import Degradation
from latentsr.errors import InputError
from latentsr.metrics import METRICS
from latentsr.names import CAPPED, EXTRAPOLATED, listed
from latentsr.stats.regression import fit_line, pearson
from latentsr.upscalers import Method, bicubic, shipped_models
from latentsr.upscalers.model import SuperResolver

COLUMNS = ("ceiling", "sr")
PUBLISHED = "published_points.csv"
SMALLEST = 4  # points: a line takes two, an interval one more, and one is too few to trust either
LEVEL = 0.95
MARGIN, STEPS = 1.0, 61  # dB beyond the points, and places along the drawn line


@dataclass(frozen=True)
class Expectation:
    """The expected SR PSNR in dB and its 95 % prediction interval; NaN where there is none, and the reason in words."""

    ceiling: float
    expected: float
    low: float
    high: float
    note: str


def read_points(path: Path | None = None) -> pd.DataFrame:
    """Finished experiments, a row each, with `ceiling` and `sr` in dB: the published six, or those of a CSV file.

    The published ones have the dataset, the autoencoder and what `bicubic` reached there, too.

    InputError for a file without these columns, with other than finite numbers, or with fewer than four rows.
    """
    if path is None:
        return pd.read_csv(StringIO(resources.files("latentsr.bench").joinpath(PUBLISHED).read_text("utf-8")))
    try:
        points = pd.read_csv(path)
    except (OSError, ValueError) as error:  # pandas' parser errors are ValueErrors
        raise InputError(f"{path}: cannot be read as CSV ({' '.join(str(error).split())})") from error
    expected = f"expected columns {' and '.join(COLUMNS)} in dB, a row each finished experiment"
    if missing := [name for name in COLUMNS if name not in points.columns]:
        raise InputError(f"{path}: lacks {', '.join(missing)}; {expected}")
    numbers = points[list(COLUMNS)].apply(pd.to_numeric, errors="coerce").astype(float)
    if len(points) < SMALLEST or not numbers.map(math.isfinite).all(axis=None):
        raise InputError(f"{path}: {len(points)} rows, some perhaps no numbers; {expected}, {SMALLEST} or more")
    if numbers["ceiling"].nunique() < 3:
        raise InputError(f"{path}: fewer than three different ceilings; no line can be told from these")
    return points.assign(**numbers)


def expected_sr(ceiling: float, points: pd.DataFrame) -> Expectation:
    """What to expect of an autoencoder of that mean PSNR in dB; none for +inf (lossless) or NaN.

    The interval is the regression's own; the note says where its top is above the ceiling, which caps it.
    """
    if not math.isfinite(ceiling):
        reason = "lossless: no ceiling, so no prediction" if ceiling > 0 else "no ceiling"
        return Expectation(ceiling, math.nan, math.nan, math.nan, reason)
    found = fit_line(points["ceiling"], points["sr"]).predict(ceiling, LEVEL)
    centre, low, high = (float(side[0]) for side in (found.centre, found.prediction_low, found.prediction_high))
    notes, (first, last) = [], (points["ceiling"].min(), points["ceiling"].max())
    if not first <= ceiling <= last:
        side = "below" if ceiling < first else "above"
        notes.append(f"{EXTRAPOLATED}: {side} the points' range of {first:.1f} to {last:.1f} dB")
    if max(centre, high) > ceiling:
        notes.append(f"{CAPPED} of {ceiling:.1f} dB")
    return Expectation(ceiling, centre, low, high, "; ".join(notes))


def regression(points: pd.DataFrame, ceilings: Sequence[float]) -> dict[str, Any]:
    """The line through the points with its 95 % bands, over the range of points and ceilings, as plain numbers."""
    line = fit_line(points["ceiling"], points["sr"])
    ends = [*points["ceiling"], *(ceiling for ceiling in ceilings if math.isfinite(ceiling))]
    x = np.linspace(min(ends) - MARGIN, max(ends) + MARGIN, STEPS)
    bands = {name: values.tolist() for name, values in asdict(line.predict(x, LEVEL)).items()}
    named = points.astype(object).where(points.notna(), None).to_dict(orient="records")
    correlation = asdict(pearson(points["ceiling"], points["sr"]))
    return {"correlation": correlation, "r2": line.r2, "points": named, "x": x.tolist(), **bands}


@dataclass(frozen=True)
class Baseline:
    """A method, what it is in words, and the digest of the model that it uses ("" for none)."""

    method: Method
    about: str
    hash: str = ""

    @property
    def name(self) -> str:
        """What tables call it."""
        return self.method.name


def find_baselines(degradation: Degradation, device: str) -> tuple[Baseline, ...]:
    """Bicubic enlargement, and each shipped model that was made for this very degradation: its posterior mean.

    A model that undoes another degradation would be measured on LR that it was not made for, so it is left out.
    """
    found = [Baseline(bicubic(degradation), "interpolation")]
    for name in shipped_models():
        model = SuperResolver.load(name, device=device)
        if model.degradation.text == degradation.text:
            about = f"the posterior mean of the shipped model, trained on {listed(model.config.trained_on)}"
            found.append(Baseline(Method.of(model.name, model), about, model.hash))
    return tuple(found)


@torch.inference_mode()
def measured_baseline(hr: Tensor, ids: Sequence[str], method: Method, degradation: Degradation) -> Arrays:
    """The PSNR of the method's SR of images (batch, 1, rows, columns), clamped to [0, 1]; no latents, no seconds.

    Rows and columns beyond a multiple of the degradation's divisor are cut off; NaN for images under one multiple.
    """
    rows, columns = (side - side % degradation.divisor for side in hr.shape[-2:])
    values = hr.new_full((len(hr),), math.nan)
    if rows and columns:
        cut = hr[..., :rows, :columns]
        sr = method.restore(degradation.degrade(cut, ids), ids).image.to(cut.device)
        values = METRICS["psnr"](sr.clamp(0, 1), cut)
    return arrays_of({"psnr": values}, hr)
