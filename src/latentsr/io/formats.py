"""MGH and MGZ through nibabel, NRRD and MetaImage (MHA) through SimpleITK: geometry as the file has it, float32 out."""

import gzip
import math
import re
import tempfile
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import nibabel
import numpy as np
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from latentsr.atomic import write_bytes
from latentsr.errors import InputError
from latentsr.io.nifti import NiftiHeader, cut, finer_affine, in_plane, joined, put, refuse_unfit, slice_axis
from latentsr.provenance import WITHOUT_MODEL, Provenance
from latentsr.volume import MAX_PIXELS, Pixels, Source, Volume, Window, first_pixel_shift

MGH_SUFFIXES = (".mgh", ".mgz")
ITK_SUFFIXES = (".nrrd", ".mha")
DETACHED = {".nhdr": ".nrrd", ".mhd": ".mha"}  # headers whose voxels lie in another file, and the format in one
SUFFIXES = (*MGH_SUFFIXES, *ITK_SUFFIXES)

_IMAGE_IO = {".nrrd": "NrrdImageIO", ".nhdr": "NrrdImageIO", ".mha": "MetaImageIO", ".mhd": "MetaImageIO"}
_TEXT = 2**16  # bytes in which the text of a header ends
_ELSEWHERE = {  # what such a text says of voxels in another file
    ".nrrd": re.compile(rb"^data ?file *:", re.IGNORECASE | re.MULTILINE),
    ".mha": re.compile(rb"^ElementDataFile *=(?! *LOCAL\s)", re.MULTILINE),
}
_NAME_OF_DATA = {  # what names that file, and its name
    ".nhdr": (
        re.compile(rb"data ?file", re.IGNORECASE),
        re.compile(rb"(?i:^data ?file) *: *([^=\s].*?)\s*$", re.MULTILINE),
    ),
    ".mhd": (re.compile(rb"ElementDataFile"), re.compile(rb"^\s*ElementDataFile\s*[=:]\s*(.+?)\s*$", re.MULTILINE)),
}
_PACKED = re.compile(
    rb"^(encoding *:(?! *raw)|CompressedData *= *True|BinaryData *= *False)", re.IGNORECASE | re.MULTILINE
)
_OWN_KEYS = ("ITK_", "NRRD_", "Modality")  # beginnings of what ITK makes of a header, and makes anew
_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])  # from ITK's axes, left, posterior, superior


class ItkGrid(NamedTuple):
    """Of each axis the size of a voxel, the first one's centre and the direction (a column); further keys and values.

    Lengths are in mm, axes point to the left, posterior and superior.
    """

    spacing: NDArray[np.float64]
    origin: NDArray[np.float64]
    directions: NDArray[np.float64]
    keys: dict[str, str]


def read(path: Path, *, constant: bool = False, axis: int | None = None, max_pixels: int = MAX_PIXELS) -> Volume:
    """The volume of a file of two to four dimensions, its slices as `latentsr.io.nifti.read` takes them.

    Raises:
        InputError: colour, complex or vector voxels, voxels in another file, a file that is not whole, no SimpleITK
        OptionError: no such axis
    """
    of_itk = path.suffix.lower() in _IMAGE_IO
    try:
        values, sizes, affine, fields, placed = (_from_itk if of_itk else _from_mgh)(path, max_pixels)
    except (OSError, EOFError, ValueError, KeyError, TypeError, RuntimeError, HeaderDataError, zlib.error) as error:
        kind = path.suffix[1:].upper()
        raise InputError(f"{path} is not a whole {kind} file, it is cut off or corrupt: export it again") from error
    if not (np.isfinite(affine).all() and min(sizes) > 0):
        raise InputError(f"{path} has a geometry that is not finite, or voxels of no size: mend its header")
    shape, dimensions = values.shape, values.ndim
    chosen, choice = slice_axis(shape, sizes, axis, path)
    pixels = cut(values.reshape((*shape, 1, 1)[:4]), chosen)
    column, row = in_plane(chosen)
    header = NiftiHeader(
        fields, affine[:, [column, row, chosen, 3]], dimensions, chosen, placed, shape[3] if dimensions == 4 else 1
    )
    source = Source("itk" if of_itk else "mgh", (path,), header, warnings=choice)
    return Volume(pixels, (sizes[row], sizes[column]), Window.of(pixels, constant=constant), source)


