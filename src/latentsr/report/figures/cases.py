"""Images side by side: cases with errors and details, and mean maps."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from latentsr.errors import InputError
from latentsr.provenance import RESEARCH_USE
from latentsr.report.drawing import Drawing
from latentsr.report.figures.export import drawing
from latentsr.report.figures.style import decimals, house_style, joined, number, required, wrapped
from latentsr.report.figures.tiles import CELL, COLOURS, DPI, FAINT, LARGE, LETTERS, Image, Region, Sheet, Tile

ABREAST = 6  # images side by side at most; more go on below, in rows as equal as can be
MAPS_ABREAST = 4  # maps side by side: two methods' pairs
MAPPED = "Share of images (%)"


@dataclass(frozen=True, eq=False)
class Panel:
    """One image of a case in the display's [0, 1], (rows, columns); a coarser one is shown over the same field of view.

    `note` is a line below it, such as its PSNR; `error` a map (rows, columns) of absolute errors, drawn below.
    """

    title: str
    image: Image
    note: str = ""
    error: Image | None = None


@dataclass(frozen=True, eq=False)
class Case:
    """A row of a figure: the panels of one image under the title that says why it was chosen.

    `region` is framed, and shown enlarged below. `spacing` is the pixels' size in mm of the last panel's image, which
    sets the field of view; without it there is no scale bar.
    """

    title: str
    panels: tuple[Panel, ...]
    region: Region | None = None
    spacing: float | None = None


def panels(cases: Iterable[Case], *, window: str, greatest: float, unit: str) -> Drawing:
    """The cases below each other: images, the framed part enlarged, and errors on one colour scale for all.

    Args:
        cases: such as the best, the median and the worst image; the last panel of each is the finest, mostly HR.
        window: what black and white stand for, such as "0 to 1 of the stored range".
        greatest: the error at the colour scale's end.
        unit: of the errors, such as "% of the range".

    Raises:
        InputError: no case, a case without panels, an image that is no (rows, columns), a region beyond its image
    """
    found = [_checked(case) for case in required(list(cases), "cases")]
    errors = any(panel.error is not None for case in found for panel in case.panels)
    blocks = []  # of each case: its panels in as few rows as can be
    for case in found:
        abreast = math.ceil(len(case.panels) / math.ceil(len(case.panels) / ABREAST))
        blocks += [(case, start, case.panels[start : start + abreast]) for start in range(0, len(case.panels), abreast)]
    with house_style():
        sheet = Sheet(max(3, *(len(block) for _, _, block in blocks)))
        sheet.write(f"Window: {window}", LARGE, color=FAINT)
        for case, start, block in blocks:
            sheet.top += 8
            title = case.title + " (continued)" * bool(start)
            sheet.write(wrapped(title, 90, lines=1), LARGE + 0.5, weight="bold")
            size = case.panels[-1].image.shape
            # Whole pixels of the sheet for those of a small image.
            width = CELL if size[1] > CELL else CELL // size[1] * size[1]
            sheet.row(
                [Tile(panel.image, size, frame=case.region, spacing=case.spacing) for panel in block],
                titles=[wrapped(panel.title, LETTERS) for panel in block],
                notes=[wrapped(panel.note, LETTERS, lines=2) for panel in block],
                width=width,
            )
            if case.region is not None:
                sheet.row([Tile(panel.image, size, part=case.region) for panel in block], width=width)
            if any(panel.error is not None for panel in block):
                maps = [panel.error for panel in block]
                limits = 0.0, greatest
                sheet.row(
                    [None if error is None else Tile(error, size, colours=COLOURS, limits=limits) for error in maps],
                    width=width,
                )
        if errors:
            sheet.write(f"Absolute error in {unit}")
            sheet.colour_bar(2 * CELL, greatest, open_ended=True)
        sheet.write(RESEARCH_USE, weight="bold")
        parts = []
        for case in found:
            images = [f"{panel.title} ({panel.note})" if panel.note else panel.title for panel in case.panels]
            parts.append(f"{case.title}: {', '.join(images)}")
        scale = f" Error maps reach from 0 to {greatest:.3g} {unit}." if errors else ""
        return drawing(sheet.figure(), f"Images side by side. {joined(parts)}. Window: {window}.{scale}", dpi=DPI)


def _checked(case: Case) -> Case:
    if not case.panels:
        raise InputError(f"case '{case.title}' came without panels: expected at least one image")
    for panel in case.panels:
        for image in (panel.image, panel.error):
            if image is not None and (np.ndim(image) != 2 or not np.size(image)):
                raise InputError(f"'{panel.title}' has shape {np.shape(image)}: expected an image (rows, columns)")
    rows, columns = case.panels[-1].image.shape
    if case.region is not None:
        top, left, high, wide = case.region
        if min(top, left) < 0 or min(high, wide) < 1 or top + high > rows or left + wide > columns:
            raise InputError(f"{case.region} lies beyond the image of {rows} x {columns} px; give a part of it")
    return case


def mean_maps(maps: Iterable[tuple[str, NDArray[np.floating]]], *, greatest: float) -> Drawing:
    """Maps on one shared colour scale from zero, four side by side: where over many images something happens.

    Args:
        maps: (title, (rows, columns)) each, not negative, such as "hallucinated, medvae" and the share of images in
            which a pixel is, in %; NaN stays white.
        greatest: the scale's end, which also stands for all beyond it.

    Raises:
        InputError: no map, one that is no (rows, columns), maps of several sizes, negative or infinite values
    """
    found = required([(str(name), np.asarray(values, dtype=np.float64)) for name, values in maps], "maps")
    shape = found[0][1].shape
    for name, values in found:
        if values.ndim != 2 or not values.size or values.shape != shape:
            raise InputError(f"map '{name}' has shape {values.shape}: expected (rows, columns), all of one size")
        if np.isinf(values).any() or (values < 0).any() or np.isnan(values).all():
            raise InputError(f"map '{name}' has negative, infinite or no values: expected shares or magnitudes")
    cut = any(np.nanmax(values) > greatest for _, values in found)
    with house_style():
        sheet = Sheet(max(2, min(MAPS_ABREAST, len(found))))
        for start in range(0, len(found), MAPS_ABREAST):
            block = found[start : start + MAPS_ABREAST]
            sheet.row(
                [Tile(values, colours=COLOURS, limits=(0.0, greatest)) for _, values in block],
                titles=[wrapped(name, LETTERS) for name, _ in block],
            )
        sheet.write(MAPPED)
        sheet.colour_bar(2 * CELL, greatest, open_ended=cut)
        digits = decimals([0.0, greatest])
        scale = f"Colours reach from 0 to {greatest:.3g} %" + ", and stand there for more too" * cut
        parts = [f"{name}: mean {number(float(np.nanmean(values)), digits)}" for name, values in found]
        return drawing(sheet.figure(), f"Maps of {MAPPED}. {joined(parts)}. {scale}.", dpi=DPI)
