"""Writing to a temporary name and then renaming, so that a reader never meets half a file."""

import errno
import os
import re
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from latentsr.errors import LatentSRError, StaleError

_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, which takes its name when the block ends well and is removed when it does not.

    The caller makes a file or a folder there. The temporary name begins with a dot, so that no walk over inputs takes
    it for an image, and ends like `path`, so that libraries which choose a format by the extension choose the same.
    Parent folders are made. A file that is there already is replaced in one step (rename); an existing non-empty
    folder is not. What an earlier process left behind when it was killed is removed.

    Raises:
        LatentSRError: the disk refuses: an OSError of the block, unless it names a file that lies elsewhere
    """
    path = Path(path)
    temporary = path.with_name(f"{_prefix(path)}{os.getpid()}{_suffix(path)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Remove the temporary files of processes on this host that no longer live (they were killed).
        prefix, suffix = _prefix(path), _suffix(path)
        for entry in path.parent.iterdir():
            process = entry.name.removeprefix(prefix).removesuffix(suffix)
            if entry.name == f"{prefix}{process}{suffix}" and process.isdigit() and not _lives(int(process)):
                _remove(entry)
        try:
            yield temporary
            _flush(temporary)
            temporary.replace(path)
        finally:
            _remove(temporary)
        if os.name == "posix":
            descriptor = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
    except OSError as error:
        if _names_another(error, temporary, path):
            raise
        fix = "allow writing there" if error.errno in _FORBIDDEN else "free the disk"
        reason = error.strerror or str(error).partition("\n")[0] or type(error).__name__
        raise LatentSRError(f"cannot write {path}: {reason}; {fix} or choose another output folder") from error


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

    The root itself may be a link: the user named it. What lies below was perhaps put there by others, and a link
    there, the last component included, would lead the writing elsewhere.
    """
    if not path.is_relative_to(root) or ".." in (inside := path.relative_to(root)).parts:
        raise LatentSRError(f"{path} lies outside the output folder {root}: remove '..' and absolute names")
    for place in (inside, *inside.parents):
        if (link := root / place) != root and link.is_symlink():
            raise LatentSRError(
                f"{link} is a symbolic link inside the output folder, and links there are not followed: "
                "remove it or choose another output folder"
            )


def _names_another(error: OSError, temporary: Path, path: Path) -> bool:
    """Whether an error is of a file that was read while writing, say, and no fault of the output."""
    if not isinstance(error.filename, str):
        return False
    named = Path(error.filename)
    return not named.is_relative_to(temporary) and named not in (path, *path.parents)


def _prefix(path: Path) -> str:
    host = re.sub(r"[^A-Za-z0-9]", "", socket.gethostname())[:32]
    stem = path.name.removesuffix(_suffix(path))
    return f".{stem[:100]}.part-{host}-"


def _suffix(path: Path) -> str:
    """The extension, `.nii.gz` as one; a long tail after a dot, as in a UID, is no extension."""
    found = re.search(r"(\.nii)?\.[A-Za-z][A-Za-z0-9]{0,10}$", path.name)
    return found.group() if found else ""


def _lives(process: int) -> bool:
    if os.name != "posix":  # elsewhere signal 0 is not a harmless question
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    """Hands the bytes to the disk before the rename: else a power cut could leave the new name on an empty file."""
    for entry in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if entry.is_file():
            with entry.open("rb+") as file:
                os.fsync(file.fileno())


@contextmanager
def exchanging(path: Path) -> Iterator[Path]:
    """`replacing`, but also in place of a folder with files in it."""
    old = path.with_name(f".old-{path.name[:100]}")
    try:
        with replacing(path) as part:
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
    with exchanging(path) as part:
        part.mkdir()
        yield part


def refuse_existing(path: Path, overwrite: bool) -> None:
    """Raises StaleError where `path` exists and may not be replaced."""
    if path.exists() and not overwrite:
        raise StaleError(f"{path} exists: remove it, choose another output folder, or set the option overwrite")
