"""What kind of images a method gives: place, blur, contrast and mean against HR, and whether they are HR itself.

What is wrong with a method is decided by medians over a dataset's images, which a few swapped or broken ones do not
change; what its images are like is told in the summary's means, as everywhere on a page.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from latentsr.names import HR, LR_PSNR
from latentsr.upscalers import BICUBIC

CHARACTER = {  # metric: what is said of its mean, or of its ratio to HR's
    "shift/length": "shift {:.2f} px",
    "blur": "blur {:.2f} px",
    "contrast": "contrast {:.3f} of HR's",
    "intensity_bias": "bias {:+.4f} of the range",
    "noise": "noise {:.4f} of the range",
    "laplacian_variance": "sharpness {:.2f} of HR's",
    "blockiness": "blockiness {:.2f} of HR's",
    "detail_frc": "FRC beyond LR {:.2f}",
    LR_PSNR: "LR PSNR {:.1f} dB",
}
JUDGED = (
    "psnr", "shift/length", "shift/right", "shift/down", "blur", "contrast", "intensity_bias", "noise", "detail_frc",
)  # fmt: skip
ROUNDED = 90.0  # dB: 16-bit rounding alone costs 107 dB, and no method from LR comes near
# FRC beyond LR of images that were made from HR: the square, 0.96, is the share of HR's detail that is right, 14 dB
# above none. Bicubic has 0.1 to 0.6, the shipped model 0.4 to 0.8, HR with noise of 55 dB 0.994 and HR blurred by 2 px
# 0.99. PSNR tells less, and so does its gain over bicubic: where HR is itself an enlargement by two, bicubic+projection
# has 69 dB, 30 dB above bicubic. There bicubic's own detail is HR's too (0.97), and nothing is concluded from it.
KNOWN, OPEN = 0.98, 0.9
CLOSE, GAIN = 55.0, 15.0  # dB, and dB above bicubic: with OPEN a copy with noise, where little detail lowers the FRC
SHIFT = 0.25  # px; of bicubic and the shipped model the estimate is off by 0.04 (median), and by 0.1 in the worst image
BLUR = 0.3  # px, sigma: the finest frequency along an axis keeps 64 % of its amplitude
CONTRAST = 0.05  # share; bicubic and the shipped model keep it to 0.005
# Share of the range: 2.5 of 255 grey levels, 20 HU of 2,000. Bicubic and the shipped model keep the mean to 0.001. A
# smaller bias can be beyond doubt and matter to nobody; it stands with its interval in the table of agreement.
BIAS = 0.01
NOISE = 0.01  # share of the range, sd: noise of 40 dB. The shipped model has 0.002 to 0.005, bicubic up to 0.009
TRACE = 0.1  # px below which a direction is not named


def characters(summary: pd.DataFrame) -> list[dict[str, Any]]:
    """What kind of images each method gives, for run.json: a row a dataset and method, and a `sentence` that tells it.

    `values` by the metrics of CHARACTER, those that were measured: the summary's means over patients, and of sharpness
    (Laplacian variance) and blockiness the ratio to HR's.
    """
    told = []
    for (dataset, method), rows in summary[summary["method"] != HR].groupby(["dataset", "method"], sort=False):
        means = rows.set_index("metric")
        values = means["ratio_to_hr"].fillna(means["mean"]).reindex(list(CHARACTER)).dropna().astype(float).to_dict()
        words = ", ".join(CHARACTER[metric].format(_rounded(value)) for metric, value in values.items())
        told.append(
            {"dataset": dataset, "method": method, "values": values, "sentence": f"{method} on {dataset}: {words}."}
        )
    return told


def _values(table: pd.DataFrame) -> dict[tuple[str, str], pd.DataFrame]:
    """By dataset and method, HR left out, the metrics JUDGED: a row an image."""
    wanted = table[table["metric"].isin(JUDGED) & (table["method"] != HR)]
    return {
        key: rows.pivot(index="id", columns="metric", values="value").reindex(columns=list(JUDGED))
        for key, rows in wanted.groupby(["dataset", "method"], sort=False)
    }


def truth_facts(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The methods whose images are HR, or were made from HR: the truth, given for a restoration.

    Those where most images are equal to HR, or but for rounding (PSNR of 90 dB), or have the detail that LR does not
    hold (KNOWN). `images` of them there are in `of`, `exact` says that all these are equal to HR, and `changes`
    how else they differ. Nothing where neither PSNR nor the FRC beyond LR was measured.
    """
    found, told = _values(table), []
    for (dataset, method), values in found.items():
        easy = found[dataset, BICUBIC]["detail_frc"].ge(OPEN) if (dataset, BICUBIC) in found else False
        gain = values["psnr"] - (found[dataset, BICUBIC]["psnr"] if (dataset, BICUBIC) in found else np.nan)
        close = values["psnr"].ge(CLOSE) & gain.ge(GAIN) & values["detail_frc"].ge(OPEN)
        known = values["psnr"].ge(ROUNDED) | ((values["detail_frc"].ge(KNOWN) | close) & ~easy)
        if known.mean() > 0.5:
            chosen = values[known]
            exact = bool(np.isposinf(chosen["psnr"]).all())
            medians, changes = chosen.median(), list[str]()
            mean = f"{_percent(medians['intensity_bias'], '+.1f')} of the range"
            if not exact and chosen["psnr"].ge(ROUNDED).all():
                changes.append("rounding")
            elif not exact:
                if medians["shift/length"] >= SHIFT:
                    changes.append(f"a shift by {_direction(chosen)}")
                if medians["blur"] >= BLUR:
                    changes.append(f"a blur (Gaussian of sigma {medians['blur']:.2f} px)")
                if abs(medians["contrast"] - 1) >= CONTRAST:
                    changes.append(f"contrast ({_percent(medians['contrast'], '.0f')} of HR's, mean {mean})")
                elif abs(medians["intensity_bias"]) >= BIAS:
                    changes.append(f"the mean ({mean})")
                changes = changes or [f"noise or rounding (PSNR {medians['psnr']:.1f} dB)"]
            facts = {"images": len(chosen), "of": len(values), "exact": exact, "changes": changes}
            told.append({"dataset": dataset, "method": method, **facts})
    return told


