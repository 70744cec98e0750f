"""NIfTI: 2D and 3D images in their physical values, geometry kept to the voxel centre."""

import gzip
import json
import logging
import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import nibabel
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from latentsr.errors import InputError
from latentsr.intensity import Pixels, Window
from latentsr.io.atomic import replacing
from latentsr.provenance import WITHOUT_MODEL, Provenance
from latentsr.volume import MAX_PIXELS, Source, Volume, first_pixel_shift

SUFFIXES = (".nii", ".nii.gz")

_UNREADABLE = (
    ImageFileError, HeaderDataError, OSError, EOFError, ValueError, TypeError, KeyError, OverflowError, MemoryError,
    struct.error, zlib.error,
)  # fmt: skip
_BIDS = re.compile(r"(?P<entities>sub-[A-Za-z0-9]+(?:_[a-z]+-[A-Za-z0-9]+)*)_(?P<suffix>[A-Za-z0-9]+)")


class NiftiHeader(NamedTuple):
    """What a NIfTI file says of its grid: `fields` is its header, `affine` maps (i, j, k) to mm."""

    fields: Any
    affine: NDArray[np.float64]
    dimensions: int


def read(path: Path, *, constant: bool = False, axis: int | None = None, max_pixels: int = MAX_PIXELS) -> Volume:
    """The volume of a 2D or 3D image, slope applied; array axes (i, j, k) become (columns, rows, slices).

    `constant` lets an image of one value through.
    """
    try:
        with _quiet():
            image: Any = nibabel.load(path)
            _refuse_unfit(image, path)
            values = image.get_fdata(dtype=np.float64, caching="unchanged")
            header = NiftiHeader(image.header.copy(), np.array(image.affine, np.float64), min(values.ndim, 3))
            widths = [float(width) for width in image.header.get_zooms()[:2]]
    except _UNREADABLE as error:
        raise InputError(
            f"{path} is not a whole NIfTI file ({type(error).__name__}): copy or export it again"
        ) from error
    pixels = _slices(values)
    window = Window.of(pixels, constant=constant)
    return Volume(pixels, (widths[1], widths[0]), window, Source("nifti", (path,), header))


def write(
    volume: Volume, path: Path, *, provenance: Provenance | None, affine: NDArray[Any] | None = None
) -> tuple[Path, ...]:
    """Writes float32 with a fresh header (the source's integer type would quantise) and a JSON sidecar.

    `affine` places the source's grid where the volume does not come from NIfTI.
    """
    made_by = provenance or WITHOUT_MODEL
    image = _image(volume, affine)
    image.header["descrip"] = f"latentsr {made_by.version} x{volume.scale}; research use only".encode()[:79]
    content = image.to_bytes()
    packed = gzip.compress(content, compresslevel=6, mtime=0) if path.suffix == ".gz" else content
    sidecar = sidecar_path(path)
    with replacing(path) as part, replacing(sidecar) as text_part:  # the image last: where it is, all is
        part.write_bytes(packed)
        text_part.write_text(json.dumps(_sidecar(volume, made_by), indent=2, sort_keys=True) + "\n")
    return path, sidecar


def finer_affine(affine: NDArray[Any], scale: int) -> NDArray[np.float64]:
    """The affine of a grid `scale` times finer along the first two axes over the same field of view.

    A' = A diag(1/s, 1/s, 1), and its origin is where A sends [(1/s - 1)/2, (1/s - 1)/2, 0], as coordinates are voxel
    centres.
    """
    shift = first_pixel_shift(scale)
    step = np.diag([1 / scale, 1 / scale, 1.0, 1.0])
    step[:2, 3] = shift
    return np.asarray(np.asarray(affine, np.float64) @ step)


def sidecar_path(path: Path) -> Path:
    """The JSON file beside an image: BIDS gives it the same name."""
    return path.with_name(stem(path.name) + ".json")


def stem(name: str) -> str:
    """The name without .nii or .nii.gz."""
    return re.sub(r"\.nii(\.gz)?$", "", name, flags=re.IGNORECASE)


