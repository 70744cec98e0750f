"""The page of an enhanced image: input and result slice by slice, in one HTML file that holds their exact values.

An image stands in it as the sorted different values of a slice, float32, and for each pixel the rank of its value: no
value is rounded, and what was stored in few bits stays small.
"""

import base64
import contextlib
import json
import zlib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentsr.atomic import replacing
from latentsr.errors import InputError
from latentsr.io.written import Written, filed
from latentsr.provenance import RESEARCH_USE, Provenance
from latentsr.report.blocks import readable
from latentsr.report.page import render
from latentsr.volume import Pixels, Volume

MOST = 48_000_000  # characters that the images of a page take
ENDS = 0.1, 99.9  # percentiles of the input that are black and white at first, where the file has no window
TOP = 99.5  # percentile of an error map that has the full colour
SAMPLED = 32  # slices that these are taken of
UNITS = {"US": "", "BQML": "Bq/ml"}  # DICOM's codes that are no unit, or would not be read as one

Image = dict[str, Any]


def write_view(
    path: Path,
    source: Volume,
    image: Path,
    *,
    provenance: Provenance,
    error_map: Path | None = None,
    error: str = "",
    trust_map: Path | None = None,
    warnings: Sequence[str] = (),
    most: int = MOST,
) -> Path:
    """The path of the HTML file that was written, whole or not at all; the same files give the same bytes.

    It shows the slices of `image`, which was written of `source` and is read again, beside those of the source, and of
    `error_map` where there is one. Of a long series it has as many slices, evenly apart, as `most` characters hold.

    Args:
        path: of the page
        source: what was enhanced
        image: the file, or the folder of a DICOM series
        provenance: who made the image, and how
        error_map: of the same kind as `image`
        error: what the values of this map are
        trust_map: of the same kind, 1 where the intervals are small
        warnings: what a reader must know before relying on the image
        most: characters that the images may take; all else is less than 100,000

    Raises:
        InputError: a file is missing, or one slice alone takes more
        LatentSRError: the page cannot be written
    """
    before, after = filed(source), Written(image, source)
    maps = {name: Written(one, source) for name, one in (("map", error_map), ("trust", trust_map)) if one}
    slices = _slices(source, before, after, maps, most)
    (_, *coarse), fine = before.shape, [slices[0]["after"][side] for side in ("rows", "columns")]
    scale = fine[0] // coarse[0]
    spacing = source.spacing and [mm * few / many for mm, few, many in zip(source.spacing, coarse, fine, strict=True)]
    header, options = _header(source), json.loads(provenance.options)
    unit = str(header.get("RescaleType") or header.get("Units") or {"CT": "HU"}.get(source.source.modality, ""))
    data = {
        "slices": slices, "unit": readable(UNITS.get(unit, unit)), "spacing": spacing, "error": error,
        "placed": all(one["grid"] for one in slices), "top": max(one["top"] for one in slices) or 1.0,
        "trust": bool(trust_map), "inverted": header.get("PhotometricInterpretation") == "MONOCHROME1",
    }  # fmt: skip
    shown = f"{len(slices)} of {len(after)} slices, evenly apart" if len(slices) < len(after) else ""
    facts = {
        "Image": f"{fine[1]} x {fine[0]} pixels, {scale} times finer in plane; slices: {len(after)}",
        "Pixel spacing": f"{_mm(spacing)}, of the input {_mm(source.spacing)}",
        "Kind": provenance.image,
        "Model": f"{provenance.model}, {provenance.model_hash[:16]}",
        "Options": ", ".join(f"{name} {value}" for name, value in sorted(options.items()) if value is not None),
    }
    page = render(
        "viewer", title=image.name, note=RESEARCH_USE, series=str(header.get("SeriesDescription") or ""), shown=shown,
        count=len(after), facts=facts, warnings=warnings, data=data, made=provenance.note(scale, ""), error=error,
    )  # fmt: skip
    with replacing(path) as part:
        part.write_text(page, encoding="utf-8", newline="\n")
    return path


