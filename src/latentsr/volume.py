"""Volume: the pixels of an image or a series, their spacing and window, and their source."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from latentsr.errors import InputError
from latentsr.intensity import Pixels, Window

MAX_PIXELS = 2**27  # of a volume, where nothing else is said: 512 MB as float32

Kind = Literal["dicom", "nifti", "png", "tiff", "jpeg", "memory"]


@dataclass(frozen=True, eq=False)
class Source:
    """The files that a volume was read from, and what their format needs to write similar ones.

    `paths` has one file per slice for a DICOM series and one file otherwise; `header` belongs to the `latentsr.io`
    module of that format and always describes the source's own grid, whatever the volume's scale; `modality` is
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

    def __repr__(self) -> str:
        count = f", {len(self.paths)} files" if len(self.paths) > 1 else ""
        return f"Source({self.kind}{count})"  # neither the header nor a path, which may name a patient


@dataclass(frozen=True, eq=False)
class Volume:
    """Pixels as float32 (slices, rows, columns) in the file's physical values, rescale applied.

    `spacing` is (row, column) in mm, None where the file does not say; `scale` tells how many times finer than the
    source's grid the pixels lie in plane. Pixel positions are pixel centres.
    """

    pixels: Pixels
    spacing: tuple[float, float] | None
    window: Window
    source: Source
    scale: int = 1

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

    def enlarged(self, pixels: NDArray[Any], scale: int) -> "Volume":
        """The volume of these pixels, `scale` times finer in plane over the same field of view; source and window stay.

        InputError where the shape is not (slices, rows * scale, columns * scale) or a pixel is not finite.
        """
        slices, rows, columns = self.pixels.shape
        expected = (slices, rows * scale, columns * scale)
        if pixels.shape != expected:
            raise InputError(f"enlarged pixels of shape {pixels.shape}: expected {expected} for scale {scale}")
        if not np.isfinite(pixels).all():
            raise InputError("the enlarged image holds NaN or infinite pixels: it is not written; report the model")
        spacing = None if self.spacing is None else (self.spacing[0] / scale, self.spacing[1] / scale)
        return replace(self, pixels=np.asarray(pixels, np.float32), spacing=spacing, scale=self.scale * scale)


def first_pixel_shift(scale: int) -> float:
    """How far the first pixel's centre moves along each in-plane axis when an image is enlarged, in source pixels.

    Enlarging keeps the field of view: the first of `scale` fine pixels lies nearer to the corner by (1/scale - 1)/2.
    """
    return (1 / scale - 1) / 2
