"""Search for images and DICOM series, their formats, and the names of their outputs."""

import contextlib
import os
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from latentsr.config import sha256_json
from latentsr.errors import InputError, NotAnImageError, OptionError
from latentsr.io import bids, dicom, formats, nifti
from latentsr.io.dicom.geometry import is_placed, stacks
from latentsr.io.dicom.header import MAGIC, PREAMBLE, Outline, indexed, outline
from latentsr.io.nifti import sidecar_path, stem
from latentsr.io.raster import JPEG_SUFFIXES, PNG_SUFFIXES, TIFF_SUFFIXES
from latentsr.job import check_writable, run_folder, unwritable


@dataclass(frozen=True)
class Item:
    """One image or stack of slices: where it lies below the given path (its output mirrors that), and its files.

    `series_digest` is that of all instances that were found of its DICOM series, for the identity of the derived one;
    `enhanced` whether it is an enhanced MR, CT or PET object, whose frames can become files.
    """

    relative: Path
    paths: tuple[Path, ...]
    series_digest: str = ""
    enhanced: bool = False

    @property
    def series(self) -> bool:
        """Whether it is a stack of several DICOM files."""
        return len(self.paths) > 1

    @property
    def sources(self) -> tuple[Path, ...]:
        """Its files, those of voxels that a header names, and texts beside a NIfTI file of which something is taken."""
        named = ((path, stem(path.name)) for path in self.paths)
        return (
            *self.paths,
            *_voxels(self.paths),
            *(text for path, name in named if name != path.name for text in bids.texts(path, name)),
        )

    @property
    def size(self) -> int:
        """Bytes of its files, of those that are still there."""
        return sum(path.stat().st_size for path in self.sources if path.is_file())

    def __repr__(self) -> str:
        return f"Item({len(self.paths)} file{'s' if self.series else ''})"  # no path: folders are named after patients


def find(paths: Sequence[Path]) -> list[Item]:
    """The items of files and folders, in the order of their paths.

    A file is one item; a DICOMDIR is one, and so is what it lists. A folder is walked: different DICOM instances in one
    folder, or in one DICOMDIR, that share a series, have a position in the patient and fit together (`geometry.stacks`)
    are one item; every other file is one. Hidden files, NIfTI sidecars and the voxels of detached headers are none. A
    folder that cannot be listed, or that lies beside the raw data of a BIDS dataset (`bids.ASIDE`), is an item, so that
    reading it raises the reason.
    InputError where a path does not exist, no file is found, or two items would write the same output.
    """
    check_paths(paths)
    outlines: dict[Path, Outline | None] = {}
    items = [item for path in paths for item in _below(Path(path), outlines)]
    if not items:
        raise InputError(f"no files in {', '.join(str(path) for path in paths)}: give images or folders with images")
    written = (item.relative for item in items if _holds_an_image(item.paths[0], outlines.get(item.paths[0])))
    if twice := [relative for relative, count in Counter(written).items() if count > 1]:
        raise InputError(f"two inputs would write {twice[0]}: give the folder above them, or run them apart")

    # For each DICOM file the digest of all instances found of its series.
    series: dict[tuple[str, ...], dict[Path, str]] = defaultdict(dict)
    for path, found in outlines.items():
        if found:
            owner = (str(found.header.get(keyword)) for keyword in ("PatientID", "StudyInstanceUID"))
            series[*owner, found.series][path] = found.instance
    digests: dict[Path, str] = {}
    for key, group in series.items():
        digests |= dict.fromkeys(group, sha256_json([key, sorted(set(group.values()))]))
    enhanced = {path for path, found in outlines.items() if found and found.enhanced}
    return [
        replace(item, series_digest=digests.get(item.paths[0], ""), enhanced=item.paths[0] in enhanced)
        for item in items
    ]


def check_paths(paths: Sequence[Path]) -> None:
    """InputError for a path that does not exist."""
    for path in paths:
        if not Path(path).exists():
            raise InputError(f"{path} does not exist: check its name")


