"""LR synthesis as linear operators, with noise or without: each is separable, one small matrix an image axis.

Writing A for the operator and R, C for its row and column matrices, A(x) = R x C^T, the adjoint is R^T y C and the
pseudo-inverse is R^+ y (C^+)^T exactly, since the pseudo-inverse of a Kronecker product is the product of the
pseudo-inverses. Pixel centres are kept: LR pixel i covers HR pixels s i to s i + s - 1.
"""

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import accumulate
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from latentsr.device import Image, alike, image_generator, resident, wide
from latentsr.errors import InputError, OptionError

if TYPE_CHECKING:
    from torch import Tensor

PINV_RCOND, TRANSLATED_RCOND, PROFILE_RCOND = 1e-6, 0.2, 0.1
NOISE = "noise"
LARGEST_FACTOR = 10_000  # found again from 1 / factor as a float
MOST_DB = 100.0  # of agreement with LR: beyond it floating point alone is measured
MATRICES = 8  # cached of each kind: tens of MB each for large images


def keys_cubic(x: np.ndarray) -> np.ndarray:
    """Keys' cubic convolution kernel with a = -0.5 (Keys 1981, eq. 15), the one of Pillow."""
    x = np.abs(x)
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


# Each kernel and how far it reaches on either side: Keys' cubic, a sinc windowed by a sinc, a box.
KERNELS: Mapping[str, tuple[Callable[[np.ndarray], np.ndarray], float]] = {
    "bicubic": (keys_cubic, 2.0),
    "lanczos": (lambda x: np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0.0), 3.0),
    "area": (lambda x: np.where(x > -0.5, 1.0, 0.0), 0.5),
}


def resampling_matrix(kernel: str, n_in: int, n_out: int, step: float | None = None) -> np.ndarray:
    """Rows of weights, (n_out, n_in), that resample one axis as Pillow's `resize` does.

    On reduction the kernel is widened by the factor (antialiasing); at the border it is cut and normalised. `step` is
    the distance of the new pixels in old ones, around the same centre; None: both grids have the same ends.
    """
    weight, support = KERNELS[kernel]
    step = n_in / n_out if step is None else step
    width = max(step, 1.0)
    centres = n_in / 2 + (np.arange(n_out) - (n_out - 1) / 2) * step
    offsets = (np.arange(n_in)[None, :] + 0.5 - centres[:, None]) / width
    weights = np.where(np.abs(offsets) <= support, weight(offsets), 0.0)
    return weights / weights.sum(axis=1, keepdims=True)


def blur_matrix(n: int, sigma: float) -> np.ndarray:
    """Gaussian of standard deviation `sigma` pixels, cut at four of them, mirrored at the border (scipy's default)."""
    radius = int(4 * sigma + 0.5)
    taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    matrix = np.zeros((n, n))
    for offset, tap in zip(range(-radius, radius + 1), taps / taps.sum(), strict=True):
        mirrored = np.mod(np.arange(n) + offset, 2 * n)
        np.add.at(matrix, (np.arange(n), np.minimum(mirrored, 2 * n - 1 - mirrored)), tap)
    return matrix


