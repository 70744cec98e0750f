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
from latentsr.io.dicom.grid import SPACINGS, decimals, is_placed, origin, steps
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
    whole, header = volume.source.header[0], Dataset()
    for element in whole:
        if element.tag.group >> 8 not in _GRAPHICS and element.keyword not in _MASKS:
            header.add(copy.deepcopy(element))  # setting a value changes an element in place
    header.Rows, header.Columns = part.shape
    if is_placed(whole):
        shift = -first_pixel_shift(scale) * scale  # to the centre of the first coarse pixel
        moved = origin(whole) + np.array([box.left + shift, box.top + shift]) @ steps(whole)
        header.ImagePositionPatient = decimals(moved)
    for keyword in SPACINGS:
        if whole.get(keyword):
            setattr(header, keyword, decimals(np.array(whole[keyword].value, np.float64) * scale))
    options = f'{{"box":[{box.top},{box.left},{box.rows},{box.columns}],"made":"{made}","scale":{scale}}}'
    reduced = Volume(part[None], None, volume.window, replace(volume.source, header=(header,)))
    dicom.write(reduced, path, provenance=_Reduction("none", __version__, "none", 0, options, synthetic=False))
    return path


class _Reduction(Provenance):
    """Provenance of a part of an image: nothing was enlarged, and no model touched it."""

    def note(self, scale: int) -> str:  # noqa: ARG002 - the scale of the volume, which is 1 here
        """What was done, for the DICOM's description."""
        return f"Part of an image, reduced by latentsr {self.version}: {self.options}. Research use only."