def check_places(paths: Sequence[Path], out: Path, *, dry_run: bool = False) -> None:
    """Raises what is wrong with the places of a job whatever the images and the model; before that is loaded.

    Raises:
        OptionError: an output folder that is a file, the root or a broken link, lies inside an input, or cannot be
            written, which a dry run need not
        InputError: a path that does not exist
    """
    check_paths(paths)
    try:
        if not out.resolve().name:
            raise OptionError(f"output {out}: is the root of the disk; give a folder below it")
        places = out, run_folder(out)
        if not out.is_dir() and (out.exists() or out.name.lower().endswith(SUFFIXES)):
            what = "is the name of a file; give a folder, outputs keep the names of their inputs"
            raise OptionError(f"output {out}: {what}")
        for path in paths:
            if path.is_dir() and any(place.resolve().is_relative_to(path.resolve()) for place in places):
                raise OptionError(f"output {out}: lies inside the input {path}; choose a folder outside it")
        for place in places:
            there = next(one for one in (place, *place.absolute().parents) if one.is_symlink() or one.exists())
            if not there.exists():
                raise OptionError(f"{there}: is a link to what does not exist; make that folder, or choose another one")
            if not (dry_run and there.is_dir()):
                check_writable(there)
    except OSError as error:  # of a folder that may not be searched, or a name that is too long
        raise unwritable(out, error) from error


def _below(root: Path, outlines: dict[Path, Outline | None]) -> list[Item]:
    """The items of a file or folder, whose outlines are added to the others."""
    files, closed = [root], list[Path]()
    if root.is_file():
        outlines[root] = outline(root)
        if not _is_index(root, outlines):
            return [Item(Path(root.name), (root,))]
        files += _listed(root)
        root = root.parent
    else:
        files = []
        visited = set(root.resolve().parents)  # a link to a folder above would bring all that lies there
        walk = os.walk(root, onerror=lambda error: closed.append(Path(error.filename)), followlinks=True)
        for folder, subfolders, names in walk:
            visited.add(Path(folder).resolve())
            visible = (name for name in sorted(subfolders) if not name.startswith("."))
            # links may be cyclic
            subfolders[:] = [name for name in visible if Path(folder, name).resolve() not in visited]
            if bids.DESCRIPTION in names:
                closed += [Path(folder, name) for name in subfolders if name in bids.ASIDE]
                subfolders[:] = [name for name in subfolders if name not in bids.ASIDE]
            found = (Path(folder, name) for name in sorted(names) if not name.startswith("."))
            files += [path for path in found if path.is_file() or not path.exists()]  # broken links raise when read
    outlines.update({path: outline(path) for path in files if path not in outlines})
    return [*_grouped(files, outlines, root), *(Item(_place(path, root), (path,)) for path in closed)]


def _place(path: Path, root: Path) -> Path:
    """The path below the root, or the root's own name."""
    return Path(root.resolve().name) if path == root else path.relative_to(root)


def _is_index(path: Path, outlines: Mapping[Path, Outline | None]) -> bool:
    return (found := outlines[path]) is not None and found.directory


def _listed(index: Path) -> list[Path]:
    """The files that a DICOMDIR lists; none of one that is malformed, which reading it says."""
    try:
        return indexed(index)[0]
    except InputError:
        return []


