"""DICOM: one file or one series in, derived images of the same kind out."""

import hashlib
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.filewriter import correct_ambiguous_vr
from pydicom.uid import ExplicitVRLittleEndian

from latentsr.atomic import replacing, write_bytes
from latentsr.errors import InputError
from latentsr.io.dicom.derived import capture, derive
from latentsr.io.dicom.geometry import Slice, in_order, irregularities, left_out, spacing
from latentsr.io.dicom.header import load, refusing
from latentsr.io.dicom.parametric import map_headers
from latentsr.io.dicom.pixels import to_physical
from latentsr.provenance import MAPS, WITHOUT_MODEL, Provenance
from latentsr.volume import MAX_PIXELS, Source, Volume, Window

SUFFIXES = (".dcm", ".dicom", ".ima")

# The defined terms of grey images (PS3.3 C.7.3.1.1.1).
MODALITIES = ("BMD", "CR", "CT", "DX", "IO", "IVOCT", "IVUS", "MG", "MR", "NM", "OCT", "OP", "OT", "PT", "PX", "RF",
              "RG", "RTIMAGE", "US", "XA", "XC")  # fmt: skip


def read(paths: Sequence[Path], *, force: bool = False, constant: bool = False, max_pixels: int = MAX_PIXELS) -> Volume:
    """The volume of one file, or of the files of one stack in the order of `series.in_order`.

    `source.header` is a tuple of data sets without pixels, one per slice. `force` lets burned-in annotation
    through, `constant` images of one value.
    """
    slices: list[Slice] = []
    for path in paths:
        slices.append(Slice(path, *load(path, force=force, max_pixels=max_pixels)))
        if (total := len(paths) * slices[0].stored.size) > max_pixels:
            came = f"{len(paths)} files of {slices[0].stored.size} pixels"
            raise InputError(f"{came}: expected at most {max_pixels} in all, raise the option max_pixels to {total}")
    slices = in_order(slices)
    headers = tuple(one.header for one in slices)
    pixels = np.stack([to_physical(one.stored, one.header) for one in slices])
    files, modality = tuple(one.path for one in slices), str(headers[0].get("Modality"))
    known = modality if modality in MODALITIES else ""  # any other text may be anything, a name too
    # What a derived volume lacks or shows that its user may not expect, each text once.
    texts = irregularities(headers)
    if any("MOSAIC" in (header.get("ImageType") or ()) for header in headers):
        texts.append("a Siemens mosaic, enlarged as the one picture that it is: its tiles blend at their borders")
    warnings = [*texts, *dict.fromkeys(text for header in headers for text in left_out(header))]
    # The SHA-256 of all instances, identifiers and stored pixels, in their order.
    digest = hashlib.sha256()
    for one in slices:
        digest.update(f"{one.header.SOPInstanceUID} {one.stored.dtype} {one.stored.shape}".encode())
        digest.update(np.ascontiguousarray(one.stored).data)
    source = Source("dicom", files, headers, known, tuple(warnings), digest.hexdigest())
    return Volume(pixels, spacing(headers[0]), Window.of(pixels, constant=constant), source)


def write(volume: Volume, path: Path, *, provenance: Provenance | None) -> tuple[Path, ...]:
    """Writes a derived image, or a folder of them for a series, all or none; gives the files' paths.

    A volume that does not come from DICOM becomes Secondary Captures. One that the provenance calls a map is
    stored as `parametric.map_headers` says.
    """
    made_by, several = provenance or WITHOUT_MODEL, len(volume.pixels) > 1
    forms: Sequence[Dataset] = volume.source.header if volume.source.kind == "dicom" else capture(volume, made_by)
    if len(forms) != len(volume.pixels):
        raise InputError(f"{len(volume.pixels)} slices for {len(forms)} source files: expected one each")
    if volume.source.kind == "dicom" and made_by.image in MAPS:
        forms = map_headers(volume)
    names = slice_names(volume) if several else [""]  # one image is the path itself
    with replacing(path, over_folder=True) as part:
        if several:
            part.mkdir()
        for index, (name, form) in enumerate(zip(names, forms, strict=True)):
            content = BytesIO()
            with refusing("the source's header cannot be carried over"):
                image = derive(volume, index, made_by, form) if volume.source.kind == "dicom" else form
                image.file_meta = FileMetaDataset()
                image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
                correct_ambiguous_vr(image, is_little_endian=True)
                image.save_as(content, enforce_file_format=True)
            write_bytes(part / name, content.getvalue())
    return tuple(path / name for name in names)


def slice_names(volume: Volume) -> list[str]:
    """One file name per slice: the source's own with .dcm, or slice numbers where these are missing or clash."""
    names = [with_suffix(path.name) for path in volume.source.paths] if volume.source.kind == "dicom" else []
    if len({name.lower() for name in names}) == len(volume.pixels):
        return names
    return [f"slice-{number:04d}.dcm" for number in range(1, len(volume.pixels) + 1)]


def with_suffix(name: str) -> str:
    """The name, with .dcm added where it does not end as DICOM files do (the dots of a UID are no suffix)."""
    return name if name.lower().endswith(SUFFIXES) else f"{name}.dcm"
