"""Writing of a Volume in its source's format, atomically and never over the source."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from latentsr.atomic import refuse_existing
from latentsr.errors import InputError
from latentsr.io import dicom, nifti, raster
from latentsr.io.dicom import parametric
from latentsr.io.dicom.grid import affine
from latentsr.io.dicom.series import irregularities
from latentsr.io.items import refuse_source
from latentsr.provenance import UNCERTAINTY, WITHOUT_MODEL, Provenance
from latentsr.volume import Volume


def write(
    volume: Volume, path: Path | str, *, provenance: Provenance | None, overwrite: bool = False
) -> tuple[Path, ...]:
    """Writes a volume in the format of the path's extension and returns the written files.

    .png and .tif: one slice at the source's depth. .nii and .nii.gz: float32 and a JSON sidecar. Any other: DICOM, a
    folder for a series. `provenance` is None only where no model touched the pixels.

    Raises:
        StaleError: the path exists and may not be overwritten
        InputError: the format cannot hold the volume, or the path is its source
        LatentSRError: the disk refuses
    """
    path = Path(path)
    refuse_source(path, volume.source.paths)
    refuse_existing(path, overwrite)
    if path.name.lower().endswith((*raster.PNG_SUFFIXES, *raster.TIFF_SUFFIXES)):
        # Whole numbers at the source's depth; an image from elsewhere is a 16-bit picture of its window.
        text, header = (provenance or WITHOUT_MODEL).text(volume.scale), volume.source.header
        pixels = _one_slice(volume)
        limits = np.iinfo(header.dtype if isinstance(header, raster.RasterHeader) else np.uint16)
        if not isinstance(header, raster.RasterHeader):
            pixels = volume.window.apply(pixels) * limits.max
            text["latentsr:window"] = f"{volume.window.low:g} {volume.window.high:g}"
        raster.write_pixels(path, np.clip(np.rint(pixels), limits.min, limits.max).astype(limits.dtype), text)
        return (path,)
    if path.name.lower().endswith(nifti.SUFFIXES):
        placed = volume.source.kind == "dicom"
        if placed and (texts := irregularities(volume.source.header)):
            raise InputError(f"NIfTI holds evenly spaced slices, and here are {texts[0].split(':')[0]}: write DICOM")
        own = affine(volume.source.header) if placed else None
        return nifti.write(volume, path, provenance=provenance, affine=own)
    return dicom.write(volume, path, provenance=provenance)


def write_uncertainty(
    spread: Volume,
    path: Path | str,
    *,
    provenance: Provenance | None,
    overwrite: bool = False,
    parametric_map: bool = False,
) -> tuple[Path, ...]:
    """Writes a map of spread, in the volume's physical units, and returns the written files.

    From DICOM: images that viewers show, as 16-bit integers with a rescale slope, in a folder for a series; and with
    `parametric_map` beside them a DICOM Parametric Map in float32, named _parametric. From NIfTI: NIfTI, from others:
    TIFF, both float32.

    Raises:
        StaleError: the path exists and may not be overwritten
        InputError: the map is not finite, or no parametric map can be made as the source does not say where it lies
        LatentSRError: the disk refuses
    """
    path = Path(path)
    refuse_source(path, spread.source.paths)
    refuse_existing(path, overwrite)
    if not np.isfinite(spread.pixels).all():
        raise InputError("the uncertainty map holds NaN or infinite pixels: it is not written; report the model")
    made_by = replace(provenance or WITHOUT_MODEL, image=UNCERTAINTY)
    if spread.source.kind == "nifti":
        return nifti.write(spread, path, provenance=made_by)
    if spread.source.kind != "dicom":
        raster.write_pixels(path, _one_slice(spread), made_by.text(spread.scale))
        return (path,)
    numbers = path.with_name(f"{path.name.removesuffix('.dcm')}_parametric.dcm")
    if parametric_map:
        refuse_existing(numbers, overwrite)
        parametric.write_map(spread, numbers, provenance=made_by)
    return *dicom.write(spread, path, provenance=made_by), *([numbers] if parametric_map else [])


def _one_slice(volume: Volume) -> np.ndarray:
    if len(volume.pixels) != 1:
        raise InputError(f"{len(volume.pixels)} slices do not fit into one PNG or TIFF: write .nii.gz or DICOM")
    return volume.pixels[0]