def _grouped(files: Sequence[Path], outlines: Mapping[Path, Outline | None], root: Path) -> list[Item]:
    """The items of files: stacks are of those in one folder, or of all that a DICOMDIR lists.

    A stack takes the place of the folder that holds it, if no other image lies there or below.
    """
    # The DICOMDIR or else the folder that each file is of.
    owners = {file: path for path in files if _is_index(path, outlines) for file in _listed(path)}
    pools: dict[Path, list[Path]] = defaultdict(list)
    for path in files:
        pools[owners.get(path, path.parent)].append(path)
    # What a header names and what is an image by itself is an item of its own, too.
    voxels = {path for path in _voxels(files) if not outlines.get(path) and not path.name.lower().endswith(SUFFIXES)}
    sidecars = {sidecar_path(path) for path in files if stem(path.name) != path.name} | voxels
    Group = tuple[tuple[Path, ...], int | None]  # what is together, and of a stack the number of its series
    groups: list[list[Group]] = []  # of each pool
    for pool in pools.values():
        rest: list[Path] = []
        series: dict[str, dict[Path, Outline]] = defaultdict(dict)
        instances: set[tuple[str, str]] = set()
        for path in sorted(path for path in pool if path not in sidecars):
            found = outlines[path]
            if found and found.single and is_placed(found.header) and (found.series, found.instance) not in instances:
                series[found.series][path] = found
                instances.add((found.series, found.instance))
            else:
                rest.append(path)  # a copy of an instance is an item of its own
        together: list[Group] = [((path,), None) for path in rest]
        for members in series.values():
            apart = stacks({path: member.header for path, member in members.items()})
            together += [(tuple(paths), members[paths[0]].number if len(paths) > 1 else None) for paths in apart]
        groups.append(together)

    images = Counter[Path]()  # in each folder and below, where that matters
    if any(number is not None for group in groups for _, number in group):
        for path in files:
            if path not in sidecars and _holds_an_image(path, outlines[path]):
                images.update(path.parents)
    items: list[Item] = []
    named = Counter[Path]()
    for group in groups:
        found_items = []
        for paths, number in group:
            folder = Path(os.path.commonpath([path.parent for path in paths]))
            if number is None:
                place = paths[0].relative_to(root)
            elif images[folder] == len(paths):
                place = _place(folder, root)
            else:
                place = folder.relative_to(root) / f"series-{number}-{named[folder]}"
                named[folder] += 1
            found_items.append(Item(place, paths))
        items += sorted(found_items, key=lambda item: item.paths)
    return items


def _voxels(paths: Sequence[Path]) -> list[Path]:
    """The files with the voxels of detached headers among these; of a broken one none, which reading it says."""
    found = []
    for path in paths:
        with contextlib.suppress(InputError, OSError):
            found += [formats.data_file(path)] if path.suffix.lower() in formats.DETACHED else []
    return found


def _holds_an_image(path: Path, found: Outline | None) -> bool:
    """Whether a file may get an output: a README or a structured report beside a series does not."""
    if found:
        return "Rows" in found.header
    try:
        return bool(kind_of(path))
    except InputError:
        return False


SUFFIXES = (
    *dicom.SUFFIXES, *nifti.SUFFIXES, *formats.SUFFIXES, *PNG_SUFFIXES, *TIFF_SUFFIXES, *JPEG_SUFFIXES,
)  # fmt: skip
FileKind = Literal["dicom", "nifti", "mgh", "itk", "png", "tiff", "jpeg"]
_BIDS = re.compile(r"(?P<entities>sub-[A-Za-z0-9]+(?:_[a-z]+-[A-Za-z0-9]+)*)_(?P<suffix>[A-Za-z0-9]+)")

_STARTS: Mapping[FileKind, tuple[bytes, ...]] = {
    "png": (b"\x89PNG\r\n\x1a\n",),
    "jpeg": (b"\xff\xd8\xff",),
    "tiff": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
}


def kind_of(path: Path) -> FileKind:
    """The format of a file, by its first bytes or, for volumes other than DICOM, by its name.

    Raises:
        NotAnImageError: neither the content nor the name is that of an image: a text, a table, Thumbs.db
        InputError: the file is named like an image but does not begin like one, or cannot be opened; a description of
            a BIDS dataset that cannot be read
    """
    if path.name in bids.ASIDE and path.is_dir():
        raise NotAnImageError(f"{path} is no part of the BIDS dataset that holds it: give it by itself")
    if path.name == bids.DESCRIPTION:
        bids.read_object(path)  # one that is broken has no derivative: a failure, and not a text that is skipped
    try:
        with path.open("rb") as file:
            start = file.read(PREAMBLE)
    except OSError as error:
        raise unreadable(path, error) from error
    if start.endswith(MAGIC) and len(start) == PREAMBLE:
        return "dicom"
    for kind, starts in _STARTS.items():
        if start.startswith(starts):
            return kind
    name = path.name.lower()
    by_name: Mapping[FileKind, tuple[str, ...]] = {
        "nifti": nifti.SUFFIXES, "mgh": formats.MGH_SUFFIXES, "itk": (*formats.ITK_SUFFIXES, *formats.DETACHED),
    }  # fmt: skip
    for kind, suffixes in by_name.items():
        if name.endswith(suffixes):
            return kind
    if not name.endswith(SUFFIXES):
        raise NotAnImageError(f"{path} holds no image: expected DICOM, NIfTI, MGH, NRRD, MHA, PNG, TIFF or JPEG")
    if not start:
        raise InputError(f"{path} is empty: copy or export it again")
    if name.endswith(dicom.SUFFIXES):
        raise InputError(f"{path} has no DICOM preamble: export it again as a DICOM Part 10 file")
    raise InputError(
        f"{path} is no image that can be read: it does not begin as its name says, copy or export it again"
    )


