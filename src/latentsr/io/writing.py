"""Writing: a Volume goes back into the kind of file that it came from, whole and never over its source."""

from pathlib import Path

import numpy as np

from latentsr.errors import InputError
from latentsr.io import dicom, dicom_parametric, nifti, raster
from latentsr.io.atomic import refuse_existing
from latentsr.io.dicom_grid import affine
from latentsr.provenance import WITHOUT_MODEL, Provenance
from latentsr.volume import Volume


def write(
    volume: Volume, path: Path | str, *, provenance: Provenance | None, overwrite: bool = False
) -> tuple[Path, ...]:
    """Writes a volume and gives the files that were made; the path's ending says which format.

    .png and .tif: one slice at the source's depth. .nii and .nii.gz: float32 and a JSON sidecar. Any other: DICOM, a
    folder for a series. `provenance` is None only where no model touched the pixels.

    Raises:
        StaleError: the path exists and may not be overwritten
        InputError: the format cannot hold the volume, or the path is its source
        LatentSRError: the disk refuses
    """
    path = Path(path)
    _refuse(volume, path, overwrite)
    if path.name.lower().endswith((*raster.PNG_SUFFIXES, *raster.TIFF_SUFFIXES)):
        return _write_raster(volume, path, provenance)
    if path.name.lower().endswith(nifti.SUFFIXES):
        return nifti.write(volume, path, provenance=provenance, affine=_affine(volume))
    return dicom.write(volume, path, provenance=provenance)


def write_uncertainty(
    spread: Volume, path: Path | str, *, provenance: Provenance | None, overwrite: bool = False
) -> tuple[Path, ...]:
    """Writes a map of spread, in the volume's physical units, and gives the files that were made.

    From DICOM: a parametric map where the source says where it lies in the patient, and always a NIfTI of the same
    name. From NIfTI: NIfTI. From others: TIFF. All float32.
    """
    path = Path(path)
    _refuse(spread, path, overwrite)
    if not np.isfinite(spread.pixels).all():
        raise InputError("the uncertainty map holds NaN or infinite pixels: it is not written; report the model")
    if spread.source.kind == "dicom":
        return _write_dicom_map(spread, path, provenance)
    if spread.source.kind == "nifti":
        return nifti.write(spread, path, provenance=provenance)
    raster.write_pixels(path, _one_slice(spread), (provenance or WITHOUT_MODEL).text(spread.scale))
    return (path,)


def _write_dicom_map(spread: Volume, path: Path, provenance: Provenance | None) -> tuple[Path, ...]:
    plain = path.with_name(path.name.removesuffix(".dcm") + ".nii.gz")
    written = nifti.write(spread, plain, provenance=provenance, affine=_affine(spread))
    if not dicom_parametric.can_map(spread):
        return written
    dicom_parametric.write_map(spread, path, provenance=provenance)
    return path, *written


def _write_raster(volume: Volume, path: Path, provenance: Provenance | None) -> tuple[Path, ...]:
    """Whole numbers at the source's depth; an image from elsewhere is a 16-bit picture of its window."""
    text = (provenance or WITHOUT_MODEL).text(volume.scale)
    pixels = _one_slice(volume)
    if isinstance(volume.source.header, raster.RasterHeader):
        dtype = np.dtype(volume.source.header.dtype)
    else:
        dtype = np.dtype(np.uint16)
        pixels = volume.window.apply(pixels) * np.iinfo(dtype).max
        text["latentsr:window"] = f"{volume.window.low:g} {volume.window.high:g}"
    limits = np.iinfo(dtype)
    raster.write_pixels(path, np.clip(np.rint(pixels), limits.min, limits.max).astype(dtype), text)
    return (path,)


def _one_slice(volume: Volume) -> np.ndarray:
    if len(volume.pixels) != 1:
        raise InputError(f"{len(volume.pixels)} slices do not fit into one PNG or TIFF: write .nii.gz or DICOM")
    return volume.pixels[0]


def _affine(volume: Volume) -> np.ndarray | None:
    return affine(volume.source.header) if volume.source.kind == "dicom" else None


def _refuse(volume: Volume, path: Path, overwrite: bool) -> None:
    """Refuses to write over the source, and over an existing output unless asked to."""
    sources = [source.resolve() for source in volume.source.paths]
    if path.resolve() in sources or any(path.resolve() == source.parent for source in sources):
        raise InputError(f"{path} is the source itself: choose another output folder")
    refuse_existing(path, overwrite)
