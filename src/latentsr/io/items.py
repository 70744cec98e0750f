"""What there is to enhance below the given paths: single images and DICOM series, each with its place in the tree."""

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from latentsr.config import sha256_json
from latentsr.errors import InputError
from latentsr.io.dicom_grid import is_placed
from latentsr.io.dicom_header import Outline, is_dicom, outline
from latentsr.io.dicom_series import stacks
from latentsr.io.kinds import kind_of
from latentsr.io.nifti import sidecar_path, stem

Outlines = Mapping[Path, Outline | None]


@dataclass(frozen=True)
class Item:
    """One image or stack of slices: where it lies below the given path (its output mirrors that), and its files.

    `series_digest` is that of all instances that were found of its DICOM series, for the identity of the derived one.
    """

    relative: Path
    paths: tuple[Path, ...]
    series_digest: str = ""

    @property
    def series(self) -> bool:
        """Whether it is a stack of several DICOM files."""
        return len(self.paths) > 1

    def __repr__(self) -> str:
        return f"Item({len(self.paths)} file{'s' if self.series else ''})"  # no path: folders are named after patients


def find(paths: Sequence[Path]) -> list[Item]:
    """The items of files and folders, in the order of their paths.

    A file is one item. A folder is walked: DICOM files in one folder that share a series, lie at a place in the
    patient, fit into one volume (`dicom_series.stacks`) and are different instances are one item; every other file is
    one. Hidden files, NIfTI sidecars and DICOMDIR are none. A folder that cannot be listed is one too, so
    that reading it says why. InputError where a path does not exist, nothing is found, or two would write the same
    output.
    """
    outlines: dict[Path, Outline | None] = {}
    items = [item for path in paths for item in _below(Path(path), outlines)]
    if not items:
        raise InputError(f"no files in {', '.join(str(path) for path in paths)}: give images or folders with images")
    written = (item.relative for item in items if _holds_an_image(item.paths[0], outlines.get(item.paths[0])))
    if twice := [relative for relative, count in Counter(written).items() if count > 1]:
        raise InputError(f"two inputs would write {twice[0]}: give the folder above them, or run them apart")
    series = _series_digests(outlines)
    return [replace(item, series_digest=series.get(item.paths[0], "")) for item in items]


def _series_digests(outlines: Outlines) -> dict[Path, str]:
    """For each DICOM file the digest of all instances found of its series."""
    series: dict[tuple[str, ...], dict[Path, str]] = defaultdict(dict)
    for path, found in outlines.items():
        if found:
            owner = (str(found.header.get(keyword)) for keyword in ("PatientID", "StudyInstanceUID"))
            series[*owner, found.series][path] = found.instance
    return {path: sha256_json([key, sorted(set(group.values()))]) for key, group in series.items() for path in group}


def _below(root: Path, outlines: dict[Path, Outline | None]) -> list[Item]:
    """The items of a file or folder, whose outlines are added to the others."""
    if not root.exists():
        raise InputError(f"{root} does not exist: check its name")
    if root.is_file():
        outlines[root] = _outline(root)
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
        files = [path for path in files if not _never_ends(path)]
        here = {path: _outline(path) for path in files}
        outlines.update(here)
        items += _in_folder(files, here, root)
    return items + [Item(_place(path, root), (path,)) for path in closed]


def _never_ends(path: Path) -> bool:
    """Whether reading would wait for ever: a pipe, a socket or a device."""
    return path.exists() and not path.is_file()


def _place(path: Path, root: Path) -> Path:
    """The path below the root, or the root's own name."""
    return Path(root.resolve().name) if path == root else path.relative_to(root)


def _in_folder(files: Sequence[Path], outlines: Outlines, root: Path) -> list[Item]:
    """The items of the files of one folder; a stack whose outputs are alone in the folder takes the folder's place."""
    sidecars = {sidecar_path(path) for path in files if stem(path.name) != path.name}
    images = [path for path in files if path not in sidecars and not _is_directory(path, outlines[path])]
    series: dict[str, dict[str, Path]] = defaultdict(dict)
    for path in images:
        if (found := outlines[path]) and is_placed(found.header):
            series[found.series].setdefault(found.instance, path)  # a copy of an instance is an item of its own
    groups = [stack for group in series.values() for stack in _stacks(group.values(), outlines)]
    together = {path for group in groups for path in group}
    rest = [path for path in images if path not in together]
    alone = len(groups) == 1 and not any(_holds_an_image(path, outlines[path]) for path in rest)
    items = [
        Item(_place(group[0].parent, root) if alone else _stack_place(group[0], outlines, root, number), tuple(group))
        for number, group in enumerate(groups)
    ]
    items += [Item(path.relative_to(root), (path,)) for path in rest]
    return sorted(items, key=lambda item: item.paths)


def _outline(path: Path) -> Outline | None:
    try:
        return outline(path) if is_dicom(path) else None
    except OSError:
        return None  # stays an item: reading it says why it cannot be used


def _is_directory(path: Path, found: Outline | None) -> bool:
    return path.name == "DICOMDIR" or (found is not None and found.directory)


def _stacks(paths: Iterable[Path], outlines: Outlines) -> list[list[Path]]:
    """The stacks of several files of one series; a file that fits to no other is an item of its own."""
    headers = {path: found.header for path in paths if (found := outlines[path])}
    return [stack for stack in stacks(headers) if len(stack) > 1]


def _holds_an_image(path: Path, found: Outline | None) -> bool:
    """Whether a file may get an output: a README or a structured report beside a series does not."""
    if found:
        return "Rows" in found.header
    try:
        return bool(kind_of(path))
    except InputError:
        return False


def _stack_place(first: Path, outlines: Outlines, root: Path, number: int) -> Path:
    found = outlines[first]
    return first.parent.relative_to(root) / f"series-{(found.number if found else None) or 0}-{number}"
