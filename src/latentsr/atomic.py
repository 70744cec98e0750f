"""Atomic writing: to a temporary name that is then renamed, so that no reader finds half a file."""

import errno
import os
import re
import secrets
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from latentsr.errors import LatentSRError, StaleError

_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


@contextmanager
def replacing(path: Path, *, over_folder: bool = False) -> Iterator[Path]:
    """A temporary path beside `path`, renamed to `path` when the block ends and removed when the block fails.

    The caller makes a file or a folder there. Its name begins with a dot, so that no search for inputs finds it, and
    keeps the extension, by which some libraries choose the format. Parent folders are made. Temporary files of killed
    processes, as they lay there when this process first wrote into the folder, are removed. An existing file is
    replaced in one step. An existing folder that holds files is an error, or is replaced with `over_folder`.

    Raises:
        LatentSRError: the disk refuses: an OSError of the block, unless it names a file that lies elsewhere
    """
    path = Path(path)
    # The extension: `.nii.gz` counts as one; a long tail after a dot, as in a UID, is none.
    extension = re.search(r"(\.nii)?\.[A-Za-z][A-Za-z0-9]{0,10}$", path.name)
    suffix = extension.group() if extension else ""
    host = re.sub(r"[^A-Za-z0-9]", "", socket.gethostname())[:32]
    prefix = f".{path.name.removesuffix(suffix)[:100]}.part-{host}-"
    # Two containers may have one name and one process number on a disk that they share.
    temporary = path.with_name(f"{prefix}{os.getpid()}-{secrets.token_hex(4)}{suffix}")
    old = path.with_name(f".old-{path.name[:100]}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for name in _temporary_names(path.parent.absolute(), host):
            left = re.fullmatch(rf"{re.escape(prefix)}(\d+)(-[0-9a-f]+)?{re.escape(suffix)}", name)
            if left and not _is_running(int(left[1])):
                remove(path.with_name(name))
        try:
            yield temporary
            # A power cut after the rename could else leave an empty file.
            for entry in (temporary, *temporary.rglob("*")):
                if entry.is_file():
                    with entry.open("rb+") as file:
                        os.fsync(file.fileno())
            if over_folder and path.is_dir():  # which no rename replaces
                shutil.rmtree(old, ignore_errors=True)  # of a process that was killed between the two renames
                path.rename(old)
            try:
                temporary.replace(path)
            except OSError:
                if old.exists() and not path.exists():
                    old.rename(path)
                raise
        finally:
            remove(temporary)
        if over_folder:
            shutil.rmtree(old, ignore_errors=True)
        _sync(path.parent)
    except OSError as error:
        if isinstance(error.filename, str):
            named = Path(error.filename)
            if not named.is_relative_to(temporary) and named not in (path, *path.parents):
                raise  # a file that could not be read while writing
        raise refused(path, error) from error


def append(path: Path, content: bytes) -> None:
    """Adds to the end of a file, which is made if it is missing: on the disk, or LatentSRError and nothing added.

    Only a process that is killed meanwhile, or a power cut, leaves a part of the content.
    """
    size = path.stat().st_size if path.exists() else 0
    try:
        try:
            with path.open("ab") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            if path.exists():
                os.truncate(path, size)
            raise
        if not size:
            _sync(path.parent)
    except OSError as error:
        raise refused(path, error) from error


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a file; OSError with its name unless every byte has reached the disk.

    For use inside `replacing`. Libraries that write files themselves may not notice that a full disk took only a part
    (tifffile drops the count that an unbuffered write returns): let them write to memory, and this to the disk.
    """
    try:
        with path.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            if (size := os.fstat(file.fileno()).st_size) != len(content):
                raise OSError(errno.ENOSPC, f"{size} of {len(content)} bytes were written")
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def refuse_links(root: Path, path: Path) -> None:
    """Raises LatentSRError unless `path` lies below the folder `root` by its name and through no symbolic link.

    The root itself may be a link: the user named it. A link below it, the last component included, may be of others
    and lead elsewhere.
    """
    if not path.is_relative_to(root) or ".." in (inside := path.relative_to(root)).parts:
        raise LatentSRError(f"{path} lies outside the output folder {root}: remove '..' and absolute names")
    for place in (inside, *inside.parents):
        if (link := root / place) != root and link.is_symlink():
            raise LatentSRError(
                f"{link} is a symbolic link inside the output folder, and links there are not followed: "
                "remove it or choose another output folder"
            )


def refuse_existing(path: Path, overwrite: bool) -> None:
    """Raises StaleError where `path` exists and may not be replaced."""
    if path.exists() and not overwrite:
        raise StaleError(f"{path} exists: remove it, choose another output folder, or set the option overwrite")


@lru_cache(maxsize=1024)
def _temporary_names(folder: Path, host: str) -> tuple[str, ...]:
    """Names of temporary files of this host in a folder, read once: listing it for each file grows with its square."""
    return tuple(entry.name for entry in folder.iterdir() if f".part-{host}-" in entry.name)


def look_again() -> None:
    """Lets `replacing` find temporary files of processes that were killed since it first wrote into their folder."""
    _temporary_names.cache_clear()


def _sync(folder: Path) -> None:
    """Waits until the names in a folder are on the disk, where the system offers that."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def refused(path: Path, error: OSError) -> LatentSRError:
    """An error for a file that the disk refuses, with its fix."""
    fix = "allow writing there" if error.errno in _FORBIDDEN else "free the disk"
    reason = error.strerror or str(error).partition("\n")[0] or type(error).__name__
    return LatentSRError(f"cannot write {path}: {reason}; {fix} or choose another output folder")


def _is_running(process: int) -> bool:
    if os.name != "posix":  # signal 0 is harmless on POSIX systems only
        return True
    try:
        os.kill(process, 0)
    except OSError as error:
        return not isinstance(error, ProcessLookupError)  # a process of another user may not be asked
    return True


def remove(path: Path) -> None:
    """Removes a file, a link or a folder with all that it holds, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
