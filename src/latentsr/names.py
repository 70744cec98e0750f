"""Names that several parts share: methods and measures of tables, files of a job, limits that reports state."""

from collections.abc import Sequence
from typing import Literal, get_args

# Methods of a table: the truth, and the baseline.
HR, BICUBIC = "hr", "bicubic"
LR_PSNR, SHARPNESS = "lr_psnr", "laplacian_variance"  # measures that tables and reports treat unlike others
SHARES = ("hallucinated", "lost")  # measures that are shares of an image's pixels: rates, whose effect is Cohen's h

# What a network is given of LR: the roles of a cache, and the sd of LR's noise, images in [0, 1].
Condition = Literal["latent-up", "latent-native", "pixels", "noise-level"]
CONDITIONS: tuple[Condition, ...] = get_args(Condition)[:-1]
NOISE_LEVEL: Condition = "noise-level"

# Files of an evaluation's and a screening's folder, and of the record and run folder of `enhance`.
RUN, EVALUATION_PAGE = "run.json", "report.html"
SCREENING, SCREENING_PAGE = "screening.json", "screening.html"
STUDY_PAGE = "study.html"
SUPPLEMENT, PICTURES, MAPS, LATENTS = "report", "pictures", "maps.npz", "latents"
HR_FILE, LR_FILE, DECODED_FILE, ERROR_FILE = "hr.png", "lr.png", "decoded.png", "error.png"

WHITE_ERROR = 0.1  # absolute error, of a range of 1, that an error map shows as white
RELIABLE_FID = 2048  # images below which FID is biased
EXTRAPOLATED, CAPPED = "extrapolated", "capped by the ceiling"  # notes of an expected SR PSNR


def listed(names: Sequence[str]) -> str:
    """Names as a sentence has them, such as "a, b and c"; empty for none."""
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def first_few(names: Sequence[str], most: int = 10) -> str:
    """The first of the names, and the number of the others, such as "a, b and 3 more"."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
