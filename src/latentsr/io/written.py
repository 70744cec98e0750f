"""What was written of a volume, read again slice by slice."""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentsr import io
from latentsr.io import dicom, nifti, raster
from latentsr.io.dicom.pixels import as_filed
from latentsr.io.reslice import slice_grid
from latentsr.volume import Pixels, Volume

# The file was made here.
_ANYTHING: dict[str, Any] = {"force": True, "constant": True, "max_pixels": 2**62}


class Written:
    """The slices of an image or a map that was written of `source`: `[k]` is (rows, columns), float32.

    Values are the physical ones of its file. A slice of a DICOM series or of NIfTI is read when it is asked for, other
    files are read at once. `grid` says where the pixels of a slice lie, as `latentsr.io.reslice.slice_grid` does.

    Raises:
        InputError: a file is missing, or is no longer what was written
    """

    def __init__(self, path: Path, source: Volume) -> None:
        made_from, name = source.source, path.name.lower()
        self.grid: Callable[[int], NDArray[np.float64] | None]
        self._read: Callable[[int], Pixels]
        if path.is_dir() and (made_from.split or not made_from.wholes):
            files = [path / one for one in dicom.slice_names(made_from, sum(1 for _ in path.glob("[!.]*")))]

            @lru_cache(1)
            def one(number: int) -> Volume:
                return io.read([files[number]], **_ANYTHING)

            self._count, self._read = len(files), lambda number: filed(one(number))[0]
            self.grid = lambda number: slice_grid(one(number), 0)
        elif name.endswith(nifti.SUFFIXES):
            self._count, self._read, self.grid = nifti.slices(path, made_from.header.axis)
        elif made_from.kind in ("dicom", "mgh", "itk"):
            files = [path]
            if path.is_dir():
                files = [path / one for one in dicom.slice_names(made_from, len(made_from.paths))]
            volume = io.read(files, axis=None if made_from.kind == "dicom" else made_from.header.axis, **_ANYTHING)
            self._count, self._read = len(volume.pixels), filed(volume).__getitem__
            self.grid = lambda number: slice_grid(volume, number)
        else:
            picture = raster.read_any(path).astype(np.float32)
            self._count, self._read, self.grid = 1, lambda number: picture, lambda number: None

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, number: int) -> Pixels:
        return self._read(number)


def filed(volume: Volume) -> Pixels:
    """The pixels of a volume that was read, as its files say: MONOCHROME1 of DICOM is not turned over."""
    if volume.source.kind != "dicom":
        return volume.pixels
    return np.stack([as_filed(one, header) for one, header in zip(volume.pixels, volume.source.header, strict=True)])
