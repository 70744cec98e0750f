"""DICOM: one file or one series in, derived images of the same kind out."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.filewriter import correct_ambiguous_vr
from pydicom.uid import ExplicitVRLittleEndian

from latentsr.atomic import replacing, write_bytes
from latentsr.errors import InputError
from latentsr.io.dicom.derived import capture, derive, derive_frames
from latentsr.io.dicom.geometry import (
    Slice,
    in_order,
    irregularities,
    is_placed,
    left_out,
    mosaics,
    spacing,
    stacks,
    tiles,
    tilted,
)
from latentsr.io.dicom.header import FRAMES, SINGLE, frames, load, refusing
from latentsr.io.dicom.parametric import map_headers
from latentsr.io.dicom.pixels import to_physical
from latentsr.io.dicom.single_frame import single_frames
from latentsr.provenance import MAPS, WITHOUT_MODEL, Provenance
from latentsr.volume import MAX_PIXELS, Source, Volume, Window, let_go

SUFFIXES = (".dcm", ".dicom", ".ima")

# The defined terms of grey images (PS3.3 C.7.3.1.1.1).
MODALITIES = ("BMD", "CR", "CT", "DX", "IO", "IVOCT", "IVUS", "MG", "MR", "NM", "OCT", "OP", "OT", "PT", "PX", "RF",
              "RG", "RTIMAGE", "US", "XA", "XC")  # fmt: skip


def read(
    paths: Sequence[Path], *, force: bool = False, constant: bool = False, max_pixels: int = MAX_PIXELS,
    legacy: bool = False,
) -> Volume:  # fmt: skip
    """The volume of one file, or of the files of one stack in the order of `series.in_order`.

    The frames of a file are slices in its order, and the tiles of a Siemens mosaic are slices.
    `source.header` is a tuple of data sets without pixels, one per slice. `force` lets burned-in annotation
    through, `constant` images of one value. With `legacy` frames of enhanced objects have headers of single-frame
    images (`single_frame`), as which they are written.
    """
    files: list[Slice] = []
    for path in paths:
        files.append(Slice(path, *load(path, force=force, max_pixels=max_pixels)))
        if (total := len(paths) * files[0].stored.size) > max_pixels:
            came = f"{len(paths)} files of {files[0].stored.size} pixels"
            raise InputError(f"{came}: expected at most {max_pixels} in all, raise the option max_pixels to {total}")
        if len(paths) > 1 and files[-1].header.SOPClassUID in FRAMES:
            raise InputError(f"{path} is one of {len(paths)} files and may hold several frames: give such a file alone")
    files = in_order(files)
    several = files[0].header.SOPClassUID in FRAMES
    mosaic = not several and "MOSAIC" in (files[0].header.get("ImageType") or ())
    parts = [frames(one) if several else tiles(one) if mosaic else [one] for one in files]
    for one, part in zip(files, parts, strict=True):
        if len(part) != len(parts[0]):
            came = f"a mosaic of {len(part)} slices, {files[0].path.name} of {len(parts[0])}"
            raise InputError(f"{one.path} is {came}: give such files apart")
    slices = [one for part in parts for one in part]
    split = legacy and several and files[0].header.SOPClassUID in SINGLE
    if split:
        with refusing(f"{files[0].path}: its frames make no single-frame images"):
            slices = single_frames(files[0], slices)
    headers = tuple(one.header for one in slices)
    # The SHA-256 of all instances, identifiers and stored pixels, in their order.
    digest, pixels = hashlib.sha256(), np.empty((len(slices), *slices[0].stored.shape), np.float32)
    for index, one in enumerate(slices):
        pixels[index] = to_physical(one.stored, one.header)
        digest.update(f"{one.header.SOPInstanceUID} {one.stored.dtype} {one.stored.shape}".encode())
        digest.update(np.ascontiguousarray(one.stored).data)
    modality = headers[0].get("Modality")
    known = str(modality) if modality in MODALITIES else ""  # any other text may be anything, a name too
    # Each kind of frame has a window. Texts: what a derived volume lacks or shows that its user may not expect, once.
    kinds = stacks(dict(enumerate(headers))) if several else []
    windows: dict[int, Window] = {}
    texts = [] if several else [text for tell in (irregularities, tilted) for text in tell([f.header for f in files])]
    for kind in kinds:
        if len(kinds) > 1:
            windows |= dict.fromkeys(kind, Window.of(pixels[kind], constant=True))
        if all(is_placed(headers[index]) for index in kind):
            upwards = [one.header for one in in_order([slices[index] for index in kind])]
            texts += [*irregularities(upwards), *tilted(upwards)]
    if legacy and several and not split:
        texts.append("frames of no enhanced MR or CT object: they stay in one file")
    warnings = dict.fromkeys([*texts, *(text for one in files for text in left_out(one.header))])
    source = Source(
        "dicom", tuple(one.path for one in files), headers, known, tuple(warnings), digest.hexdigest(),
        wholes=tuple(one.header for one in files) if several or mosaic else (),
        windows=tuple(windows[index] for index in sorted(windows)), split=split,
    )  # fmt: skip
    return Volume(pixels, spacing(headers[0]), Window.of(pixels, constant=constant), source)


def write(volume: Volume, path: Path, *, provenance: Provenance | None) -> tuple[Path, ...]:
    """Writes a derived image, or a folder of them for a series, all or none; gives the files' paths.

    A volume that does not come from DICOM becomes Secondary Captures. One that the provenance calls a map is
    stored as `parametric.map_headers` says.
    """
    made_by, wholes = provenance or WITHOUT_MODEL, () if volume.source.split else volume.source.wholes
    multi_frame = bool(wholes) and wholes[0].SOPClassUID in FRAMES
    if wholes and not multi_frame:  # mosaics, which are pictures again
        first = wholes[0]
        empty = 0.0 if made_by.image in MAPS else float(to_physical(np.zeros((1, 1), np.int16), first)[0, 0])
        whole = mosaics(volume.pixels, len(wholes), empty)
        volume = replace(volume, pixels=whole, source=replace(volume.source, header=wholes, wholes=()))
    forms: Sequence[Dataset] = volume.source.header if volume.source.kind == "dicom" else capture(volume, made_by)
    if len(forms) != len(volume.pixels):
        raise InputError(f"{len(volume.pixels)} slices for {len(forms)} source files: expected one each")
    if volume.source.kind == "dicom" and made_by.image in MAPS:
        forms = map_headers(volume)
    one = multi_frame or (len(volume.pixels) == 1 and not volume.source.split)  # image, which is the path itself
    names = [""] if one else slice_names(volume.source, len(volume.pixels))
    with replacing(path, over_folder=True) as part:
        if not one:
            part.mkdir()
        for index, name in enumerate(names):
            content = BytesIO()
            with refusing("the source's header cannot be carried over"):
                image = derive_frames(volume, made_by, forms) if multi_frame else forms[index]
                if volume.source.kind == "dicom" and not multi_frame:
                    image = derive(volume, index, made_by, image)
                image.file_meta = FileMetaDataset()
                image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
                correct_ambiguous_vr(image, is_little_endian=True)
                image.save_as(content, enforce_file_format=True)
            write_bytes(part / name, content.getvalue())
            let_go(volume.pixels)
    return tuple(path / name for name in names)


def slice_names(source: Source, slices: int) -> list[str]:
    """One file name per slice: the source's own with .dcm, or slice numbers where these are missing or clash."""
    names = [with_suffix(path.name) for path in source.paths] if source.kind == "dicom" else []
    if len({name.lower() for name in names}) == slices:
        return names
    return [f"slice-{number:04d}.dcm" for number in range(1, slices + 1)]


def with_suffix(name: str) -> str:
    """The name, with .dcm added where it does not end as DICOM files do (the dots of a UID are no suffix)."""
    return name if name.lower().endswith(SUFFIXES) else f"{name}.dcm"
