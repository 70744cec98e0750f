"""Volume: the pixels of an image or a series, their spacing and source; their window: the line to [0, 1] and back."""

import mmap
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from latentsr.errors import InputError

Pixels = NDArray[np.float32]


@dataclass(frozen=True)
class Window:
    """The physical values that become 0 (`low`) and 1 (`high`); values outside go below 0 or above 1, never clipped."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not (np.isfinite(self.low) and np.isfinite(self.high) and self.low < self.high):
            raise InputError(f"window {self.low:g} to {self.high:g}: give two finite numbers, the low one first")

    @classmethod
    def of(cls, pixels: NDArray[Any], *, constant: bool = False) -> "Window":
        """The window from the least to the greatest pixel; InputError if constant, missing or not finite.

        `constant` lets constant pixels through, which then are 0 of their window.
        """
        if pixels.size == 0:
            raise InputError("the image has no pixels: give an image of at least 2 x 2 pixels")
        low, high = float(pixels.min()), float(pixels.max())
        if not (np.isfinite(low) and np.isfinite(high)):
            raise InputError("the image holds NaN or infinite pixels: replace them with a number first")
        if low == high and constant:
            return cls(low, low + max(1.0, abs(low)))
        if low == high:
            raise InputError(f"all pixels are {low:g}: a constant image has nothing to enlarge, leave it out")
        return cls(low, high)

    def apply(self, pixels: NDArray[Any]) -> Pixels:
        """The pixels on the unit scale, float32; computed in float64, so that `invert` gives 16-bit values back."""
        unit = (np.asarray(pixels, np.float64) - self.low) / (self.high - self.low)
        return unit.astype(np.float32)

    def invert(self, unit: NDArray[Any]) -> Pixels:
        """The physical values of pixels on the unit scale, float32: the inverse of `apply`."""
        physical = np.asarray(unit, np.float64) * (self.high - self.low) + self.low
        return physical.astype(np.float32)


MAX_PIXELS = 2**27  # of a volume, where nothing else is said: 512 MB as float32

Kind = Literal["dicom", "nifti", "mgh", "itk", "png", "tiff", "jpeg", "memory"]


@dataclass(frozen=True, eq=False)
class Source:
    """The files that a volume was read from, and what their format needs to write similar ones.

    `paths` has one file per slice for a DICOM series and one file otherwise; `header` belongs to the `latentsr.io`
    module of that format and always describes the source's own grid, whatever the volume's scale; `wholes` are the
    headers of DICOM files that hold several slices each, all equally many (`split`: frames of one, which are written as
    files of their own), and `windows` those of the slices where a file holds images of several kinds, such as
    magnitude and phase, or of several b-values. `modality` is
    DICOM's code, empty where the file does not say. `warnings` are the reader's remarks, such as
    what it dropped; they name no file, so that equal ones of many files can be counted. `digest` is that of
    all that was read, instances and pixels in their order, and `series_digest` that of all instances of the series of
    which this is a part: from them follow the identities of derived DICOM images. Only DICOM has them.
    """

    kind: Kind
    paths: tuple[Path, ...] = ()
    header: Any = None
    modality: str = ""
    warnings: tuple[str, ...] = ()
    digest: str = ""
    series_digest: str = ""
    wholes: tuple[Any, ...] = ()
    windows: tuple[Window, ...] = ()
    split: bool = False

    def __repr__(self) -> str:
        count = f", {len(self.paths)} files" if len(self.paths) > 1 else ""
        return f"Source({self.kind}{count})"  # neither the header nor a path, which may name a patient


@dataclass(frozen=True, eq=False)
class Volume:
    """Pixels as float32 (slices, rows, columns) in the file's physical values, rescale applied.

    `spacing` is (row, column) in mm, None where the file does not say; `scale` tells how many times finer than the
    source's grid the pixels lie in plane. Pixel positions are pixel centres. `slice_distance` is in mm, of a volume
    whose slices were brought closer (`latentsr.io.reslice`); None: the source's own.
    """

    pixels: Pixels
    spacing: tuple[float, float] | None
    window: Window
    source: Source
    scale: int = 1
    slice_distance: float | None = None

    def __post_init__(self) -> None:
        if self.pixels.ndim != 3 or self.pixels.dtype != np.float32:
            shape, dtype = self.pixels.shape, self.pixels.dtype
            raise InputError(f"volume of shape {shape}, {dtype}: expected (slices, rows, columns) of float32")

    def __repr__(self) -> str:
        size = " x ".join(str(side) for side in self.pixels.shape)
        spacing = f"{self.spacing[0]:.4g} x {self.spacing[1]:.4g} mm" if self.spacing else "no spacing"
        window = f"window {self.window.low:g} to {self.window.high:g}"
        return f"Volume({size}, {spacing}, {window}, scale {self.scale}, {self.source!r})"

    @classmethod
    def from_array(cls, array: NDArray[Any], spacing: tuple[float, float] | None = None) -> "Volume":
        """A volume from an array in memory, (rows, columns) or (slices, rows, columns); its window is min to max."""
        pixels = np.asarray(array, np.float32)
        pixels = pixels[None] if pixels.ndim == 2 else pixels
        return cls(pixels, spacing, Window.of(pixels), Source("memory"))

    def unit(self) -> NDArray[np.float32]:
        """The slices in [0, 1], each by its window."""
        return np.stack([window.apply(one) for window, one in zip(self.windows, self.pixels, strict=True)])

    @property
    def windows(self) -> tuple[Window, ...]:
        """That of each slice: its own where the source has one a slice, else the volume's."""
        return self.source.windows or (self.window,) * len(self.pixels)

    def enlarged(self, pixels: NDArray[Any], scale: int) -> "Volume":
        """The volume of these pixels, `scale` times finer in plane over the same field of view; source and window stay.

        InputError where the shape is not (slices, rows * scale, columns * scale) or a pixel is not finite.
        """
        slices, rows, columns = self.pixels.shape
        expected = (slices, rows * scale, columns * scale)
        if pixels.shape != expected:
            raise InputError(f"enlarged pixels of shape {pixels.shape}: expected {expected} for scale {scale}")
        if not all_finite(pixels):
            raise InputError("the enlarged image holds NaN or infinite pixels: it is not written; report the model")
        spacing = None if self.spacing is None else (self.spacing[0] / scale, self.spacing[1] / scale)
        return replace(self, pixels=np.asanyarray(pixels, np.float32), spacing=spacing, scale=self.scale * scale)


def let_go(pixels: NDArray[Any]) -> None:
    """Frees the memory of what was read of pixels that lie on disk, so that it is that of one slice; others stay."""
    held = getattr(pixels, "_mmap", None) if isinstance(pixels, np.memmap) else None
    if held is not None and hasattr(mmap, "MADV_DONTNEED"):
        held.madvise(mmap.MADV_DONTNEED)


def all_finite(pixels: NDArray[Any]) -> bool:
    """Whether no pixel is NaN or infinite; slice by slice, as they may lie on disk."""
    for one in pixels:
        finite = bool(np.isfinite(one).all())
        let_go(pixels)
        if not finite:
            return False
    return True


def first_pixel_shift(scale: int) -> float:
    """How far the first pixel's centre moves along each in-plane axis when an image is enlarged, in source pixels.

    Enlarging keeps the field of view: the first of `scale` fine pixels lies nearer to the corner by (1/scale - 1)/2.
    """
    return (1 / scale - 1) / 2
