"""What was written of a volume, read again slice by slice."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from latentsr import io
from latentsr.io import dicom, nifti, raster
from latentsr.io.dicom.pixels import as_filed
from latentsr.volume import Pixels, Volume

_ANY = 2**62  # pixels: the file was made here


class Written:
    """The slices of an image or a map that was written of `source`: `[k]` is (rows, columns), float32.

    Values are the physical ones of its file. A slice of a DICOM series or of NIfTI is read when it is asked for, other
    files are read at once.

    Raises:
        InputError: a file is missing, or is no longer what was written
    """

    def __init__(self, path: Path, source: Volume) -> None:
        made_from, name = source.source, path.name.lower()
        self._read: Callable[[int], Pixels]
        if path.is_dir() and (made_from.split or not made_from.wholes):
            files = [path / one for one in dicom.slice_names(made_from, sum(1 for _ in path.glob("[!.]*")))]
            self._count, self._read = len(files), lambda number: _dicom([files[number]])[0]
        elif name.endswith(nifti.SUFFIXES):
            self._count, self._read = nifti.slices(path, made_from.header.axis)
        else:
            if path.is_dir():
                pixels = _dicom([path / one for one in dicom.slice_names(made_from, len(made_from.paths))])
            elif made_from.kind == "dicom":
                pixels = _dicom([path])
            elif made_from.kind in ("mgh", "itk"):
                pixels = io.read(path, constant=True, axis=made_from.header.axis, max_pixels=_ANY).pixels
            else:
                pixels = raster.read_any(path).astype(np.float32)[None]
            self._count, self._read = len(pixels), pixels.__getitem__

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, number: int) -> Pixels:
        return self._read(number)


def filed(volume: Volume) -> Pixels:
    """The pixels of a volume that was read, as its files say: MONOCHROME1 of DICOM is not turned over."""
    if volume.source.kind != "dicom":
        return volume.pixels
    return np.stack([as_filed(one, header) for one, header in zip(volume.pixels, volume.source.header, strict=True)])


def _dicom(paths: Sequence[Path]) -> Pixels:
    return filed(io.read(paths, force=True, constant=True, max_pixels=_ANY))