def data_file(path: Path) -> Path:
    """The file with the voxels of a detached header, which lies beside it or below.

    InputError where the header names none or several, one elsewhere, or one that is missing: a header from others must
    not have any file of the disk read.
    """
    with path.open("rb") as file:
        text = file.read(_TEXT)
    mark, line = _NAME_OF_DATA[path.suffix.lower()]
    if len(mark.findall(text)) != 1 or len(text) == _TEXT or (named := line.search(text)) is None:
        raise InputError(
            f"{path} names no single file with its voxels: save it as one, {DETACHED[path.suffix.lower()]}"
        )
    name = named[1].decode("utf-8", "replace")
    # What the readers take for a list of files, a pattern of names, standard input or the header itself.
    if set(name) & set("%\0") or name == "-" or name.upper().startswith(("LIST", "LOCAL")):
        raise InputError(f"{path} names {name!a} for its voxels: save it as one, {DETACHED[path.suffix.lower()]}")
    found = path.parent / name
    try:
        inside = not Path(name).is_absolute() and found.resolve().is_relative_to(path.parent.resolve())
    except RuntimeError:  # links in a circle
        inside = False
    if not inside:
        raise InputError(f"{path} names a file outside its folder, {name!a}, for its voxels: put it beside the header")
    if not found.is_file():
        raise InputError(f"{path} names {name!a} for its voxels, which is missing: put it beside the header")
    return found


def write(
    volume: Volume, path: Path, *, provenance: Provenance | None, affine: NDArray[Any] | None = None
) -> tuple[Path, ...]:
    """Writes float32 in the format of the extension, and a JSON sidecar named after the whole file; gives both paths.

    `affine` places the source's grid, as (column, row, slice) to mm in NIfTI's axes, where it is of none of these
    formats.
    """
    made_by, header, axes = provenance or WITHOUT_MODEL, volume.source.header, (0, 1)
    fields: Any = None
    if isinstance(header, NiftiHeader):
        array, axes, fields, coarse = joined(volume.pixels, header), in_plane(header.axis), header.fields, np.eye(4)
        coarse[:, [*axes, header.axis, 3]] = header.affine
    else:
        row, column = volume.spacing or (1.0, 1.0)
        own = np.diag([column * volume.scale, -row * volume.scale, 1.0, 1.0])
        array, coarse = volume.pixels.T, own if affine is None else np.asarray(affine, np.float64)
    fine, note = finer_affine(coarse, volume.scale, axes), made_by.note(volume.scale)
    if path.suffix.lower() in MGH_SUFFIXES:
        kept = fields.copy() if isinstance(fields, nibabel.freesurfer.mghformat.MGHHeader) else None
        image = nibabel.MGHImage(array.reshape((*array.shape, 1)[: max(3, array.ndim)]), fine, kept)
        image.set_data_dtype(np.float32)
        content = image.to_bytes()
        content = gzip.compress(content, compresslevel=6, mtime=0) if path.suffix.lower() == ".mgz" else content
    else:
        dimensions = array.ndim
        if isinstance(fields, ItkGrid):
            origin, spacing, directions = fields.origin.copy(), fields.spacing.copy(), fields.directions
            for axis in axes:
                origin += directions[:, axis] * spacing[axis] * first_pixel_shift(volume.scale)
                spacing[axis] /= volume.scale
        else:
            placed = _TO_RAS @ fine
            spacing, origin, directions = np.ones(dimensions), np.zeros(dimensions), np.eye(dimensions)
            known = min(dimensions, 3)
            spacing[:known] = np.linalg.norm(placed[:3, :known], axis=0)
            origin[:known], directions[:known, :known] = placed[:known, 3], placed[:known, :known] / spacing[:known]
        keys = {**(fields.keys if isinstance(fields, ItkGrid) else {}), "latentsr": note}
        content = _itk_bytes(array, ItkGrid(spacing, origin, directions, keys), path.suffix.lower())
    sidecar = path.with_name(f"{path.name}.json")
    return put(path, lambda part: write_bytes(part, content), sidecar, volume, made_by, {})


Found = tuple[Pixels, tuple[float, ...], NDArray[np.float64], Any, bool]


