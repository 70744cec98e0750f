"""The folder that a long job writes: whose it is, what an interrupted job goes on from, and when it is whole."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from latentsr.config import read_json, write_json
from latentsr.errors import StaleError

PARTS = "parts"


@dataclass(frozen=True)
class JobFolder:
    """The folder of one job.

    Attributes:
        root: the folder, there or not.
        job: what errors call the job's work, such as "screening".
        record: the name of its last file, JSON with the job's key, whose presence says that the work is whole.
        results: the names of all else that it leaves.
        decided_by: what the key is the digest of, in the words of an error.
    """

    root: Path
    job: str
    record: str
    results: frozenset[str]
    decided_by: str

    @property
    def parts(self) -> Path:
        """Where an interrupted job finds what it has done."""
        return self.root / PARTS

    @property
    def whole(self) -> bool:
        """Whether the job is done."""
        return self._record.is_file()

    def check(self, *, overwrite: bool = False) -> None:
        """StaleError for a folder that is in use for something else; hidden files do not count."""
        if self.whole or self._partial.is_file():
            return
        if self.root.exists() and not self.root.is_dir():
            raise StaleError(f"{self.root}: is a file, expected a new or empty folder; give another -o")
        names = {path.name for path in self.root.iterdir()} if self.root.is_dir() else set()
        visible = {name for name in names if not name.startswith(".")}
        foreign = visible - self.results - {PARTS}
        if visible and not overwrite:
            raise StaleError(f"{self.root}: holds files but no {self.job}; give an -o that is new or empty")
        if foreign:  # to replace an earlier job's results is not to write among somebody else's files
            raise StaleError(f"{self.root}: holds files of no {self.job}; give an -o that is new or empty")

    def claim(self, key: str, *, overwrite: bool = False) -> None:
        """Makes it the folder of the job of this key, which may go on from what lies there.

        With `overwrite` an earlier job's results are removed first, and nothing else.

        Raises:
            StaleError: it holds the work of another key, and not `overwrite`; or files that are nobody's record of
                such work.
        """
        self.check(overwrite=overwrite)
        if overwrite:
            self._clear()
        for path in (self._record, self._partial):
            there = read_json(path) if path.is_file() else {"key": key}
            if not isinstance(there, dict) or there.get("key") != key:
                other = f"holds another {self.job}, of other {self.decided_by}"
                raise StaleError(f"{self.root}: {other}: give another -o, or --overwrite")

    def begin(self, key: str) -> None:
        """Says whose parts will lie here; to be called before the first, so that none is ever without its key."""
        if not self._partial.is_file():
            write_json(self._partial, {"key": key})

    def finish(self, content: dict[str, Any]) -> None:
        """Writes the record; the folder is whole then."""
        write_json(self._record, content)

    def drop_parts(self) -> None:
        """Removes what only an interrupted job needs."""
        _remove(self.parts)
        _remove(self._partial)

    @property
    def _record(self) -> Path:
        return self.root / self.record

    @property
    def _partial(self) -> Path:
        name = Path(self.record)
        return self.root / f"{name.stem}.partial{name.suffix}"

    def _clear(self) -> None:
        """Removes all that an earlier job left."""
        for name in (PARTS, self.record, self._partial.name, *sorted(self.results)):  # no parts without their key
            _remove(self.root / name)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
