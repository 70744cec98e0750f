"""What there is to enhance below the given paths: single images and DICOM series, each with its place in the tree."""

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from latentsr.errors import InputError
from latentsr.io.dicom_header import Outline, is_dicom, outline
from latentsr.io.nifti import sidecar_path, stem


@dataclass(frozen=True)
class Item:
    """One image or series: where it lies below the given path (its output mirrors that), and its files."""

    relative: Path
    paths: tuple[Path, ...]

    @property
    def series(self) -> bool:
        """Whether it is a DICOM series of several files."""
        return len(self.paths) > 1


def find(paths: Sequence[Path]) -> list[Item]:
    """The items of files and folders, in the order of their paths.

    A file is one item. A folder is walked: DICOM files in one folder that share a series, lie at a place in the
    patient and are all different instances are one item; every other file is one. Hidden files, run.json, NIfTI
    sidecars and DICOMDIR are none. A folder that cannot be listed is one too, so that reading it says why. InputError
    where a path does not exist, nothing is found, or two would write the same output.
    """
    items = [item for path in paths for item in _below(Path(path))]
    if not items:
        raise InputError(f"no files in {', '.join(str(path) for path in paths)}: give images or folders with images")
    twice = [relative for relative, count in Counter(item.relative for item in items).items() if count > 1]
    if twice:
        raise InputError(f"two inputs would write {twice[0]}: give the folder above them, or run them apart")
    return items


def _below(root: Path) -> list[Item]:
    if not root.exists():
        raise InputError(f"{root} does not exist: check its name")
    if root.is_file():
        return [Item(Path(root.name), (root,))]
    items: list[Item] = []
    closed: list[Path] = []
    been: set[Path] = set()
    walk = os.walk(root, onerror=lambda error: closed.append(Path(error.filename)), followlinks=True)
    for folder, subfolders, names in walk:
        been.add(Path(folder).resolve())
        visible = (name for name in sorted(subfolders) if not name.startswith("."))
        subfolders[:] = [name for name in visible if Path(folder, name).resolve() not in been]  # links may go round
        files = [Path(folder, name) for name in sorted(names) if not name.startswith(".")]
        items += _in_folder([path for path in files if not _never_ends(path)], root)
    return items + [Item(_place(path, root), (path,)) for path in closed]


def _never_ends(path: Path) -> bool:
    """Whether reading would wait for ever: a pipe, a socket or a device."""
    return path.exists() and not path.is_file()


def _place(path: Path, root: Path) -> Path:
    """The path below the root, or the root's own name."""
    return Path(root.resolve().name) if path == root else path.relative_to(root)


def _in_folder(files: Sequence[Path], root: Path) -> list[Item]:
    """The items of the files of one folder; a series alone in its folder takes the folder's place."""
    outlines = {path: _outline(path) for path in files}
    images = [path for path in files if not _is_aside(path, files, outlines[path])]
    grouped: dict[str, list[Path]] = defaultdict(list)
    for path in images:
        if (found := outlines[path]) and found.placed:
            grouped[found.series].append(path)
    series = [group for group in grouped.values() if _is_series([outlines[path] for path in group])]
    together = {path for group in series for path in group}
    alone = len(series) == 1 and len(together) == len(images)
    items = [
        Item(_series_place(group, outlines, root, alone, number), tuple(group)) for number, group in enumerate(series)
    ]
    items += [Item(path.relative_to(root), (path,)) for path in images if path not in together]
    return sorted(items, key=lambda item: item.paths)


def _outline(path: Path) -> Outline | None:
    try:
        return outline(path) if is_dicom(path) else None
    except OSError:
        return None  # stays an item: reading it says why it cannot be used


def _is_aside(path: Path, files: Iterable[Path], found: Outline | None) -> bool:
    """Whether a file only goes with others: a run's record, a NIfTI sidecar, a DICOMDIR."""
    if path.name in ("run.json", "DICOMDIR") or (found is not None and found.directory):
        return True
    beside = {sidecar_path(other) for other in files if stem(other.name) != other.name}
    return path in beside


def _is_series(group: Sequence[Outline | None]) -> bool:
    instances = [found.instance for found in group if found]
    return len(instances) > 1 and len(set(instances)) == len(instances)


def _series_place(
    group: Sequence[Path], outlines: dict[Path, Outline | None], root: Path, alone: bool, number: int
) -> Path:
    folder = group[0].parent
    if alone:
        return _place(folder, root)
    found = outlines[group[0]]
    return folder.relative_to(root) / f"series-{(found.number if found else None) or 0}-{number}"
