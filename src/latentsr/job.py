"""The folder of a long job: whose it is, what is finished, and what an interrupted run goes on with.

The record of a finished evaluation or screening holds its own digest and the SHA-256 of each table beside it. Results
of a volume are kept slice by slice, in memory or on disk, where a killed job finds what it had made.
"""

import hashlib
import os
import shutil
import socket
import struct
import sys
import tempfile
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from latentsr.atomic import refused, remove, replacing
from latentsr.config import read_json, read_signed_json, sha256, signed, write_json
from latentsr.errors import InputError, LatentSRError, OptionError, StaleError
from latentsr.volume import Pixels

Progress = Callable[[int, int], None]  # called with how much is done, and of how much


def silent(done: int, total: int) -> None:
    """A Progress that shows nothing."""


PARTS, LOCK, TABLES = "parts", ".lock", (".parquet", ".csv")


@dataclass(frozen=True)
class JobFolder:
    """The folder of one job.

    Attributes:
        root: the folder, which need not exist.
        job: what the record and errors call the job's work, such as "screening".
        record: the name of its last file, JSON with the key, whose presence says that the work is whole.
        results: the names of all else that it leaves; such files are its own only beside its record.
        decided_by: what the key is the digest of, in the words of an error.
        shared: other files may lie in the folder, and a record belongs to the job by its name: it names no job, and
            what reads the results checks them (datasets, latent caches, autoencoders, trainings, demos).
        fix: how to put another job's work away, in the words of an error.
    """

    root: Path
    job: str
    record: str
    results: frozenset[str]
    decided_by: str
    shared: bool = False
    fix: str = "set the option overwrite to replace it"

    @property
    def parts(self) -> Path:
        """Where an interrupted job finds what it has done."""
        return self.root / PARTS

    @property
    def whole(self) -> bool:
        """Whether the job is done."""
        return self._record.is_file()

    def check(self) -> None:
        """StaleError for a folder that is in use for something else; hidden files do not count.

        Only a record of this job says that a folder is its own. Names do not: `pictures` may be anybody's.
        """
        if self.root.exists() and not self.root.is_dir():
            raise StaleError(f"{self.root}: is a file, expected a new or empty folder; choose another output folder")
        records = [path for path in (self._record, self._partial) if path.exists()]
        files = {path.name for path in self.root.iterdir()} if self.root.is_dir() else set()
        foreign = []
        for path in records:
            try:
                content = read_json(path)
            except InputError:
                content = None
            if not isinstance(content, dict) or not (self.shared or content.get("job") == self.job):
                foreign.append(path.name)
        if self.shared and not records:
            foreign = sorted(files & self.results)
        if foreign:
            raise StaleError(
                f"{self.root}: its {foreign[0]} is of no {self.job}; choose an output folder that is new or empty"
            )
        if not records and not self.shared and any(not name.startswith(".") for name in files):
            raise StaleError(
                f"{self.root}: holds files but no {self.job}; choose an output folder that is new or empty"
            )

    def claim(self, key: str, *, overwrite: bool = False) -> None:
        """Makes it the folder of the job of this key, which may go on from what lies there.

        With `overwrite` an earlier job's results are removed first, and nothing else.

        Raises:
            StaleError: it holds the work of another key, or a record or table that was cut or altered, and not
                `overwrite`; or anything without a record of this job, `overwrite` or not.
        """
        self.check()
        if overwrite:
            # Remove all that an earlier job left.
            if self._record.exists():
                self._record.replace(self._partial)
            for name in (PARTS, *sorted(self.results), self._partial.name):
                remove(self.root / name)
        if any(path.exists() and read_json(path).get("key") != key for path in (self._record, self._partial)):
            raise self.other()
        if self.whole and not self.shared:  # StaleError unless record and tables are as they were written
            fix = "set the option overwrite to make all anew"
            try:
                hashes = read_signed_json(self._record).get("sha256", {})
            except InputError as error:
                raise StaleError(f"{error.args[0].removesuffix('; make it again')}; {fix}") from error
            for name, digest in hashes.items():
                path = self.root / name
                if not path.is_file() or sha256(path) != digest:
                    raise StaleError(f"{path}: missing, cut off or altered since it was written; {fix}")

    def other(self) -> StaleError:
        """The error for a folder that holds the work of another key."""
        return StaleError(
            f"{self.root}: holds another {self.job}, of other {self.decided_by}: choose another output folder, or "
            f"{self.fix}"
        )

    def begin(self, key: str) -> None:
        """Says whose parts will lie here; to be called before the first, so that none is ever without its key."""
        if not self._partial.is_file():
            write_json(self._partial, {"job": self.job, "key": key})

    def note(self, state: Mapping[str, Any]) -> None:
        """Writes what an interrupted job goes on from, its key included."""
        write_json(self._partial, signed(state))

    def noted(self) -> dict[str, Any] | None:
        """What `note` wrote last, None where the job was not begun; StaleError if it was altered."""
        if not self._partial.is_file():
            return None
        try:
            return read_signed_json(self._partial)
        except InputError as error:
            raise StaleError(f"{self._partial}: altered; {self.fix}") from error

    def finish(self, content: Mapping[str, Any]) -> Mapping[str, Any]:
        """Writes the record and returns its content; the folder is whole then.

        Unless it is shared, the job's name and hashes go with it.
        """
        if not self.shared:
            names = sorted(name for name in self.results if Path(name).suffix in TABLES)
            hashes = {name: sha256(self.root / name) for name in names if (self.root / name).exists()}
            content = {"job": self.job, **content, "sha256": hashes}
        write_json(self._record, signed(content))
        return content

    def finished(self) -> dict[str, Any]:
        """The content of the record; StaleError if it is missing or altered."""
        try:
            return read_signed_json(self._record)
        except InputError as error:
            raise self.other() from error

    def drop_parts(self) -> None:
        """Removes what only an interrupted job needs."""
        remove(self.parts)
        remove(self._partial)

    @property
    def _record(self) -> Path:
        return self.root / self.record

    @property
    def _partial(self) -> Path:
        name = Path(self.record)
        return self.root / f"{name.stem}.partial{name.suffix}"