def _from_mgh(path: Path, max_pixels: int) -> Found:
    """Voxels (i, j, k[, t]), their sizes, the affine to NIfTI's axes, the header, and whether that places them."""
    with gzip.open(path) if path.suffix.lower() == ".mgz" else path.open("rb") as stream:
        image = nibabel.MGHImage.from_stream(stream)
        header, shape = image.header, tuple(int(size) for size in image.header.get_data_shape())
        refuse_unfit(shape, header.get_data_dtype(), path, max_pixels)
        values = image.get_fdata(dtype=np.float32)
        while stream.read(2**20):  # to its end, where gzip's checksum is
            pass
    sizes = tuple(float(size) for size in header.get_zooms()[:3])
    return values, sizes, np.array(image.affine, np.float64), header, bool(header["goodRASFlag"])


def _from_itk(path: Path, max_pixels: int) -> Found:
    """As `_from_mgh`; InputError where SimpleITK is missing or its voxels are not here or no numbers."""
    itk, suffix = _simple_itk(path), path.suffix.lower()
    with path.open("rb") as file:
        text = file.read(_TEXT)
    voxels = data_file(path) if suffix in DETACHED else path
    if voxels == path and _ELSEWHERE[suffix].search(text.partition(b"\n\n")[0] if suffix == ".nrrd" else text):
        raise InputError(f"{path} has its voxels in another file: put them into it, as SimpleITK.WriteImage does")
    reader = itk.ImageFileReader()
    reader.SetImageIO(_IMAGE_IO[suffix])
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    kind, parts = itk.GetPixelIDValueAsString(reader.GetPixelID()), reader.GetNumberOfComponents()
    if parts != 1 or "complex" in kind:
        raise InputError(
            f"{path} holds colour, vector or complex voxels ({kind}, {parts} each): expected one real number a voxel, "
            "save each component, or the grey or magnitude of them, as an image of its own"
        )
    size = tuple(reader.GetSize())
    refuse_unfit(size, np.dtype(np.float32), path, max_pixels)
    try:
        image = reader.Execute()
    except RuntimeError as error:
        if voxels == path:
            raise
        length, needed = voxels.stat().st_size, math.prod(size) * int(kind.partition("-")[0]) // 8
        what = "expected" if length < needed and not _PACKED.search(text) else "which do not give the"
        raise InputError(
            f"{path}: its voxels in {voxels.name} are {length} bytes, {what} {needed} of {' x '.join(map(str, size))} "
            f"voxels of {kind}: cut off or corrupt, copy or export {voxels.name} again"
        ) from error
    values = np.array(itk.GetArrayViewFromImage(image), np.float32).T  # a copy: the view dies with the image
    dimensions, keys = len(size), (key for key in image.GetMetaDataKeys() if not key.startswith(_OWN_KEYS))
    grid = ItkGrid(
        np.array(image.GetSpacing()), np.array(image.GetOrigin()),
        np.array(image.GetDirection()).reshape(dimensions, dimensions), {key: image.GetMetaData(key) for key in keys},
    )  # fmt: skip
    known, affine = min(dimensions, 3), np.eye(4)
    affine[:known, :known] = grid.directions[:known, :known] * grid.spacing[:known]
    affine[:known, 3] = grid.origin[:known]
    placed = suffix in (".mha", ".mhd") or image.HasMetaDataKey("NRRD_space")
    sizes = tuple(float(size) for size in (*grid.spacing[:known], 1.0)[:3])
    return values, sizes, _TO_RAS @ affine, grid, placed


def _itk_bytes(array: NDArray[np.float32], grid: ItkGrid, suffix: str) -> bytes:
    """The file of voxels (i, j, k, ...), compressed."""
    itk = _simple_itk(suffix)
    image = itk.GetImageFromArray(np.ascontiguousarray(array.T), isVector=False)
    image.SetSpacing(grid.spacing.tolist())
    image.SetOrigin(grid.origin.tolist())
    image.SetDirection(grid.directions.ravel().tolist())
    for key, value in grid.keys.items():
        image.SetMetaData(key, value)
    writer = itk.ImageFileWriter()
    writer.SetImageIO(_IMAGE_IO[suffix])
    writer.UseCompressionOn()
    with tempfile.TemporaryDirectory() as folder:  # ITK writes files alone, and may not notice a full disk
        writer.SetFileName(str(Path(folder, f"image{suffix}")))
        writer.Execute(image)
        return Path(folder, f"image{suffix}").read_bytes()


def _simple_itk(what: object) -> Any:
    try:
        import SimpleITK
    except ImportError as error:
        raise InputError(f"{what}: NRRD and MHA need SimpleITK: pip install 'latentsr[formats]'") from error
    SimpleITK.ProcessObject.GlobalWarningDisplayOff()
    return SimpleITK
