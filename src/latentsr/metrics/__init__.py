"""The measures of image quality, and the METRICS table that names them all with unit, direction and source.

Importing this loads torch and nothing heavier: torchmetrics and piq come in when a measure of theirs is first called.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from torch import Tensor

from latentsr.errors import OptionError
from latentsr.metrics import fidelity, frequency, perceptual

__all__ = ["METRICS", "Metric", "find_metrics"]


@dataclass(frozen=True)
class Metric:
    """The facts of one measure.

    Attributes:
        name: what options and tables call it.
        title: what figures and printed tables call it.
        function: (sr, hr) -> (batch,), or (image) -> (batch,) where `needs_reference` is False. Images are
            (batch, 1, rows, columns) in [0, 1]; NaN says "no value", as for images under `smallest_side`.
        unit: of the value; empty for a pure number.
        better: which way is better; `closer` is closer to the value that HR itself has.
        range: smallest and largest value that can come.
        source: paper and equation, or protocol.
        smallest_side: pixels that rows and columns must have for a value.
        needs_reference: whether it compares with HR.
    """

    name: str
    title: str
    function: Callable[..., Tensor]
    unit: str
    better: Literal["higher", "lower", "closer"]
    range: tuple[float, float]
    source: str
    smallest_side: int = 1
    needs_reference: bool = True

    def __call__(self, sr: Tensor, hr: Tensor) -> Tensor:
        """The value of each SR image, (batch,); `hr` is left aside by measures that need no reference."""
        return self.function(sr, hr) if self.needs_reference else self.function(sr)


_TABLE = (
    Metric("psnr", "PSNR", fidelity.psnr, "dB", "higher", (-math.inf, math.inf), "10 log10(1/MSE), protocol section 3"),
    Metric("ssim", "SSIM", fidelity.ssim, "", "higher", (-1.0, 1.0), "Wang et al. 2004, eq. 13", fidelity.SSIM_SIDE),
    Metric(
        "ms_ssim",
        "MS-SSIM",
        fidelity.ms_ssim,
        "",
        "higher",
        (0.0, 1.0),
        "Wang, Simoncelli and Bovik 2003, eq. 7",
        fidelity.MS_SSIM_SIDE,
    ),
    Metric("nrmse", "NRMSE", fidelity.nrmse, "", "lower", (0.0, math.inf), "RMSE over HR's span, protocol section 3"),
    Metric("mae", "MAE", fidelity.mae, "", "lower", (0.0, 1.0), "mean of abs(SR - HR)"),
    Metric(
        "haarpsi",
        "HaarPSI",
        perceptual.haarpsi,
        "",
        "higher",
        (0.0, 1.0),
        "Reisenhofer et al. 2018",
        perceptual.HAARPSI_SIDE,
    ),
    Metric("gmsd", "GMSD", perceptual.gmsd, "", "lower", (0.0, 0.5), "Xue et al. 2014", perceptual.GMSD_SIDE),
    Metric(
        "hfen",
        "HFEN",
        frequency.hfen,
        "",
        "lower",
        (0.0, math.inf),
        "Ravishankar and Bresler 2011",
        frequency.HFEN_SIDE,
    ),
    Metric(
        "laplacian_variance",
        "Laplacian variance",
        frequency.laplacian_variance,
        "grey levels^2",
        "closer",
        (0.0, math.inf),
        "Pech-Pacheco et al. 2000, protocol section 3",
        frequency.LAPLACIAN_SIDE,
        needs_reference=False,
    ),
    Metric(
        "highpass_spectrum",
        "High-pass spectrum",
        frequency.highpass_spectrum,
        "20 ln grey levels",
        "closer",
        (-math.inf, math.inf),
        "FFT blur measure, protocol section 3",
        frequency.HIGHPASS_SIDE,
        needs_reference=False,
    ),
)

METRICS: Mapping[str, Metric] = MappingProxyType({metric.name: metric for metric in _TABLE})


def find_metrics(names: Iterable[str] | None = None) -> tuple[Metric, ...]:
    """The measures of these names in their order, all if None; OptionError, listing the valid names, for an unknown."""
    wanted = tuple(METRICS if names is None else names)
    unknown = [name for name in wanted if name not in METRICS]
    if unknown:
        raise OptionError(f"metric {', '.join(map(repr, unknown))} is unknown: choose from {', '.join(METRICS)}")
    return tuple(METRICS[name] for name in dict.fromkeys(wanted))
