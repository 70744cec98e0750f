"""A part of a DICOM image as a DICOM of its own, on the same or a coarser grid."""

import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from latentsr import __version__
from latentsr.atomic import refuse_existing
from latentsr.errors import InputError
from latentsr.io import dicom
from latentsr.io.dicom.grid import SPACINGS, decimals, is_placed
from latentsr.provenance import Provenance
from latentsr.volume import Volume, first_pixel_shift

_GRAPHICS = (0x50, 0x60)  # the first byte of the groups of curves and overlays
_MASKS = ("ShutterShape", "CollimatorShape")


@dataclass(frozen=True)
class Box:
    """A part of an image in whole pixels: its first row and column, and its size."""

    top: int
    left: int
    rows: int
    columns: int

    def of(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """The part of `pixels` (..., rows, columns); InputError where it reaches beyond them."""
        rows, columns = pixels.shape[-2:]
        if min(self.top, self.left) < 0 or self.top + self.rows > rows or self.left + self.columns > columns:
            raise InputError(f"{self} reaches beyond the image of {rows} x {columns} pixels: choose a part inside it")
        return pixels[..., self.top : self.top + self.rows, self.left : self.left + self.columns]


def write_window(
    volume: Volume,
    path: Path,
    box: Box,
    *,
    pixels: NDArray[Any] | None = None,
    scale: int = 1,
    made: str = "",
    overwrite: bool = False,
) -> Path:
    """Writes the part `box` of a one-slice DICOM volume as a derived DICOM of its own geometry, and gives `path`.

    `pixels` (rows, columns), physical values, are that part on a grid `scale` times coarser, and `made` says how they
    came about; without them the part itself is written. Overlays, curves and shutters are left out, which belong to
    the whole image. Values beyond the source's stored range are clipped to it.
    """
    if volume.source.kind != "dicom" or len(volume.pixels) != 1 or volume.scale != 1:
        came = f"{volume.source.kind} volume of {len(volume.pixels)} slices"
        raise InputError(f"{came}: expected one DICOM image as it was read")
    part = box.of(volume.pixels)[0] if pixels is None else np.asarray(pixels, np.float32)
    if part.shape != (box.rows // scale, box.columns // scale) or box.rows % scale or box.columns % scale:
        raise InputError(f"pixels of shape {part.shape}: expected {box.rows} x {box.columns} divided by {scale}")
    refuse_existing(path, overwrite)
    header = _on_grid(volume.source.header[0], box, scale)
    source = replace(volume.source, header=(header,))
    options = f'{{"box":[{box.top},{box.left},{box.rows},{box.columns}],"made":"{made}","scale":{scale}}}'
    reduced = Volume(part[None], None, volume.window, source)
    dicom.write(reduced, path, provenance=_Reduction("none", __version__, "none", 0, options, synthetic=False))
    return path


class _Reduction(Provenance):
    """Provenance of a part of an image: nothing was enlarged, and no model touched it."""

    def note(self, scale: int) -> str:  # noqa: ARG002 - the scale of the volume, which is 1 here
        """What was done, for the DICOM's description."""
        return f"Part of an image, reduced by latentsr {self.version}: {self.options}. Research use only."


def _on_grid(header: Dataset, box: Box, scale: int) -> Dataset:
    """A copy of the header for the box's own pixels, `scale` times coarser."""
    moved = Dataset()
    for element in header:
        if element.tag.group >> 8 not in _GRAPHICS and element.keyword not in _MASKS:
            moved.add(copy.deepcopy(element))  # setting a value changes an element in place
    moved.Rows, moved.Columns = box.rows // scale, box.columns // scale
    if is_placed(header):
        # Where the first pixel's centre lies in the patient, mm; `first_pixel_shift` moves it back.
        along_row, along_column = np.array(header.ImageOrientationPatient, np.float64).reshape(2, 3)
        row_spacing, column_spacing = (float(value) for value in header.PixelSpacing)
        shift = -first_pixel_shift(scale) * scale
        across = (box.left + shift) * column_spacing * along_row
        down = (box.top + shift) * row_spacing * along_column
        position = np.asarray(np.array(header.ImagePositionPatient, np.float64) + across + down)
        moved.ImagePositionPatient = decimals(position)
    for keyword in SPACINGS:
        if header.get(keyword):
            setattr(moved, keyword, decimals(np.array(header[keyword].value, np.float64) * scale))
    return moved
