"""The pictured images of an evaluation's report: best, median and worst, with errors and zoom, and a slider."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentsr.io.raster import read_pixels
from latentsr.report.evaluation_data import Evaluation, number
from latentsr.report.figures import Case, Panel, Region, panels
from latentsr.report.page import Block, Picture, Section, Slider, Text

TITLES = {"best": "Best", "median": "Median", "worst": "Worst"}
HR_FILE, LR_FILE = "hr.png", "lr.png"
WINDOW = "0 to 1 of the stored range, the same for all images"
Told = Mapping[str, Any]


def case_section(evaluation: Evaluation, dataset: str) -> Section | None:
    """The pictured images of one dataset, or None where there is none."""
    cases = evaluation.cases(dataset)
    if not cases:
        return None
    chief, white = evaluation.run["pictures"]["chief"], evaluation.run["pictures"]["white_error"]
    text = (
        f"The images of highest, middle and lowest PSNR under {chief}, chosen by this rule and not by eye, and named "
        f"by a hash. The frame is where the mean error of {chief} and that of bicubic differ most. Below each image: "
        f"its part in the frame, enlarged, and the absolute error, on one colour scale that ends at {white:g} of the "
        "range. Prepared datasets hold no pixel spacing, so there is no scale bar."
    )
    drawn = panels(
        [_case(evaluation, case) for case in cases], window=WINDOW, greatest=white, unit="parts of the range"
    )
    blocks: tuple[Block, ...] = (
        Text((text,)),
        Picture(f"Best, median and worst image of {dataset}", drawn),
        *_sliders(evaluation, cases),
    )
    return Section(f"Pictures of {dataset}", blocks)


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
    return Case(f"{TITLES[case['case']]}: image {case['image']}", tuple(shown), Region(*case["zoom"]))


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
