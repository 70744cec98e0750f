"""NIfTI: images of two to four dimensions in their physical values, geometry kept to the voxel centre."""

import contextlib
import gzip
import json
import logging
import math
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from io import BufferedIOBase, BytesIO
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any, NamedTuple

import nibabel
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from latentsr.atomic import replacing, write_bytes
from latentsr.errors import InputError, OptionError
from latentsr.io import bids
from latentsr.io.dicom.geometry import SAME_B_VALUE, alike
from latentsr.provenance import MAPS, WITHOUT_MODEL, Provenance
from latentsr.volume import MAX_PIXELS, Pixels, Source, Volume, Window, first_pixel_shift, let_go

SUFFIXES = (".nii", ".nii.gz")

_SILENT = logging.Logger("nibabel", logging.CRITICAL + 1)  # for what nibabel mends in headers
_EXTENSIONS = 2**26  # bytes between header and voxels that are skipped
_DEFLATE = 1032  # the most bytes that one byte of gzip can become (zlib's technical details)
_CHUNK = 2**20  # voxels converted at a time
# Near-isotropic 3D sequences have slices up to 1.3 times as thick as their pixels are wide, and no plane of their own;
# the slices of 2D sequences are twice as thick or more.
_COARSER = 1.5


class NiftiHeader(NamedTuple):
    """The grid of a NIfTI file, or of one that `latentsr.io.formats` reads.

    `fields` is its header, `affine` maps (column, row, slice, 1) to mm in the patient where `placed`, `axis` of the
    stored array counts the slices. `volumes`, such as points in time, follow each other, slice by slice. `metadata` is
    what the JSON files beside it say, and `gradients` are the texts of a diffusion series.
    """

    fields: Any
    affine: NDArray[np.float64]
    dimensions: int
    axis: int
    placed: bool = True
    volumes: int = 1
    metadata: Mapping[str, Any] = MappingProxyType({})
    gradients: tuple[Path, ...] = ()


