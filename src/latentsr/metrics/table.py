"""The METRICS and SET_METRICS tables: every measure with its unit, direction, range, size and source."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

from torch import Tensor

from latentsr.errors import InputError, OptionError
from latentsr.metrics import coverage, fidelity, frequency, hallucination, learned, perceptual, registration
from latentsr.metrics.images import Memo, sharing

CONTEXT = (
    "hr", "lr", "degradation", "threshold", "mask", "mean", "sr_latent", "hr_latent", "reconstruction", "sr_decoded",
    "hr_decoded", "sampled", "encoded", "interval", "following",
)  # fmt: skip
FOLLOWING = "following"
Group = Literal[
    "fidelity", "perceptual", "frequency", "hallucination", "latent", "roi", "intensity", "distortion", "learned",
    "consistency", "uncertainty", "published",
]  # fmt: skip


@dataclass(frozen=True)
class Metric:
    """The facts of one measure.

    Attributes:
        name: in options and tables.
        title: in figures and printed tables.
        function: (sr, *needs) -> (batch,), or (batch, parts) where it has `parts`; without `sr` where `of_image` is
            False. Images are (batch, 1, rows, columns) in [0, 1]. NaN is "no value", as for images under
            `smallest_side`, and +inf the PSNR of identical images.
        unit: of the value; empty for a pure number.
        better: which values are better; `closer` is closer to HR's own value.
        range: smallest and largest possible value.
        source: paper and equation, or protocol.
        smallest_side: pixels that rows and columns must have for a value.
        needs: arguments of `function` beside SR, names of CONTEXT: `hr` and `lr` images, `degradation` (an operator
            with apply and pinv), `threshold` (batch, 3) of `hallucination.noise_thresholds`, `mask` (batch, 1, rows,
            columns) of the region of interest, `mean` (the posterior-mean SR image), `sr_latent` and `hr_latent`
            (batch, channels, rows, columns), `reconstruction` (HR, encoded and decoded by the method's autoencoder),
            `sr_decoded` and `hr_decoded` (the decoder's output of the sampler's latents and of HR's, all channels),
            `sampled` and `encoded` (the latents that the method's sampler drew, and HR's of the same autoencoder),
            `interval` (half the width of each pixel's calibrated interval), `following` (the next slice of the image's
            volume as the same method made it, NaN where there is none).
        parts: names of the values where there are several per image, such as the bands of a spectrum.
        group: its section in a report.
        of_image: whether it takes the SR image; measures of latents and of reconstructions do not.
        by_default: whether it is measured where no measures are named.
    """

    name: str
    title: str
    function: Callable[..., Tensor]
    unit: str
    better: Literal["higher", "lower", "closer"]
    range: tuple[float, float]
    source: str
    smallest_side: int = 1
    needs: tuple[str, ...] = ("hr",)
    parts: tuple[str, ...] = ()
    group: Group = "fidelity"
    of_image: bool = True
    by_default: bool = True

    @property
    def names(self) -> tuple[str, ...]:
        """Names of its values in the tidy table: its own, or `name/part` for each part."""
        return tuple(f"{self.name}/{part}" for part in self.parts) or (self.name,)

    @property
    def compared(self) -> bool:
        """Whether methods are compared in it: it depends on SR, HR or another truth, and on no method's own units.

        A ceiling or noise floor is the autoencoder's alone, and sampled latents have units of their own. That a
        projected result agrees better with its LR than another is how it was made, no finding.
        """
        own = not self.of_image and not {"sr_latent", "sr_decoded"} & set(self.needs)
        return bool(set(self.needs) - {FOLLOWING}) and not own and self.group != "consistency"

    def __call__(self, sr: Tensor, hr: Tensor | None = None, **context: Any) -> Tensor:
        """The value of each SR image, (batch,) or (batch, parts); `context` may hold more than it needs."""
        given = context if hr is None else {**context, "hr": hr}
        if missing := [name for name in self.needs if name not in given]:
            raise InputError(f"measure '{self.name}' needs {', '.join(missing)}: give it, or leave the measure out")
        values = [given[name] for name in self.needs]
        return self.function(sr, *values) if self.of_image else self.function(*values)


def applicable(metrics: Iterable[Metric], context: Mapping[str, Any]) -> tuple[Metric, ...]:
    """The measures whose needs are all in `context`, in their order."""
    return tuple(metric for metric in metrics if set(metric.needs) <= context.keys())


def measure(
    metrics: Iterable[Metric], sr: Tensor, context: Mapping[str, Any], memos: Sequence[Memo] = ()
) -> dict[str, Tensor]:
    """The values of a batch by tidy name, each (batch,), of every measure whose needs are in `context`.

    Args:
        metrics: what to measure; those that need more than `context` has are left out (`applicable` tells which).
        sr: SR images, (batch, 1, rows, columns) in [0, 1].
        context: by the names of CONTEXT, all on the device of `sr`.
        memos: of HR, say, where it is measured against several SR: what is made of it alone is made once.
    """
    values: dict[str, Tensor] = {}
    own = Memo(sr, *(given for given in context.values() if isinstance(given, Tensor)))
    with sharing(*memos, own):
        for metric in applicable(metrics, context):
            found = metric(sr, **context)
            columns = found.unbind(dim=1) if metric.parts else (found,)
            values |= dict(zip(metric.names, columns, strict=True))
    return values


STUDY = "arXiv 2604.12152"  # the study of 2026 whose definitions these are
PHASES = "mean over the four phases of its 2x2 grid"
MEDICAL = "Karner et al. 2024 (arXiv 2410.24098): C = 5, alpha = 4.9"
INF = math.inf
SIGMAS = tuple(f"{sigma:g}sigma" for sigma in hallucination.SIGMAS)
LATENTS, DECODED, SAMPLED = ("sr_latent", "hr_latent"), ("sr_decoded", "hr_decoded"), ("sampled", "encoded")
SCALES = tuple(str(scale) for scale in fidelity.SCALES)

# fmt: off
_TABLE = (
    Metric("psnr", "PSNR", fidelity.psnr, "dB", "higher", (-INF, INF), f"10 log10(1/MSE), {STUDY}"),
    Metric("ssim", "SSIM", fidelity.ssim, "", "higher", (-1.0, 1.0), "Wang et al. 2004, eq. 13",
           fidelity.SSIM_SIDE),
    Metric("ms_ssim", "MS-SSIM", fidelity.ms_ssim, "", "higher", (0.0, 1.0),
           "Wang, Simoncelli and Bovik 2003, eq. 7", fidelity.MS_SSIM_SIDE),
    Metric("nrmse", "NRMSE", fidelity.nrmse, "", "lower", (0.0, INF), f"RMSE over HR's span, {STUDY}"),
    Metric("mae", "MAE", fidelity.mae, "", "lower", (0.0, 1.0), "mean of abs(SR - HR)"),
    Metric("ceiling_psnr", "AE ceiling", fidelity.psnr, "dB", "higher", (-INF, INF),
           f"PSNR of decode(encode(HR)), {STUDY}", needs=("reconstruction", "hr"), of_image=False),
    Metric("haarpsi", "HaarPSI", perceptual.haarpsi, "", "higher", (0.0, 1.0),
           f"Reisenhofer et al. 2018, {PHASES}", perceptual.HAARPSI_SIDE, group="perceptual"),
    Metric("haarpsi_med", "HaarPSI (medical)", partial(perceptual.haarpsi, constants=perceptual.MEDICAL), "",
           "higher", (0.0, 1.0),
           f"{MEDICAL}, {PHASES}", perceptual.HAARPSI_SIDE, group="perceptual"),
    Metric("haarpsi_published", "HaarPSI (as published)", partial(perceptual.haarpsi, phases=1), "", "higher",
           (0.0, 1.0), "Reisenhofer et al. 2018", perceptual.PUBLISHED_HAARPSI_SIDE, group="perceptual",
           by_default=False),
    Metric("haarpsi_med_published", "HaarPSI (medical, as published)",
           partial(perceptual.haarpsi, constants=perceptual.MEDICAL, phases=1), "", "higher", (0.0, 1.0), MEDICAL,
           perceptual.PUBLISHED_HAARPSI_SIDE, group="perceptual", by_default=False),
    Metric("vsi", "VSI", perceptual.vsi, "", "higher", (0.0, 1.0), "Zhang, Shen and Li 2014",
           perceptual.VSI_SIDE, group="perceptual"),
    Metric("vif", "VIF (pixel domain)", perceptual.vif, "", "higher", (0.0, INF), "Sheikh and Bovik 2006, VIFp",
           perceptual.VIF_SIDE, group="perceptual"),
    Metric("gmsd", "GMSD", perceptual.gmsd, "", "lower", (0.0, 0.5), f"Xue et al. 2014, {PHASES}",
           perceptual.GMSD_SIDE, group="perceptual"),
    Metric("gmsd_published", "GMSD (as published)", partial(perceptual.gmsd, phases=1), "", "lower", (0.0, 0.5),
           "Xue et al. 2014", perceptual.PUBLISHED_GMSD_SIDE, group="perceptual", by_default=False),
    Metric("hfen", "HFEN", frequency.hfen, "", "lower", (0.0, INF), "Ravishankar and Bresler 2011",
           frequency.HFEN_SIDE, group="frequency"),
    Metric("subband_psnr", "Subband PSNR", frequency.subband_psnr, "dB", "higher", (-INF, INF),
           f"Haar bands of pywt.wavedec2, {STUDY}", parts=frequency.BANDS, group="frequency"),
    Metric("laplacian_variance", "Laplacian variance", frequency.laplacian_variance, "grey levels^2", "closer",
           (0.0, INF), f"Pech-Pacheco et al. 2000, {STUDY}", frequency.LAPLACIAN_SIDE, needs=(), group="frequency"),
    Metric("blockiness", "Blockiness", frequency.blockiness, "", "closer", (0.0, INF),
           "squared differences inside over across 2x2 blocks", frequency.BLOCKINESS_SIDE, needs=(), group="frequency"),
    Metric("highpass_spectrum", "High-pass spectrum", frequency.highpass_spectrum, "20 ln grey levels", "closer",
           (-INF, INF), f"FFT blur measure, {STUDY}", frequency.HIGHPASS_SIDE, needs=(), group="frequency"),
    Metric("radial_spectrum", "Radial spectrum", frequency.radial_spectrum, "log10 power", "closer", (-12.0, INF),
           f"mean log10 power in ten rings, {STUDY}", frequency.RADIAL_SIDE, needs=(), parts=frequency.RADIAL_BINS,
           group="frequency"),
    Metric("slice_gradient", "Gradient between slices", frequency.slice_gradient, "intensity", "closer", (0.0, 1.0),
           "root mean square difference from the next slice of the volume", needs=(FOLLOWING,), group="frequency"),
    Metric("hallucinated", "Hallucinated share", hallucination.hallucinated, "", "lower", (0.0, 1.0), STUDY,
           needs=("hr", "threshold"), parts=SIGMAS, group="hallucination"),
    Metric("lost", "Lost share", hallucination.lost, "", "lower", (0.0, 1.0), STUDY,
           needs=("hr", "threshold"), parts=SIGMAS, group="hallucination"),
    Metric("hallucinated_magnitude", "Hallucinated magnitude", hallucination.hallucinated_magnitude, "intensity",
           "lower", (0.0, 1.0), STUDY, needs=("hr", "threshold"), parts=SIGMAS, group="hallucination"),
    Metric("lost_magnitude", "Lost magnitude", hallucination.lost_magnitude, "intensity", "lower", (0.0, 1.0), STUDY,
           needs=("hr", "threshold"), parts=SIGMAS, group="hallucination"),
    Metric("noise_floor", "Noise floor", Tensor.clone, "intensity", "closer", (0.0, INF),
           f"mean + k sd of abs(AE - HR), {STUDY}", needs=("threshold",), parts=SIGMAS, group="hallucination",
           of_image=False),
    Metric("null_space", "Null-space part", hallucination.null_space, "intensity", "closer", (0.0, INF),
           "(1 - A^+ A)(SR - mean), Wang 2023 (DDNM), eq. 7", needs=("mean", "degradation"), group="hallucination"),
    Metric("null_space_share", "Null-space share", hallucination.null_space_share, "", "closer", (0.0, 1.0),
           "(1 - A^+ A)(SR - mean), Wang 2023 (DDNM), eq. 7", needs=("mean", "degradation"), group="hallucination"),
    Metric("sfrc", "sFRC rate", frequency.sfrc_rate, "", "lower", (0.0, 1.0), "Kc et al. 2026 (arXiv 2603.04673)",
           frequency.PATCH, parts=tuple(f"{threshold:g}" for threshold in frequency.THRESHOLDS), group="hallucination"),
    Metric("coverage", "Coverage", coverage.coverage, "", "closer", (0.0, 1.0),
           "share of pixels with HR within SR ± half-width, by quarters of width and intensity",
           needs=("hr", "interval"), parts=coverage.PARTS, group="uncertainty"),
    Metric("roi_coverage", "Coverage in the region", coverage.roi_coverage, "", "closer", (0.0, 1.0),
           "share of the mask's pixels with HR within SR ± half-width", needs=("hr", "interval", "mask"),
           group="uncertainty"),
    Metric("half_width", "Interval half-width", coverage.half_width, "intensity", "closer", (0.0, INF),
           "mean half-width of calibrated intervals", needs=("interval",), group="uncertainty", of_image=False),
    Metric("lr_psnr", "LR PSNR", fidelity.lr_psnr, "dB", "higher", (-INF, INF), "PSNR of A(SR) against LR",
           needs=("lr", "degradation"), group="consistency"),
    Metric("latent_cosine", "Latent cosine", fidelity.latent_cosine, "", "higher", (-1.0, 1.0), STUDY,
           needs=LATENTS, parts=SCALES, group="latent", of_image=False),
    Metric("latent_mse", "Latent MSE", fidelity.latent_mse, "latent units^2", "lower", (0.0, INF), STUDY,
           needs=LATENTS, parts=SCALES, group="latent", of_image=False),
    Metric("latent_psnr", "Latent PSNR", fidelity.latent_psnr, "dB", "higher", (-INF, INF), STUDY,
           needs=LATENTS, parts=SCALES, group="latent", of_image=False),
    Metric("sampled_cosine", "Cosine of sampled latents", fidelity.latent_cosine, "", "higher", (-1.0, 1.0), STUDY,
           needs=SAMPLED, parts=SCALES, group="latent", of_image=False, by_default=False),
    Metric("sampled_mse", "MSE of sampled latents", fidelity.latent_mse, "latent units^2", "lower", (0.0, INF), STUDY,
           needs=SAMPLED, parts=SCALES, group="latent", of_image=False, by_default=False),
    Metric("sampled_psnr", "PSNR of sampled latents", fidelity.latent_psnr, "dB", "higher", (-INF, INF), STUDY,
           needs=SAMPLED, parts=SCALES, group="latent", of_image=False, by_default=False),
    Metric("roi_psnr", "PSNR in the region", fidelity.roi_psnr, "dB", "higher", (-INF, INF), STUDY,
           needs=("hr", "mask"), group="roi"),
    Metric("roi_ssim", "SSIM in the region", fidelity.roi_ssim, "", "higher", (-1.0, 1.0), STUDY, fidelity.SSIM_SIDE,
           needs=("hr", "mask"), group="roi"),
    Metric("background_psnr", "PSNR of the background", fidelity.background_psnr, "dB", "higher", (-INF, INF), STUDY,
           needs=("hr", "mask"), group="roi"),
    Metric("background_ssim", "SSIM of the background", fidelity.background_ssim, "", "higher", (-1.0, 1.0), STUDY,
           fidelity.SSIM_SIDE, needs=("hr", "mask"), group="roi"),
    Metric("mean_intensity", "Mean intensity", fidelity.mean_intensity, "intensity", "closer", (0.0, 1.0),
           "mean of SR", needs=(), group="intensity"),
    Metric("intensity_bias", "Intensity bias", fidelity.intensity_bias, "intensity", "closer", (-1.0, 1.0),
           "mean SR - mean HR, Bland and Altman 1986", group="intensity"),
    Metric("self_psnr", "Self-referential PSNR", fidelity.self_psnr, "dB", "higher", (-INF, INF),
           f"against decode(encode(HR)), all channels, {STUDY}", needs=DECODED, group="published", of_image=False,
           by_default=False),
    Metric("self_ms_ssim", "Self-referential MS-SSIM", fidelity.self_ms_ssim, "", "higher", (0.0, 1.0),
           f"against decode(encode(HR)), all channels, {STUDY}", fidelity.MS_SSIM_SIDE, needs=DECODED,
           group="published", of_image=False, by_default=False),
    Metric("truncated_psnr", "PSNR, truncated to 8 bit", fidelity.truncated_psnr, "dB", "higher", (-INF, INF),
           f"floor(255 SR), {STUDY}", group="published", by_default=False),
    Metric("truncated_bias", "Intensity bias, truncated to 8 bit", fidelity.truncated_bias, "intensity", "closer",
           (-1.0, 1.0), f"floor(255 SR), {STUDY}", group="published", by_default=False),
    Metric("roi_ssim_published", "SSIM in the region (as published)", fidelity.roi_ssim_published, "", "higher",
           (-1.0, 1.0), f"7x7 uniform window, {STUDY}", fidelity.UNIFORM_SIDE, needs=("hr", "mask"), group="published",
           by_default=False),
    Metric("background_ssim_published", "SSIM of the background (as published)", fidelity.background_ssim_published, "",
           "higher", (-1.0, 1.0), f"7x7 uniform window, {STUDY}", fidelity.UNIFORM_SIDE, needs=("hr", "mask"),
           group="published", by_default=False),
    Metric("shift", "Shift", registration.shift, "px", "closer", (-INF, INF),
           "half-whitened correlation, after Kuglin and Hines 1975", registration.SIDE, needs=("hr", "lr"),
           parts=registration.SHIFT, group="distortion"),
    Metric("blur", "Blur", registration.blur, "px", "closer", (-INF, INF),
           "sigma of the Gaussian between the spectra of HR and SR", registration.SIDE, group="distortion"),
    Metric("contrast", "Contrast", registration.contrast, "", "closer", (-INF, INF),
           "slope of SR on HR up to a quarter of LR's Nyquist frequency", registration.SIDE, needs=("hr", "lr"),
           group="distortion"),
    Metric("noise", "Noise", registration.noise, "intensity", "closer", (0.0, INF),
           "sd of what has not HR's phases up to half of LR's Nyquist frequency", registration.SIDE,
           needs=("hr", "lr"), group="distortion"),
    Metric("detail_frc", "FRC beyond LR", registration.detail_frc, "", "closer", (-1.0, 1.0),
           "Harauz and van Heel 1986, above LR's Nyquist frequency", registration.SIDE, needs=("hr", "lr"),
           group="distortion"),
    Metric("lpips", "LPIPS", learned.lpips, "", "lower", (0.0, INF), "Zhang et al. 2018, eq. 1 (AlexNet, v0.1)",
           learned.LPIPS_SIDE, group="learned"),
    Metric("dists", "DISTS", learned.dists, "", "lower", (0.0, learned.DISTS_MOST), "Ding et al. 2020, eq. 9",
           learned.DISTS_SIDE, group="learned"),
)
# fmt: on

METRICS: Mapping[str, Metric] = {metric.name: metric for metric in _TABLE}


def find_metrics(names: Iterable[str] | None = None) -> tuple[Metric, ...]:
    """The measures of these names in their order; OptionError, listing the valid names, for an unknown.

    If None, all `by_default` but those of group `learned`, whose weights do not come with the package.
    """
    if names is None:
        return tuple(metric for metric in METRICS.values() if metric.by_default and metric.group != "learned")
    wanted = tuple(names)
    unknown = [name for name in wanted if name not in METRICS]
    if unknown:
        raise OptionError(f"metric {', '.join(map(repr, unknown))} is unknown: choose from {', '.join(METRICS)}")
    return tuple(METRICS[name] for name in dict.fromkeys(wanted))


class SetMetric(NamedTuple):
    """The facts of one measure of two sets, a function of `sets`; lower is better."""

    title: str
    unit: str
    range: tuple[float, float]
    source: str


SET_METRICS: Mapping[str, SetMetric] = {
    "fid": SetMetric("FID", "", (0.0, INF), "Heusel et al. 2017, eq. 6"),
    "kid": SetMetric("KID", "", (-INF, INF), "Binkowski et al. 2018; Gretton et al. 2012, lemma 6"),
    "swd": SetMetric("SWD", "1e-3", (0.0, INF), "Karras et al. 2018"),
}
