"""The pictured images of an evaluation's report: best, median and worst, with errors and zoom, and a slider."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentsr.io.raster import read_pixels
from latentsr.report.evaluation_data import Evaluation
from latentsr.report.figures import Case, Panel, Region, panels
from latentsr.report.numbers import number
from latentsr.report.page import Block, Picture, Section, Slider, Text

TITLES = {  # of the cases, by what they were chosen by
    "psnr": {"best": "Best", "median": "Median", "worst": "Worst"},
    "id": {"best": "First", "median": "Middle", "worst": "Last"},
}
HR_FILE, LR_FILE = "hr.png", "lr.png"
WINDOW = "0 to 1 of the stored range, the same for all images"
NOT_SQUARE = 0.01  # how far a pixel's sides may differ, as a share, and still be called equal
Told = Mapping[str, Any]
Spacing = Sequence[float]  # (row, column) in mm


def case_section(evaluation: Evaluation, dataset: str) -> Section | None:
    """The pictured images of one dataset, or None where there is none."""
    cases = evaluation.cases(dataset)
    if not cases:
        return None
    chief, white = evaluation.run["pictures"]["chief"], evaluation.run["pictures"]["white_error"]
    by = evaluation.run["pictures"]["chosen_by"]
    first, middle, last = TITLES[by].values()
    rule = f"highest, middle and lowest PSNR under {chief}" if by == "psnr" else "first, middle and last id (no PSNR)"
    text = (
        f"The images of {rule}, chosen by this rule and not by eye, and named by a hash. The frame is where the mean "
        f"error of {chief} and that of bicubic differ most. Below each image: its part in the frame, enlarged, and the "
        f"absolute error, on one colour scale that ends at {white:g} of the "
        f"range. {scale_text([case.get('spacing') for case in cases])}"
    )
    drawn = panels(
        [_case(evaluation, case) for case in cases], window=WINDOW, greatest=white, unit="parts of the range"
    )
    blocks: tuple[Block, ...] = (
        Text((text,)),
        Picture(f"{first}, {middle.lower()} and {last.lower()} image of {dataset}", drawn),
        *_sliders(evaluation, cases),
    )
    return Section(f"Pictures of {dataset}", blocks)


def scale_text(spacings: Sequence[Spacing | None]) -> str:
    """What to know of the scale bars of some images, from the spacing of each, None where the source said nothing."""
    known = [spacing for spacing in spacings if spacing]
    if not known:
        return "The dataset holds no pixel spacing, so there is no scale bar."
    told = "The white bar is a length in mm, by the pixel spacing of the source (in radiographs, at the detector)."
    if len(known) < len(spacings):
        told += " Images without a bar came without a spacing."
    if uneven := [(row, column) for row, column in known if abs(row / column - 1) > NOT_SQUARE]:
        sizes = "; ".join(f"{row:.3g} x {column:.3g} mm" for row, column in dict.fromkeys(uneven))
        told += (
            f" Pixels are drawn square, though some are not (height x width: {sizes}): there the bar holds from left "
            "to right, not from top to bottom."
        )
    return told


def _case(evaluation: Evaluation, case: Told) -> Case:
    white = evaluation.run["pictures"]["white_error"]
    shown = [
        Panel(
            name,
            _unit(evaluation, case, f"{place}.png"),
            _psnr(case, name),
            _unit(evaluation, case, f"{place}-error.png") * white,
        )
        for place, name in enumerate(evaluation.methods)
    ]
    shown.append(Panel("HR", _unit(evaluation, case, HR_FILE), "the truth"))
    spacing = case.get("spacing")  # the bar lies along the row, whose pixels are a column apart
    title = f"{TITLES[evaluation.run['pictures']['chosen_by']][case['case']]}: image {case['image']}"
    return Case(title, tuple(shown), Region(*case["zoom"]), None if spacing is None else spacing[1])


def _psnr(case: Told, name: str) -> str:
    value = case["psnr"].get(name)
    return "" if value is None else f"{number(value, 'dB', unit_shown=True)}"


def _unit(evaluation: Evaluation, case: Told, file: str) -> NDArray[np.float64]:
    return read_pixels(evaluation.path(case, file)) / 255


def _sliders(evaluation: Evaluation, cases: list[Told]) -> Iterator[Slider]:
    """LR, enlarged, under the chief method's image, of the middle case."""
    chief = evaluation.run["pictures"]["chief"]
    case = next((one for one in cases if one["case"] == "median"), cases[0])
    place = evaluation.methods.index(chief)
    before, after = (evaluation.path(case, file).read_bytes() for file in (LR_FILE, f"{place}.png"))
    caption = f"Image {case['image']}, pixel for pixel, without loss. Move the handle, or use the arrow keys."
    yield Slider(f"LR, enlarged bicubically, and {chief}", before, after, ("LR", chief), caption)
