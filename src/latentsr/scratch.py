"""Results of a volume kept slice by slice, in memory or on disk, where a killed job finds what it had made."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from latentsr.atomic import refused
from latentsr.config import read_json, write_json
from latentsr.errors import InputError
from latentsr.volume import Pixels

STATE, ARRAYS, BYTES = "state.json", "*.f32", "bytes"


class Scratch:
    """Arrays of slices (slices, rows, columns), float32, which are made one part after the other.

    In memory, or as raw files in `folder`, of which `state` says how far they are whole. The folder is the caller's:
    nobody else's files lie there, and its name stands for all that decides the pixels.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self._arrays: dict[str, Pixels] = {}

    def state(self) -> dict[str, Any]:
        """What `note` wrote last; empty at the beginning, and where it or an array was cut or removed since."""
        if self.folder is None or not (self.folder / STATE).is_file():
            return {}
        try:
            state = dict(read_json(self.folder / STATE))
        except InputError:
            return {}
        sizes = {path.name: path.stat().st_size for path in self.folder.glob(ARRAYS)}
        whole = all(sizes.get(name, 0) >= size for name, size in state.pop(BYTES, {}).items())
        return state if whole else {}

    def put(self, name: str, start: int, values: Pixels, slices: int) -> None:
        """Keeps the slices from `start` on of an array of so many; LatentSRError if the disk refuses."""
        if self.folder is None:
            array = self._arrays.setdefault(name, np.empty((slices, *values.shape[1:]), np.float32))
            array[start : start + len(values)] = values
            return
        path = self.folder / f"{name}.f32"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with path.open("r+b" if path.exists() else "w+b") as file:
                file.seek(start * values[0].nbytes)
                file.write(np.ascontiguousarray(values).data)
                file.truncate()
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise refused(path, error) from error

    def note(self, state: Mapping[str, Any]) -> None:
        """Says how far the arrays are whole."""
        if self.folder is not None:
            sizes = {path.name: path.stat().st_size for path in sorted(self.folder.glob(ARRAYS))}
            write_json(self.folder / STATE, {**state, BYTES: sizes})

    def array(self, name: str, shape: tuple[int, int, int]) -> Pixels:
        """The whole array: from disk it is a read-only map of its file, see `latentsr.volume.let_go`."""
        if self.folder is None:
            return self._arrays[name]
        return np.memmap(self.folder / f"{name}.f32", np.float32, "r", shape=shape)

    @property
    def size(self) -> int:
        """Bytes that it has on the disk."""
        return 0 if self.folder is None else sum(path.stat().st_size for path in self.folder.glob(ARRAYS))

    def remove(self) -> None:
        """Removes the folder."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