def _slices(
    source: Volume, before: Pixels, after: Written, maps: Mapping[str, Written], most: int
) -> list[dict[str, Any]]:
    """The slices that a page shows: all, or as many as `most` characters hold, in the middles of equal parts."""
    count = len(after)

    @cache
    def packed(place: int) -> tuple[dict[str, Any], int]:
        own = place * len(before) // count
        images = {"before": packed_image(before[own]), "after": packed_image(after[place])}
        grid = after.grid(place)
        shown = {
            "number": place + 1, "window": _window(source, before, own), "top": 0.0,
            "grid": None if grid is None else grid.tolist(),
        }  # fmt: skip
        for name, written in maps.items():
            images[name] = packed_image(values := written[place])
            if name == "map":
                shown["top"] = float(np.percentile(values, TOP))
        length = sum(len(one["values"]) + len(one["ranks"]) for one in images.values())
        return shown | images, length

    def places(chosen: int) -> list[int]:
        return [(2 * one + 1) * count // (2 * chosen) for one in range(chosen)]

    chosen = max(1, min(count, most // packed(count // 2)[1]))
    while (taken := sum(packed(place)[1] for place in places(chosen))) > most:
        if chosen == 1:
            raise InputError(f"one slice takes {taken / 1e6:.0f} MB of a page, which holds {most / 1e6:.0f} MB")
        chosen = max(1, min(chosen - 1, chosen * most // taken))
    return [packed(place)[0] for place in places(chosen)]


def packed_image(pixels: Pixels) -> Image:
    """An image (rows, columns) as texts: its different values, ascending, and for each pixel the rank of its value."""
    values, ranks = np.unique(pixels, return_inverse=True)
    bits = np.ascontiguousarray(values, "<f4").view("<u4")
    rows, columns = pixels.shape
    packed = _packed(ranks.reshape(pixels.shape).astype(np.uint32))
    return {"rows": rows, "columns": columns, "values": _packed(bits[None]), "ranks": packed}


def _packed(numbers: NDArray[np.uint32]) -> str:
    """Whole numbers (rows, columns) as text: their differences along both axes, modulo 2**32, byte by byte, deflated.

    Signs are put last (0, -1, 1, -2 become 0, 1, 2, 3), so that small differences have empty upper bytes.
    """
    steps = np.diff(numbers, axis=1, prepend=np.uint32(0))
    steps = np.diff(steps, axis=0, prepend=np.uint32(0)).astype(np.uint32)
    folded = (steps << np.uint32(1)) ^ (steps.view(np.int32) >> 31).view(np.uint32)
    planes = folded.astype("<u4").reshape(-1, 1).view(np.uint8).T
    return base64.b64encode(zlib.compress(planes.tobytes(), 6)).decode()


def _header(source: Volume) -> Mapping[str, Any]:
    """What the first DICOM header of a volume says; nothing where there is none."""
    header: Mapping[str, Any] = source.source.header[0] if source.source.kind == "dicom" else {}
    return header


def _window(source: Volume, pixels: Pixels, number: int) -> tuple[float, float]:
    """The values that are black and white at first: the file's window, all of 8 bit, or nearly all of the input."""
    if source.source.kind == "dicom":
        with contextlib.suppress(TypeError, ValueError, IndexError):  # none, or no numbers
            told = (source.source.header[number].get(f"Window{name}") for name in ("Center", "Width"))
            center, width = (float(np.atleast_1d(one)[0]) for one in told)
            if 0 < width < np.inf and np.isfinite(center):
                return center - width / 2, center + width / 2
    if getattr(source.source.header, "dtype", "") == "uint8":
        return 0.0, 255.0
    of_kind = pixels[[number]] if source.source.windows else pixels[:: -(-len(pixels) // SAMPLED)]
    low, high = (float(one) for one in np.percentile(of_kind, ENDS, method="nearest"))
    return low, high if high > low else low + 1.0


def _mm(spacing: Sequence[float] | None) -> str:
    return " x ".join(f"{side:.4g}" for side in spacing) + " mm" if spacing else "not known"
