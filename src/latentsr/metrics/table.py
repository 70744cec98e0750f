"""The METRICS table: every measure of one image with its unit, direction, range, source and needs."""

import math
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from latentsr.errors import OptionError
from latentsr.metrics import fidelity, frequency, perceptual, subbands
from latentsr.metrics.metric import Metric

PROTOCOL = "protocol section 3"
INF = math.inf

# fmt: off
_TABLE = (
    Metric("psnr", "PSNR", fidelity.psnr, "dB", "higher", (-INF, INF), f"10 log10(1/MSE), {PROTOCOL}"),
    Metric("ssim", "SSIM", fidelity.ssim, "", "higher", (-1.0, 1.0), "Wang et al. 2004, eq. 13",
           fidelity.SSIM_SIDE),
    Metric("ms_ssim", "MS-SSIM", fidelity.ms_ssim, "", "higher", (0.0, 1.0),
           "Wang, Simoncelli and Bovik 2003, eq. 7", fidelity.MS_SSIM_SIDE),
    Metric("nrmse", "NRMSE", fidelity.nrmse, "", "lower", (0.0, INF), f"RMSE over HR's span, {PROTOCOL}"),
    Metric("mae", "MAE", fidelity.mae, "", "lower", (0.0, 1.0), "mean of abs(SR - HR)"),
    Metric("haarpsi", "HaarPSI", perceptual.haarpsi, "", "higher", (0.0, 1.0), "Reisenhofer et al. 2018",
           perceptual.HAARPSI_SIDE, group="perceptual"),
    Metric("gmsd", "GMSD", perceptual.gmsd, "", "lower", (0.0, 0.5), "Xue et al. 2014",
           perceptual.GMSD_SIDE, group="perceptual"),
    Metric("hfen", "HFEN", frequency.hfen, "", "lower", (0.0, INF), "Ravishankar and Bresler 2011",
           frequency.HFEN_SIDE, group="frequency"),
    Metric("subband_psnr", "Subband PSNR", subbands.subband_psnr, "dB", "higher", (-INF, 100.0),
           f"Haar bands of pywt.wavedec2, {PROTOCOL}", parts=subbands.BANDS, group="frequency"),
    Metric("laplacian_variance", "Laplacian variance", frequency.laplacian_variance, "grey levels^2", "closer",
           (0.0, INF), f"Pech-Pacheco et al. 2000, {PROTOCOL}", frequency.LAPLACIAN_SIDE, needs=(), group="frequency"),
    Metric("highpass_spectrum", "High-pass spectrum", frequency.highpass_spectrum, "20 ln grey levels", "closer",
           (-INF, INF), f"FFT blur measure, {PROTOCOL}", frequency.HIGHPASS_SIDE, needs=(), group="frequency"),
    Metric("radial_spectrum", "Radial spectrum", frequency.radial_spectrum, "log10 power", "closer", (-12.0, INF),
           f"mean log10 power in ten rings, {PROTOCOL}", frequency.RADIAL_SIDE, needs=(), parts=frequency.RADIAL_BINS,
           group="frequency"),
)
# fmt: on

METRICS: Mapping[str, Metric] = MappingProxyType({metric.name: metric for metric in _TABLE})


def find_metrics(names: Iterable[str] | None = None) -> tuple[Metric, ...]:
    """The measures of these names in their order; OptionError, listing the valid names, for an unknown.

    If None, all but those of group `learned`, whose weights do not come with the package.
    """
    if names is None:
        return tuple(metric for metric in METRICS.values() if metric.group != "learned")
    wanted = tuple(names)
    unknown = [name for name in wanted if name not in METRICS]
    if unknown:
        raise OptionError(f"metric {', '.join(map(repr, unknown))} is unknown: choose from {', '.join(METRICS)}")
    return tuple(METRICS[name] for name in dict.fromkeys(wanted))