def output_name(relative: Path, kind: str, scale: int, *, series: bool = False, split: bool = False) -> Path:
    """The path of an item's output below the output folder: the item's own path with the extension of its kind.

    `series`: the item is a folder of DICOM files, which keeps its name; `split`: its frames become one, named _frames.
    NIfTI with a BIDS name gets that of a BIDS derivative, such as sub-01_res-4x_desc-latentsr_T1w.nii.gz, with
    res-throughplane where the scale is 1. What comes from a JPEG is a PNG, which loses nothing; .nhdr and .mhd become
    .nrrd and .mha.
    """
    name = relative.name
    if series:
        return relative
    if split:
        ending = next((suffix for suffix in dicom.SUFFIXES if name.lower().endswith(suffix)), "")
        return relative.with_name(f"{name[: len(name) - len(ending)]}_frames")
    if kind == "dicom":
        return relative.with_name(dicom.with_suffix(name))
    if kind == "nifti":
        if not (bids := _BIDS.fullmatch(stem(name))):
            return relative
        entities = [entity for entity in bids["entities"].split("_") if not entity.startswith(("res-", "desc-"))]
        finer = f"res-{scale}x" if scale > 1 else "res-throughplane"
        derived = "_".join([*entities, finer, "desc-latentsr", bids["suffix"]])
        return relative.with_name(derived + name[len(stem(name)) :])
    if kind in ("mgh", "itk"):
        return relative.with_suffix(formats.DETACHED.get(relative.suffix.lower(), relative.suffix))
    suffixes = TIFF_SUFFIXES if kind == "tiff" else PNG_SUFFIXES
    return relative if name.lower().endswith(suffixes) else relative.with_name(name + suffixes[0])


def uncertainty_name(output: Path, kind: str, word: str = "uncertainty") -> Path:
    """The path of an output's map: beside it, named _uncertainty or by another word; a folder for a DICOM series."""
    name = output.name
    if kind == "dicom":
        known = next((suffix for suffix in dicom.SUFFIXES if name.lower().endswith(suffix)), "")
        return output.with_name(f"{name[: len(name) - len(known)]}_{word}{'.dcm' if known else ''}")
    if kind == "nifti":
        plain = stem(name)
        marked = plain.replace("_desc-latentsr_", f"_desc-latentsr{word.capitalize()}_")
        return output.with_name((marked if marked != plain else f"{plain}_{word}") + name[len(plain) :])
    return output.with_name(f"{output.stem}_{word}{output.suffix if kind in ('mgh', 'itk') else '.tif'}")


def refuse_source(output: Path, inputs: Sequence[Path]) -> None:
    """Raises InputError where an output would replace an input or the folder that holds it."""
    files = [path.resolve() for path in inputs]
    if output.resolve() in (*files, *(path.parent for path in files)):
        raise InputError(f"{output} is the source itself: choose another output folder")


def unreadable(path: Path, error: OSError) -> InputError:
    """The error for a file or folder that the system refuses to open."""
    reason = error.strerror or type(error).__name__
    return InputError(f"{path} cannot be read ({reason}): check its name and permissions")