def output_name(name: str, scale: int) -> str:
    """The BIDS derivative's name for a BIDS name, such as sub-01_res-4x_desc-latentsr_T1w.nii.gz; others unchanged."""
    match = _BIDS.fullmatch(stem(name))
    if match is None:
        return name
    entities = [entity for entity in match["entities"].split("_") if not entity.startswith(("res-", "desc-"))]
    return "_".join([*entities, f"res-{scale}x", "desc-latentsr", match["suffix"]]) + name[len(stem(name)) :]


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps nibabel's remarks on odd headers off the terminal inside the block."""
    logger = logging.getLogger("nibabel.global")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)


def _refuse_unfit(image: Any, path: Path) -> None:
    if not isinstance(image, nibabel.Nifti1Image):
        raise InputError(f"{path} is not NIfTI inside: expected a single .nii or .nii.gz file")
    shape, kind = image.shape, image.get_data_dtype()
    if kind.kind not in "iuf":
        raise InputError(f"{path} holds colour or complex voxels ({kind}): expected one real number a voxel")
    if len(shape) < 2 or any(size != 1 for size in shape[3:]):
        raise InputError(f"{path} has {len(shape)} dimensions {shape}: expected a 2D or 3D image, split it first")
    if 0 in shape or min(shape[:2]) < 2:
        raise InputError(f"{path} has shape {shape}: expected at least 2 x 2 pixels and one slice")
    if not np.isfinite(image.affine).all():
        raise InputError(f"{path} has an affine that is not finite: mend its header")


def _slices(values: NDArray[Any]) -> Pixels:
    cube = values.reshape((*values.shape[:2], -1))
    return np.ascontiguousarray(cube.T, np.float32)


def _image(volume: Volume, affine: NDArray[Any] | None) -> Any:
    array = np.asarray(volume.pixels, np.float32).T
    if volume.source.kind != "nifti":
        row, column = volume.spacing or (1.0, 1.0)
        own = np.diag([column * volume.scale, -row * volume.scale, 1.0, 1.0]) if affine is None else affine
        image = nibabel.Nifti1Image(array, finer_affine(own, volume.scale))
        image.header.set_xyzt_units("mm" if volume.spacing else "unknown")
        return image
    source: NiftiHeader = volume.source.header
    array = array[:, :, 0] if source.dimensions == 2 else array
    fields = source.fields.__class__()
    fields.set_data_dtype(np.float32)
    fields.set_data_shape(array.shape)
    _place(fields, source.fields, volume.scale)
    image_class = nibabel.Nifti2Image if isinstance(fields, nibabel.Nifti2Header) else nibabel.Nifti1Image
    return image_class(array, None, fields)


def _place(fields: Any, source: Any, scale: int) -> None:
    """Copies codes, units, quaternion and matrix field by field, as a detour over matrices would lose digits."""
    fields["pixdim"][:4] = source["pixdim"][:4]
    fields["pixdim"][1:3] /= scale
    fields["xyzt_units"] = source["xyzt_units"]
    for name in ("qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d"):
        fields[name] = source[name]
    if source["qform_code"] > 0:
        fields["qoffset_x"], fields["qoffset_y"], fields["qoffset_z"] = finer_affine(source.get_qform(), scale)[:3, 3]
    if source["sform_code"] > 0:
        fields["srow_x"], fields["srow_y"], fields["srow_z"] = finer_affine(source.get_sform(), scale)[:3]


def _sidecar(volume: Volume, made_by: Provenance) -> dict[str, Any]:
    """BIDS derivative metadata: what it is, from what, by what."""
    spacing = " x ".join(f"{value:g}" for value in volume.spacing) + " mm" if volume.spacing else "unknown spacing"
    return {
        **made_by.text(volume.scale),
        "GeneratedBy": [{"Name": "latentsr", "Version": made_by.version, "Description": made_by.note(volume.scale)}],
        "Resolution": f"{spacing} in plane, {volume.scale} times finer than the source",
        "Sources": [path.name for path in volume.source.paths],
    }