def truth_warnings(truths: Sequence[Mapping[str, Any]]) -> list[str]:
    """A sentence for each method whose images are the truth itself, or were made from it."""
    found = []
    for truth in truths:
        images, of = truth["images"], truth["of"]
        whole = f"{images} of {of} images" if images < of else "The one image" if of == 1 else f"All {of} images"
        changes = f", but for {' and '.join(truth['changes'])}" if truth["changes"] else ""
        found.append(
            f"{whole} of method '{truth['method']}' on '{truth['dataset']}' {'is' if images == 1 else 'are'} HR itself"
            f"{changes}: this is the truth, not a restoration; check what was given."
        )
    return found


def _rounded(value: float) -> float:
    """To four digits after the point, and no negative zero."""
    return round(value, 4) + 0.0


def _percent(share: float, form: str) -> str:
    return f"{_rounded(100 * share):{form}} %"


def distortion_cautions(table: pd.DataFrame, truths: Sequence[Mapping[str, Any]]) -> list[str]:
    """A sentence for each restoration that is shifted against HR, of another contrast or mean, or noisy.

    Of the `truths`, as `truth_facts` has them, the warnings tell it. Blur is no fault in a restoration.
    """
    found, aside = _values(table), {(truth["dataset"], truth["method"]) for truth in truths}
    told = []
    for (dataset, method), values in found.items():
        if (dataset, method) in aside:
            continue
        # An image without a value counts as one without the fault. Bicubic's medians show how far the estimates are
        # off where images are small, or much is lost.
        bicubic, faults = found.get((dataset, BICUBIC), values.iloc[:0]).median(), []
        lengths, levels = values["shift/length"].fillna(0), values["noise"].fillna(0)
        contrast, bias = values["contrast"].fillna(1) - 1, values["intensity_bias"].fillna(0)
        shifted = lengths.median() >= np.nanmax([SHIFT, 2 * bicubic["shift/length"]])
        if shifted:
            faults.append(
                f"are shifted against HR by {_direction(values)} ({_share(lengths >= SHIFT)} by {SHIFT} px or more): "
                "what keeps the centres of LR's pixels is not, and every measure against HR suffers. Check how images "
                "were enlarged."
            )
        if _one_sided(contrast, CONTRAST):
            faults.append(
                f"have {_percent(1 + contrast.median(), '.0f')} of HR's contrast "
                f"({_share(contrast.abs() >= CONTRAST)} are off by {_percent(CONTRAST, 'g')} or more; the mean is "
                f"{_percent(bias.median(), '+.1f')} of the range off): LR holds the contrast. Check the intensity "
                "scale."
            )
        elif _one_sided(bias, BIAS):
            faults.append(
                f"have a mean that is {_percent(bias.median(), '+.1f')} of the range off HR's "
                f"({_share(bias.abs() >= BIAS)} by {_percent(BIAS, 'g')} or more): LR holds the mean. Check the "
                "intensity scale."
            )
        if not shifted and levels.median() >= np.nanmax([NOISE, 2 * bicubic["noise"]]):  # a shift is unlike HR, too
            faults.append(
                "hold noise or aliasing: up to half of LR's Nyquist frequency, where LR tells what is there, "
                f"{levels.median():.3f} of the range (sd; {_share(levels >= NOISE)} {NOISE:g} or more). Sharpness and "
                "spectra take it for detail."
            )
        told += [f"On '{dataset}' the images of method '{method}' {fault}" for fault in faults]
    return told


def _one_sided(values: pd.Series, least: float) -> bool:
    """Whether three quarters of the values lie at `least` or beyond on one side."""
    return bool(values.quantile(0.25) >= least or values.quantile(0.75) <= -least)


def _share(images: pd.Series) -> str:
    return f"{images.sum()} of {len(images)} images"


def _direction(values: pd.DataFrame) -> str:
    """Such as "1.00 px to the right and 0.50 px up", or the length alone where the directions differ."""
    right, down, length = values[["shift/right", "shift/down", "shift/length"]].median()
    if np.hypot(right, down) < length / 2:
        return f"{length:.2f} px in directions that differ"
    parts = ((right, "to the right", "to the left"), (down, "down", "up"))
    named = [f"{abs(part):.2f} px {forth if part > 0 else back}" for part, forth, back in parts if abs(part) >= TRACE]
    return " and ".join(named) or f"{length:.2f} px"
