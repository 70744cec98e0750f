"""What a long job has done so far: a small file a batch, written whole or not at all, read back when it goes on."""

import hashlib
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentsr.atomic import replacing
from latentsr.errors import StaleError

IDS, NAMES = "ids", "arrays"  # what every part holds beside its arrays: whose they are, and their names
# All that zipfile and numpy raise at a file that was cut or altered.
BROKEN = (
    OSError, ValueError, KeyError, EOFError, TypeError, RuntimeError, SyntaxError, OverflowError, zlib.error,
    tokenize.TokenError, struct.error, zipfile.BadZipFile,
)  # fmt: skip


@dataclass(frozen=True)
class Part:
    """One batch's images, by id, and the arrays that were kept of them."""

    ids: tuple[str, ...]
    arrays: Mapping[str, NDArray[np.generic]]

    def __getitem__(self, name: str) -> NDArray[np.generic]:
        return self.arrays[name]


@dataclass(frozen=True)
class Parts:
    """The parts of one task, such as a method on a dataset: files in one folder, named by a hash of their ids."""

    folder: Path

    def write(self, ids: Sequence[str], arrays: Mapping[str, NDArray[np.generic]]) -> None:
        """Keeps a batch, atomically; arrays of numbers or text, under any name but `ids` and `arrays`."""
        name = hashlib.sha256("\n".join(ids).encode()).hexdigest()[:16]
        with replacing(self.folder / f"{name}.npz") as temporary, temporary.open("wb") as file:
            own = {IDS: np.array(ids, dtype=np.str_), NAMES: np.array(sorted(arrays), dtype=np.str_)}
            np.savez(file, allow_pickle=False, **own, **arrays)

    def read(self) -> tuple[Part, ...]:
        """All parts, in the order of their first ids; StaleError names a part that was cut or altered."""
        return tuple(sorted(self.each(), key=lambda part: part.ids))

    def each(self, wanted: Callable[[str], bool] = lambda name: True) -> Iterator[Part]:
        """One part after the other, in no order that means anything, with those arrays alone whose name is wanted.

        So that no more than one part is in memory; StaleError as in `read`, of the arrays that are wanted.
        """
        return (_part(path, wanted) for path in self._paths())

    def names(self) -> frozenset[str]:
        """The names of the arrays that every part has."""
        each = [_names(path) for path in self._paths()]
        return frozenset.intersection(*each) if each else frozenset()

    def done(self) -> frozenset[str]:
        """The ids of the images that need not be done again."""
        return frozenset(name for path in self._paths() for name in _part(path, lambda name: False).ids)

    def _paths(self) -> list[Path]:
        return sorted(self.folder.glob("[0-9a-f]*.npz")) if self.folder.is_dir() else []


def _part(path: Path, wanted: Callable[[str], bool]) -> Part:
    """The part of a file, with those of its arrays that are wanted."""
    with _opened(path) as file:
        arrays = {name: file[name] for name in map(str, file[NAMES]) if wanted(name)}
        return Part(tuple(str(text) for text in file[IDS]), arrays)


def _names(path: Path) -> frozenset[str]:
    with _opened(path) as file:
        return frozenset(map(str, file[NAMES]))


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            yield file
    except BROKEN as error:
        raise StaleError(f"{path}: cut off or altered; remove this file and run the same command again") from error
