"""Image files and series folders written whole or not at all, with one line of error when the disk refuses."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from latentsr import atomic
from latentsr.errors import LatentSRError, StaleError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """`latentsr.atomic.replacing`, but also in place of a folder with files in it, and LatentSRError for OSError."""
    old = path.with_name(f".old-{path.name}")
    try:
        with atomic.replacing(path) as part:
            yield part
            if path.is_dir():
                path.rename(old)  # a rename cannot take the place of a folder that holds files
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        if old.exists() and not path.exists():
            old.rename(path)
        raise _unwritable(path, error) from error


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """An empty temporary folder that becomes `path` when the block ends, is removed when the block fails."""
    with replacing(path) as part:
        part.mkdir()
        yield part


def refuse_existing(path: Path, overwrite: bool) -> None:
    """Raises StaleError where `path` exists and may not be replaced."""
    if path.exists() and not overwrite:
        raise StaleError(f"{path} exists: remove it, choose another output folder, or give --overwrite")


def _unwritable(path: Path, error: OSError) -> LatentSRError:
    reason = error.strerror or type(error).__name__
    return LatentSRError(f"cannot write {path}: {reason}; free the disk or choose another output folder")
