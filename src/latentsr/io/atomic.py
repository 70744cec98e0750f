"""Image files and series folders written whole or not at all, with one line of error when the disk refuses."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from latentsr import atomic
from latentsr.errors import LatentSRError, StaleError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """`latentsr.atomic.replacing`, but also in place of a folder with files in it."""
    old = path.with_name(f".old-{path.name[:100]}")
    try:
        with atomic.replacing(path) as part:
            yield part
            if path.is_dir():
                path.rename(old)  # a rename cannot take the place of a folder that holds files
        shutil.rmtree(old, ignore_errors=True)
    except LatentSRError:
        if old.exists() and not path.exists():
            old.rename(path)
        raise


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """An empty temporary folder that becomes `path` when the block ends, is removed when the block fails."""
    with replacing(path) as part:
        part.mkdir()
        yield part


def refuse_existing(path: Path, overwrite: bool) -> None:
    """Raises StaleError where `path` exists and may not be replaced."""
    if path.exists() and not overwrite:
        raise StaleError(f"{path} exists: remove it, choose another output folder, or set the option overwrite")