def run_folder(out: Path) -> Path:
    """Where a job keeps its record, so that `out` holds results and nothing else: `enhanced.run` beside `enhanced`."""
    place = out.resolve()
    return place.with_name(f"{place.name}.run")


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keeps `folder`, which is made, for one process while the block runs; a process that is killed keeps nothing.

    A folder that is empty at the end is removed.

    Raises:
        StaleError: another process works there; the error says which, since when and on what host
        OptionError: the folder cannot be written
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = _lock(folder / LOCK)
    except OSError as error:
        raise unwritable(folder, error) from error
    try:
        yield
    finally:
        with suppress(OSError):  # Windows removes no open file; the lock goes with the process all the same
            (folder / LOCK).unlink()
        file.close()
        with suppress(OSError):
            folder.rmdir()


def _lock(path: Path) -> IO[str]:
    """The file, open, locked and saying who works here."""
    file = path.open("a+", encoding="utf-8")
    try:
        if sys.platform == "win32":
            import msvcrt

            file.seek(2**30)  # a byte far behind the text, which others may read
            try:
                msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
            except OSError as error:
                raise BlockingIOError from error
            file.seek(0)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        owner = file.read() or "another process"
        file.close()
        raise StaleError(f"{path.parent}: {owner} works here; wait for it, or choose another output folder") from None
    if not path.exists() or not os.path.samestat(path.stat(), os.fstat(file.fileno())):
        file.close()  # its last owner removed it between the two steps
        return _lock(path)
    file.truncate(0)
    file.write(f"process {os.getpid()} on {socket.gethostname()} since {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC")
    file.flush()
    return file


def check_writable(folder: Path) -> None:
    """Raises OptionError unless files can be written to a folder."""
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".probe-") as probe:
            probe.write(bytes(4096))
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as error:
        raise unwritable(folder, error) from error


def check_room(folder: Path, needed: int) -> None:
    """Raises LatentSRError unless `needed` bytes are free on the disk of a folder."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise LatentSRError(
            f"{folder}: needs about {needed / 1e6:,.0f} MB, {free / 1e6:,.0f} MB are free; free the disk or "
            "choose another output folder"
        )


def unwritable(folder: Path, error: OSError) -> OptionError:
    """What is said of a folder to which nothing can be written."""
    reason = error.strerror or type(error).__name__
    return OptionError(
        f"{folder}: cannot be written ({reason}); check its disk and permissions, or choose another output folder"
    )


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
        found = []
        for path in self._paths():
            with _opened(path) as file:
                found.append(frozenset(map(str, file[NAMES])))
        return frozenset.intersection(*found) if found else frozenset()

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


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            yield file
    except BROKEN as error:
        raise StaleError(f"{path}: cut off or altered; remove this file and run the same command again") from error


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