def read(path: Path, *, constant: bool = False, axis: int | None = None, max_pixels: int = MAX_PIXELS) -> Volume:
    """The volume of a single file of NIfTI-1 or NIfTI-2, 2D to 4D; values as of nibabel's `get_fdata`, in float32.

    Of the array's axes (i, j, k) the slice axis (`axis`, or that of `slice_axis`) comes first, then the rows, then the
    columns: (k, j, i), (j, k, i) or (i, k, j). The slices of a first point in time come before those of the next one.
    Volumes have one window, but where a .bval file tells b-values apart one for each of these. The file is read to its
    end, so that gzip's checksum is compared.

    Raises:
        InputError: a header that breaks the standard, colour or complex voxels, or a file that is not whole
        OptionError: no such axis
    """
    packed = path.suffix.lower() == ".gz"
    try:
        with gzip.open(path) if packed else path.open("rb") as stream:
            fields, remarks = _header(stream, path)
            shape, sizes = fields.get_data_shape(), (*fields.get_zooms(), 1.0)[:3]
            refuse_unfit(shape, fields.get_data_dtype(), path, max_pixels)
            forms = [fields.get_best_affine(), fields.get_qform() if fields["qform_code"] > 0 else np.eye(4)]
            if not np.isfinite(forms).all():
                raise InputError(f"{path} has an affine that is not finite: mend its header")
            axis, choice = slice_axis(shape, sizes, axis, path, told=fields.get_dim_info()[2])
            values = _values(stream, fields, path, path.stat().st_size * (_DEFLATE if packed else 1))
    except (OSError, EOFError, zlib.error) as error:
        broken = f"{path} is not a whole NIfTI file, it is cut off or corrupt: copy or export it again"
        raise InputError(broken) from error
    pixels, volumes = cut(values, axis), values.shape[3]
    column, row = in_plane(axis)
    placed = max(int(fields[f"{form}_code"]) for form in ("sform", "qform")) > 0
    header = NiftiHeader(
        fields, np.array(fields.get_best_affine(), np.float64)[:, [column, row, axis, 3]],
        4 if volumes > 1 else min(len(shape), 3), axis, placed, volumes,
    )  # fmt: skip
    remarks, windows, name = (*remarks, *choice), tuple[Window, ...](), stem(path.name)
    try:
        header = header._replace(metadata=bids.metadata(path, name))
        b_values = bids.b_values(path, name)
        if b_values and len(b_values) != volumes:
            raise InputError(f"{len(b_values)} b-values for {volumes} volumes")
        if b_values:
            found = (bids.beside(path, name, extension)[-1:] for extension in bids.GRADIENTS)
            header = header._replace(gradients=tuple(text for texts in found for text in texts))
            kinds = np.array(alike(b_values, *SAME_B_VALUE)).repeat(len(pixels) // volumes)
            apart = {kind: Window.of(pixels[kinds == kind], constant=True) for kind in sorted({*kinds.tolist()})}
            windows = tuple(apart[kind] for kind in kinds.tolist()) if len(apart) > 1 else ()
    except InputError:
        remarks += ("a text beside it (JSON or bval) cannot be read or does not fit: it is not carried over",)
    source = Source("nifti", (path,), header, warnings=remarks, windows=windows)
    spacing = float(fields.get_zooms()[row]), float(fields.get_zooms()[column])
    return Volume(pixels, spacing, Window.of(pixels, constant=constant), source)


def write(
    volume: Volume, path: Path, *, provenance: Provenance | None, affine: NDArray[Any] | None = None
) -> tuple[Path, ...]:
    """Writes float32 with a fresh header (the source's integer type would quantise) and a JSON sidecar.

    `affine` places the source's grid where the volume does not come from NIfTI.
    """
    made_by = provenance or WITHOUT_MODEL
    axis = volume.source.header.axis if volume.source.kind == "nifti" else 2
    try:
        fields = _fields(volume, affine)
    except HeaderDataError as error:
        size = max(volume.pixels.shape)
        raise InputError(f"{path}: {size} voxels along an axis: NIfTI-1 holds 32767, convert to NIfTI-2") from error
    finer = f"x{volume.scale}" if volume.slice_distance is None else f"slices every {volume.slice_distance:g} mm"
    fields["descrip"] = f"latentsr {made_by.version} {finer}; research use only".encode()[:79]

    def content(part: Path) -> None:
        with part.open("wb") as file:
            if path.suffix.lower() == ".gz":
                with gzip.GzipFile("", "wb", compresslevel=6, fileobj=file, mtime=0) as packed:
                    _write_voxels(packed, fields, volume, axis)
            else:
                _write_voxels(file, fields, volume, axis)

    header, texts = volume.source.header, dict[str, bytes]()
    if isinstance(header, NiftiHeader) and made_by.image not in MAPS:
        texts = {stem(path.name) + text.suffix: text.read_bytes() for text in header.gradients}
    return put(path, content, sidecar_path(path), volume, made_by, texts)


def put(
    path: Path, content: Callable[[Path], None], sidecar: Path, volume: Volume, made_by: Provenance,
    texts: Mapping[str, bytes],
) -> tuple[Path, ...]:  # fmt: skip
    """Writes an image, its JSON sidecar and other texts beside it by their names, and gives the paths of all.

    `content` writes the image itself. The sidecar has the metadata of a BIDS derivative: the source's own, except of a
    map, and what was done.
    """
    spacing = " x ".join(f"{value:g}" for value in volume.spacing) + " mm" if volume.spacing else "unknown spacing"
    header = volume.source.header
    facts = dict(header.metadata) if isinstance(header, NiftiHeader) and made_by.image not in MAPS else {}
    if volume.slice_distance is not None:
        facts.pop("SliceTiming", None)
        facts |= {name: volume.slice_distance for name in ("SliceThickness", "SpacingBetweenSlices") if name in facts}
    earlier = facts.get("GeneratedBy")
    note = made_by.note(volume.scale)
    facts |= {
        **made_by.text(volume.scale),
        "GeneratedBy": [
            {"Name": "latentsr", "Version": made_by.version, "Description": note},
            *(earlier if isinstance(earlier, list) else []),
        ],
        "Resolution": f"{spacing} in plane, "
        + (
            f"{volume.scale} times finer than the source"
            if volume.slice_distance is None
            else f"slices every {volume.slice_distance:g} mm"
        ),
        "Sources": [file.name for file in volume.source.paths],
    }
    facts_text = (json.dumps(facts, indent=2, sort_keys=True) + "\n").encode()
    beside = {sidecar: facts_text, **{path.with_name(name): found for name, found in texts.items()}}
    with contextlib.ExitStack() as stack:  # renamed last: where the image exists, what belongs to it does
        content(stack.enter_context(replacing(path, over_folder=True)))
        for target, found in beside.items():
            write_bytes(stack.enter_context(replacing(target, over_folder=True)), found)
    return path, *beside


def slices(path: Path, axis: int) -> tuple[int, Callable[[int], Pixels], Callable[[int], NDArray[np.float64] | None]]:
    """How many slices along `axis` a file that `write` made has, and what gives one of them in the order of `read`.

    The one its pixels, the other its grid as of `plane_of`, None where the file places nothing. InputError where
    nothing can be read there.
    """
    try:
        image: Any = nibabel.load(path, mmap=False)
    except (OSError, ImageFileError) as error:
        raise InputError(f"{path} is no longer what was written: set the option overwrite") from error
    along = (*image.shape, 1)[axis]
    count = along * math.prod(image.shape[3:])

    def one(number: int) -> Pixels:
        volume, place = divmod(number, along)
        part: list[int | slice] = [slice(None)] * min(len(image.shape), 3)
        if axis < len(part):
            part[axis] = place
        try:
            values = image.dataobj[(*part, volume) if len(image.shape) > 3 else tuple(part)]
        except (OSError, EOFError, zlib.error) as error:
            raise InputError(f"{path} is cut off or corrupt: set the option overwrite") from error
        return np.asarray(values, np.float32).T

    def grid(number: int) -> NDArray[np.float64] | None:
        placed = max(int(image.header[f"{form}_code"]) for form in ("sform", "qform")) > 0
        return plane_of(image.affine[:, [*in_plane(axis), axis, 3]], number % along) if placed else None

    return count, one, grid


def plane_of(affine: NDArray[Any], place: int) -> NDArray[np.float64]:
    """The steps to the next column and row of a slice, and its first pixel's centre, (3, 3).

    In mm to the left, posterior and superior, of an affine from (column, row, slice) to NIfTI's axes.
    """
    columns = np.diag([-1.0, -1.0, 1.0]) @ np.asarray(affine, np.float64)[:3]
    return np.array([columns[:, 0], columns[:, 1], columns[:, 2] * place + columns[:, 3]])


def finer_affine(affine: NDArray[Any], scale: int, axes: tuple[int, int] = (0, 1)) -> NDArray[np.float64]:
    """The affine of a grid `scale` times finer along the two in-plane axes over the same field of view.

    A' = A S, where S divides these axes by the scale and sends their origin to (1/scale - 1)/2, as coordinates are
    voxel centres.
    """
    step = np.eye(4)
    for axis in axes:
        step[axis, axis], step[axis, 3] = 1 / scale, first_pixel_shift(scale)
    return np.asarray(np.asarray(affine, np.float64) @ step)


def sidecar_path(path: Path) -> Path:
    """The JSON file beside an image: BIDS gives it the same name."""
    return path.with_name(stem(path.name) + ".json")


def stem(name: str) -> str:
    """The name without .nii or .nii.gz."""
    return re.sub(r"\.nii(\.gz)?$", "", name, flags=re.IGNORECASE)


def _header(stream: BufferedIOBase, path: Path) -> tuple[Any, tuple[str, ...]]:
    """The header at the start of a file, small faults mended as nibabel does, and warnings about them.

    InputError names a fault that cannot be mended.
    """
    start = stream.read(nibabel.Nifti1Header.sizeof_hdr)
    orders = {int.from_bytes(start[:4], "little"): "<", int.from_bytes(start[:4], "big"): ">"}
    for kind in (nibabel.Nifti1Header, nibabel.Nifti2Header):
        if kind.sizeof_hdr in orders:
            block = start + stream.read(kind.sizeof_hdr - len(start))
            block = block.ljust(kind.sizeof_hdr, b"\0")  # of a cut file: its voxels are missed next
            fields = kind(block, orders[kind.sizeof_hdr], check=False)
            if fields["magic"].item() == kind.single_magic:
                break
    else:
        raise InputError(f"{path} is not NIfTI inside: expected a single .nii or .nii.gz file")
    if fault := _fault(fields):
        raise InputError(f"{path} has a broken NIfTI header, {fault}: mend it or export the file again")
    unset = (fields["pixdim"][1 : fields["dim"][0] + 1][:3] == 0).any()
    try:
        fields.check_fix(_SILENT, error_level=40)
    except HeaderDataError as error:  # of the data type, by number
        raise InputError(f"{path} has a broken NIfTI header, {error}: export the file again") from error
    return fields, ("a voxel size of 0 in the header is taken as 1 mm",) if unset else ()


def _fault(fields: Any) -> str:
    """The first fault in a header that cannot be mended; empty if there is none."""
    dimensions, first = int(fields["dim"][0]), float(fields["vox_offset"])
    sizes, length = fields["pixdim"][1:4], math.hypot(*(float(fields[f"quatern_{axis}"]) for axis in "bcd"))
    slope, intercept = float(fields["scl_slope"]), float(fields["scl_inter"])  # a slope of NaN is none (nibabel)
    if not 1 <= dimensions <= 7:
        return f"{dimensions} dimensions (dim[0])"
    if not fields.single_vox_offset <= first <= fields.single_vox_offset + _EXTENSIONS:
        return f"voxels from byte {first:g} (vox_offset)"
    if not (np.isfinite(sizes).all() and (sizes >= 0).all()):
        return f"voxel sizes of {_times(sizes)} (pixdim)"
    if np.isinf(slope) or (np.isfinite(slope) and slope != 0 and not np.isfinite(intercept)):
        return f"slope {slope:g} and intercept {intercept:g} (scl_slope, scl_inter)"
    if fields["qform_code"] > 0 and not length * length <= 1 + float(fields.quaternion_threshold):
        return f"a quaternion of length {length:g} (quatern_b, c, d)"
    return ""


def refuse_unfit(shape: Sequence[int], kind: np.dtype[Any], path: Path, max_pixels: int) -> None:
    """Raises InputError for an array that is no grey image of two to four dimensions, or a larger one."""
    if kind.kind not in "iuf":
        raise InputError(f"{path} holds colour or complex voxels ({kind}): expected one real number a voxel")
    if len(shape) < 2 or any(size != 1 for size in shape[4:]):
        expected = "expected two or three of space and one of time, split it first"
        raise InputError(f"{path} has {len(shape)} dimensions {tuple(shape)}: {expected}")
    if min(shape) < 1:
        raise InputError(f"{path} has shape {tuple(shape)}: expected at least 2 x 2 pixels and one slice")
    if (pixels := math.prod(shape)) > max_pixels:
        raise InputError(f"{path} claims {pixels} pixels, more than {max_pixels}: raise the option max_pixels")


def slice_axis(
    shape: Sequence[int], sizes: Sequence[float], axis: int | None, path: Path, *, told: int | None = None
) -> tuple[int, tuple[str, ...]]:
    """The axis that counts the slices, and warnings about the choice; `sizes` are those of a voxel along three axes.

    In this order: `axis`, `told` by `dim_info`, the only axis of one voxel, the axis along which voxels are clearly
    longer than along both others, the third. A 2D image is one slice along the third.

    Raises:
        InputError: the axis leaves no plane
        OptionError: no such axis
    """
    if axis not in (None, 0, 1, 2):
        raise OptionError(f"axis {axis}: expected 0, 1 or 2, the axis of a volume that counts its slices")
    flat, shape = len(shape) == 2, (*shape, 1)[:3]
    single = shape.index(1) if shape.count(1) == 1 else None
    thick = int(np.argmax(sizes)) if single is None and max(sizes) > _COARSER * sorted(sizes)[1] else None
    choices = {
        "as it has two axes": 2 if flat else None,
        "as asked for": axis,
        "as dim_info says": told,
        "of one voxel": single,
        f"of voxels of {_times(sizes)}": thick,
        "the third": 2,
    }
    reason, chosen = next((reason, found) for reason, found in choices.items() if found is not None)
    if min(shape[other] for other in in_plane(chosen)) < 2:
        planes = f"shape {shape} and its slices along axis {chosen}"
        raise InputError(f"{path} has {planes}: expected at least 2 x 2 pixels and one slice, or set the option axis")
    if axis is not None or (chosen == 2 and thick in (None, 2)):
        return chosen, ()
    warning = f"slices are taken along axis {chosen}, {reason}"
    if thick not in (None, chosen):
        warning += f", though voxels of {_times(sizes)} are longest along axis {thick}"
    return chosen, (f"{warning}: set the option axis if that is wrong",)


def cut(values: NDArray[Any], axis: int) -> Pixels:
    """The slices (n, rows, columns) of voxels (i, j, k, volumes), those of the first volume first."""
    slices = np.moveaxis(values.T, 3 - axis, 1)
    return np.ascontiguousarray(slices.reshape(-1, *slices.shape[2:]), np.float32)


def joined(pixels: NDArray[Any], header: NiftiHeader) -> NDArray[np.float32]:
    """The voxels of slices, the inverse of `cut`, with as many axes as the header's file has."""
    volumes = np.asarray(pixels, np.float32).reshape(header.volumes, -1, *pixels.shape[1:])
    array = np.moveaxis(volumes, 1, 3 - header.axis).T
    return array if header.dimensions == 4 else array[..., 0] if header.dimensions == 3 else array[:, :, 0, 0]


def in_plane(axis: int) -> tuple[int, int]:
    """The array's axes of columns and rows, in this order, where the slices lie along `axis`."""
    column, row = (other for other in range(3) if other != axis)
    return column, row


def _times(sizes: NDArray[Any] | Sequence[float]) -> str:
    return " x ".join(f"{size:.3g}" for size in sizes)


def _values(stream: BufferedIOBase, fields: Any, path: Path, most: int) -> Pixels:
    """The voxels (i, j, k, volumes) with slope and intercept applied in float64, converted piece by piece.

    InputError unless the file holds exactly what its header claims; `most` bytes is all that it can hold.
    """
    shape, kind = (*fields.get_data_shape(), 1, 1)[:4], fields.get_data_dtype()
    count, skipped = math.prod(shape), int(fields["vox_offset"]) - fields.sizeof_hdr
    slope, intercept = fields.get_slope_inter() if fields.get_slope_inter()[0] is not None else (1.0, 0.0)
    cut = InputError(f"{path} ends before the last of the {shape} voxels of its header: copy or export it again")
    if count * kind.itemsize > most or len(stream.read(skipped)) < skipped:
        raise cut
    pixels = np.empty(count, np.float32)
    for start in range(0, count, _CHUNK):
        piece = pixels[start : start + _CHUNK]
        if len(content := stream.read(piece.size * kind.itemsize)) < piece.size * kind.itemsize:
            raise cut
        with np.errstate(over="ignore", invalid="ignore"):  # what float32 cannot hold becomes infinite and is refused
            piece[:] = np.frombuffer(content, kind).astype(np.float64) * slope + intercept
    if stream.read(1):
        raise InputError(f"{path} holds more data than the {shape} voxels of its header: export it again")
    return pixels.reshape(shape, order="F")


def _write_voxels(file: IO[bytes] | gzip.GzipFile, fields: Any, volume: Volume, axis: int) -> None:
    """Writes header and voxels, the slowest axis of the file first, so that little is in memory where they lie on disk.

    `axis` of the stored array counts the slices.
    """
    fields["magic"], fields["vox_offset"] = fields.single_magic, fields.single_vox_offset
    fields["scl_slope"], fields["scl_inter"] = 1, 0
    fields.write_to(header := BytesIO())
    file.write(header.getvalue().ljust(fields.single_vox_offset, b"\0"))  # no extensions
    header, pixels = volume.source.header, volume.pixels
    slices = len(pixels) // (header.volumes if isinstance(header, NiftiHeader) else 1)
    for first in range(0, len(pixels), slices):
        for one in np.moveaxis(pixels[first : first + slices], 0, 2 - axis):
            file.write(np.ascontiguousarray(one, fields.get_data_dtype()).data)
            let_go(pixels)


def _fields(volume: Volume, affine: NDArray[Any] | None) -> Any:
    """The header of a volume; from NIfTI its geometry is copied field by field, as matrices would lose digits."""
    if volume.source.kind != "nifti":
        row, column = volume.spacing or (1.0, 1.0)
        own = np.diag([column * volume.scale, -row * volume.scale, 1.0, 1.0]) if affine is None else affine
        none = np.broadcast_to(np.float32(0), volume.pixels.T.shape)
        header = nibabel.Nifti1Image(none, finer_affine(own, volume.scale)).header
        header.set_xyzt_units("mm" if volume.spacing else "unknown")
        return header
    source: NiftiHeader = volume.source.header
    shape = np.moveaxis(volume.pixels[: len(volume.pixels) // source.volumes], 0, 2 - source.axis).T.shape
    shape = (*shape, source.volumes)[: source.dimensions]
    fields = source.fields.__class__()
    fields.set_data_dtype(np.float32)
    fields.set_data_shape(shape)
    coarse, axes = source.fields, in_plane(source.axis)
    fields["pixdim"][: len(shape) + 1] = coarse["pixdim"][: len(shape) + 1]
    fields["pixdim"][[axis + 1 for axis in axes]] /= volume.scale
    for name in (
        "xyzt_units", "dim_info", "qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d", "toffset",
        "slice_start", "slice_end", "slice_code", "slice_duration",
    ):  # fmt: skip
        fields[name] = coarse[name]
    if coarse["qform_code"] > 0:
        origin = finer_affine(coarse.get_qform(), volume.scale, axes)[:3, 3]
        fields["qoffset_x"], fields["qoffset_y"], fields["qoffset_z"] = origin
    if coarse["sform_code"] > 0:
        fields["srow_x"], fields["srow_y"], fields["srow_z"] = finer_affine(coarse.get_sform(), volume.scale, axes)[:3]
    return fields