def kspace_matrix(n: int, factor: float) -> np.ndarray:
    """Centre of k-space, as an MR scan of fewer phase encodings: ideal low-pass, then sampling at LR pixel centres."""
    n_lr = _divided(n, factor)
    frequencies = np.arange(-(n_lr // 2), n_lr // 2 + 1)
    shares = np.where(2 * np.abs(frequencies) == n_lr, 0.5, 1.0)
    centres = (np.arange(n_lr) + 0.5) * factor - 0.5
    distance = centres[:, None, None] - np.arange(n)[None, :, None]
    return np.asarray((shares * np.cos(2 * np.pi * frequencies * distance / n)).sum(axis=-1) / n)


def _whole(factor: float) -> int:
    if factor != int(factor) or factor < 1:
        raise OptionError(f"degradation factor {factor:g}: expected a whole number of 1 or more")
    return int(factor)


def _divided(n: int, factor: float) -> int:
    whole = _whole(factor)
    if n % whole:
        raise InputError(
            f"image side of {n} px is not a multiple of the scale {whole}; prepare it with the option multiple {whole}"
        )
    return n // whole


@dataclass(frozen=True)
class Step:
    """One kind of step: its matrix for an axis of n pixels, and how much it divides the size by."""

    matrix: Callable[[int, float], np.ndarray]
    divides: Callable[[float], float] = lambda factor: factor


STEPS: Mapping[str, Step] = {
    "bicubic": Step(lambda n, factor: resampling_matrix("bicubic", n, _divided(n, factor))),
    "lanczos": Step(lambda n, factor: resampling_matrix("lanczos", n, _divided(n, factor))),
    "area": Step(lambda n, factor: resampling_matrix("area", n, _divided(n, factor))),
    "down": Step(lambda n, factor: resampling_matrix("bicubic", n, _divided(n, factor))),
    "up": Step(lambda n, factor: resampling_matrix("bicubic", n, n * _whole(factor)), lambda factor: 1 / factor),
    "blur": Step(blur_matrix, lambda sigma: 1.0),
    "kspace": Step(kspace_matrix),
}


@dataclass(frozen=True)
class Degradation:
    """A linear operator A from HR to LR of tensors or arrays (..., rows, columns), computed in the dtype they come in.

    `noise` is the sd of the white noise that LR has beside A(hr), in [0, 1] as the images.
    """

    text: str
    steps: tuple[tuple[str, float], ...]
    noise: float = 0.0

    @property
    def scale(self) -> int:
        """HR side over LR side."""
        return round(math.prod(STEPS[name].divides(value) for name, value in self.steps))

    @property
    def divisor(self) -> int:
        """What both HR sides must be multiples of, so that each step gives whole pixels: the scale, or more."""
        shares = (Fraction(STEPS[name].divides(value)).limit_denominator(LARGEST_FACTOR) for name, value in self.steps)
        ratios = accumulate((1 / share for share in shares), operator.mul)
        return math.lcm(*(ratio.denominator for ratio in ratios))

    def matrix(self, n: int) -> np.ndarray:
        """The operator on one axis of `n` HR pixels: (LR pixels, n), float64."""
        return _matrix(self.steps, n)

    def apply(self, hr: Image) -> Image:
        """A(hr): the LR image without noise."""
        return _sandwich(_matrix, hr, *((self.steps, n) for n in hr.shape[-2:]))

    def degrade(self, hr: "Tensor", ids: Sequence[str]) -> "Tensor":
        """The LR images of HR images (images, 1, rows, columns) in [0, 1]; the noise of each follows from its id."""
        import torch

        lr = self.apply(hr)
        if not self.noise:
            return lr
        generators = (image_generator(0, f"LR of {id}") for id in ids)
        drawn = [torch.randn(lr.shape[1:], generator=one, dtype=lr.dtype) for one in generators]
        return lr + self.noise * torch.stack(drawn).to(lr.device)

    def adjoint(self, lr: Image) -> Image:
        """A^T(lr), of HR size: <A x, y> = <x, A^T y>."""
        return _sandwich(_matrix, lr, *((self.steps, n * self.scale) for n in lr.shape[-2:]), transposed=True)

    def pinv(self, lr: Image, rcond: float = PINV_RCOND) -> Image:
        """A^+(lr), of HR size: the smallest image whose LR is nearest to `lr`.

        On each axis singular values below `rcond` times the largest count as none.
        """
        return _sandwich(_pinv, lr, *((self.steps, n * self.scale, rcond) for n in lr.shape[-2:]))


@lru_cache(maxsize=MATRICES)
def _matrix(steps: tuple[tuple[str, float], ...], n: int) -> np.ndarray:
    (name, value), *rest = steps
    matrix = STEPS[name].matrix(n, value)
    for name, value in rest:
        matrix = STEPS[name].matrix(matrix.shape[0], value) @ matrix
    return matrix


@lru_cache(maxsize=MATRICES)
def _pinv(steps: tuple[tuple[str, float], ...], n: int, rcond: float) -> np.ndarray:
    return np.linalg.pinv(_matrix(steps, n), rcond=rcond)


def _sandwich(
    made_by: Callable[..., np.ndarray], image: Image, rows: tuple[Any, ...], columns: tuple[Any, ...], *,
    transposed: bool = False,
) -> Image:  # fmt: skip
    """R x C^T of the matrices that `made_by` makes for rows and columns, or R^T x C."""
    left, right = (resident(made_by, arguments, image.dtype, image.device) for arguments in (rows, columns))
    return left.mT @ image @ right if transposed else left @ image @ right.mT


PROFILES = ("box", "gaussian")


def parse_profile(text: str) -> tuple[str, float | None]:
    """The kind of a slice profile and its thickness in mm, None: the header's, of a text such as gaussian:5 or box."""
    kind, colon, value = text.partition(":")
    try:
        thickness = float(value) if colon else None
    except ValueError:
        thickness = math.nan
    if kind not in PROFILES or not (thickness is None or 0 < thickness < math.inf):
        expected = f"expected {' or '.join(PROFILES)}, or with a thickness in mm as in {PROFILES[0]}:5"
        raise OptionError(f"slice profile '{text}': {expected}")
    return kind, thickness


@dataclass(frozen=True)
class SliceProfile:
    """The linear operator A from thin slices to the thick ones of a scan: means over each one's profile.

    Tensors are (slices, ...), computed in the dtype they come in. All lengths in mm: `distance` of the `slices` thick
    slices, their `thickness`, which is the width of the box or the full width at half maximum of the Gaussian, and the
    `spacing` of the thin ones, which have the same centre and reach just beyond the thick ones' `distance`.
    Source: the profiles of Zhao 2021, SMORE, section II-A.
    """

    slices: int
    distance: float
    thickness: float
    spacing: float
    kind: str = "box"
    noise: ClassVar[float] = 0.0

    def __post_init__(self) -> None:
        if self.kind not in PROFILES:
            raise OptionError(f"slice profile {self.kind}: expected one of {', '.join(PROFILES)}")
        lengths = {"distance": self.distance, "thickness": self.thickness, "spacing": self.spacing}
        for name, length in lengths.items():
            if not 0 < length < math.inf:
                raise InputError(f"slice {name} of {length:g} mm: expected a positive number")

    @property
    def thin(self) -> int:
        """How many thin slices there are."""
        return math.ceil(round(self.slices * self.distance / self.spacing, 6))

    @property
    def matrix(self) -> np.ndarray:
        """The operator, (slices, thin), float64; rows add up to one, cut where the profile reaches beyond the ends."""
        return _profile_matrix(self)

    def apply(self, thin: Image) -> Image:
        """A(thin): the thick slices."""
        return _mixed(self.matrix, thin)

    def adjoint(self, thick: Image) -> Image:
        """A^T(thick): <A x, y> = <x, A^T y>."""
        return _mixed(self.matrix.T, thick)

    def pinv(self, thick: Image) -> Image:
        """A^+(thick): the smallest thin slices whose thick ones are nearest to `thick`.

        Singular values below `PROFILE_RCOND` times the largest count as none: slices that overlap by more than half
        would make noise stronger.
        """
        return _mixed(np.linalg.pinv(self.matrix, rcond=PROFILE_RCOND), thick)


def _mixed(matrix: np.ndarray, slices: Image) -> Image:
    """Sums of slices (slices, ...), by the weights in each row of a matrix."""
    return (alike(matrix, slices) @ slices.reshape(len(slices), -1)).reshape(-1, *slices.shape[1:])


@lru_cache(maxsize=MATRICES)
def _profile_matrix(profile: SliceProfile) -> np.ndarray:
    """The share of each thin slice in each thick one: the profile's integral over it."""
    thick = (np.arange(profile.slices) - (profile.slices - 1) / 2) * profile.distance
    edges = (np.arange(profile.thin + 1) - profile.thin / 2) * profile.spacing
    away = (edges[None, :] - thick[:, None]) / profile.thickness
    if profile.kind == "box":
        integral = np.clip(away, -0.5, 0.5)
    else:
        import torch

        deviations = away * math.sqrt(8 * math.log(2))  # of which the full width at half maximum has 2.35
        integral = torch.special.ndtr(torch.from_numpy(deviations)).numpy()
    weights = np.diff(integral, axis=1)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def parse_degradation(text: str) -> Degradation:
    """The operator written as `text`: steps `name:value` joined by commas, first applied first.

    Names: bicubic, lanczos, area, down (reduce by a factor), up (enlarge bicubically), blur (Gaussian sigma in px),
    kspace (keep the centre of k-space); last, noise (sd of white noise, images in [0, 1]).
    """
    steps: list[tuple[str, float]] = []
    noise = 0.0
    for part in map(str.strip, text.split(",")):
        name, _, value = part.partition(":")
        if name not in STEPS and name != NOISE:
            names = ", ".join([*STEPS, NOISE])
            raise OptionError(f"degradation step '{part}': expected name:value with a name of {names}")
        if noise:
            raise OptionError(f"degradation step '{part}': comes after the noise, which must be the last step")
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not (0 < number < math.inf):
            expected = f"expected a positive number after the colon, as in {name}:4"
            raise OptionError(f"degradation step '{part}': {expected}")
        if name == NOISE:
            if not steps or number >= 1:
                raise OptionError(
                    f"degradation step '{part}': expected less than 1, the whole range, after another step"
                )
            noise = number
            continue
        if STEPS[name].divides(number) != 1:
            _whole(number)
        steps.append((name, number))

    ratio = math.prod(STEPS[name].divides(value) for name, value in steps)
    if ratio < 1 or abs(ratio - round(ratio)) > 1e-9:
        raise OptionError(
            f"degradation '{text}': HR side over LR side is {ratio:g}; expected a whole number of 1 or more"
        )
    written = [*steps, *([(NOISE, noise)] if noise else [])]
    return Degradation(",".join(f"{name}:{value:g}" for name, value in written), tuple(steps), noise)


def enlarge(lr: Image, scale: int) -> Image:
    """The bicubic enlargement of `lr` (..., rows, columns) by `scale`: equal to Pillow's, and the baseline to beat."""
    return _sandwich(resampling_matrix, lr, *(("bicubic", n, n * scale) for n in lr.shape[-2:]))


def project(image: Image, lr: Image, degradation: Degradation | SliceProfile) -> Image:
    """The image nearest to `image` among those with A(image) = `lr`: x + A^+(lr - A x).

    Shapes (..., rows, columns), of slices (slices, ...), any one intensity scale, or with noise in [0, 1]. An
    orthogonal projection, so where `lr` is A(truth) it never raises the squared error against the truth. Computed in
    float64, since A^+ magnifies rounding. With noise `image` moves only until what is left of lr - A x has the noise's
    sd (Morozov's discrepancy principle).
    Source: range-null space decomposition (Wang 2023, DDNM, eq. 7).
    """
    x, y = wide(image), wide(lr)
    left = y - degradation.apply(x)
    if degradation.noise:
        size = (left**2).mean((-2, -1))[..., None, None] ** 0.5
        left = left * (1 - degradation.noise / size.clip(min=degradation.noise))
    return alike(x + degradation.pinv(left), image)


def translated(lr: Image, made_by: Degradation, into: Degradation) -> Image:
    """LR images of one operator as another of the same scale would have made them, about so.

    That of the image nearest to the bicubic enlargement among those that `made_by` reduces to `lr`, as far as no
    frequency, of the noise neither, is made more than five times stronger on an axis.
    """
    if made_by.steps == into.steps:
        return lr
    x = enlarge(wide(lr), into.scale)
    return alike(into.apply(x + made_by.pinv(wide(lr) - made_by.apply(x), TRANSLATED_RCOND)), lr)


def residual(image: "Tensor", lr: "Tensor", degradation: Degradation) -> "Tensor":
    """Largest abs(A(image) - lr) of each image, shape of the leading dimensions."""
    return (degradation.apply(image.double()) - lr.double()).abs().amax(dim=(-2, -1)).to(image.dtype)


def agreement(image: Image, lr: Image, degradation: Degradation) -> float:
    """PSNR in dB of A(image) against `lr`, of those of the images that agree least, peak 1, at most `MOST_DB`.

    Shapes (..., rows, columns). Computed in float64.
    """
    worst = float(((degradation.apply(wide(image)) - wide(lr)) ** 2).mean((-2, -1)).max())
    return min(-10 * math.log10(max(worst, 1e-30)), MOST_DB)
