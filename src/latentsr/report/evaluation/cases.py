"""The pictured images of an evaluation's report: best, median and worst, with errors and zoom, and a slider."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentsr.io.raster import read_pixels
from latentsr.names import HR_FILE, LR_FILE, listed
from latentsr.report.evaluation.data import Evaluation
from latentsr.report.figures import Case, Panel, Region, panels
from latentsr.report.page import Block, Picture, Slider, Text, View
from latentsr.report.text import number

TITLES = {  # of the cases, by what they were chosen by
    "psnr": {"best": "Best", "median": "Median", "worst": "Worst"},
    "id": {"best": "First", "median": "Middle", "worst": "Last"},
}
WINDOW = "0 to 1 of the stored range, the same for all images"
MOST_BYTES = 6_000_000  # of a dataset's pictures to compare: half a dozen of 512 x 512 px with all methods
NOT_SQUARE = 0.01  # how far a pixel's sides may differ, as a share, and still be called equal
Told = Mapping[str, Any]
Spacing = Sequence[float]  # (row, column) in mm


def case_blocks(evaluation: Evaluation, dataset: str) -> Iterator[Block]:
    """The pictured images of one dataset, and before those of the first what to know of all; nothing without any."""
    cases = evaluation.cases(dataset)
    if not cases:
        return
    if dataset == evaluation.run["pictures"]["cases"][0]["dataset"]:
        yield Text((_rule(evaluation),))
    white = evaluation.run["pictures"]["white_error"]
    drawn = panels(
        [_case(evaluation, case) for case in cases], window=WINDOW, greatest=white, unit="parts of the range"
    )
    yield Picture(f"Pictured images of {dataset}", drawn)
    yield _slider(evaluation, dataset, cases)


def _rule(evaluation: Evaluation) -> str:
    """By what rule the images were chosen, and what is drawn of each."""
    pictures = evaluation.run["pictures"]
    chief, psnr = pictures["chief"], pictures["chosen_by"] == "psnr"
    rule = f"of highest, middle and lowest PSNR under {chief}" if psnr else "of first, middle and last id (no PSNR)"
    losses = ", then of each method the one with its least gain over bicubic" if psnr else ""
    firsts = listed([str(seeds[0]["name"]) for one in evaluation.run["methods"] if (seeds := one.get("seeds"))])
    seeds = f" Of a method of several seeds the first alone counts here ({firsts})." if firsts else ""
    return (
        f"Images {rule}{losses}: chosen by this rule and not by eye, and named by a hash. The frame is where the mean "
        f"errors of {chief} and bicubic differ most. Below each image: the frame enlarged, and the absolute error, on "
        f"one colour scale up to {pictures['white_error']:g} of the range.{seeds} "
        f"{scale_text([case.get('spacing') for case in pictures['cases']])}"
    )


def scale_text(spacings: Sequence[Spacing | None]) -> str:
    """What to know of the scale bars of some images, from the spacing of each, None where the source said nothing."""
    known = [spacing for spacing in spacings if spacing]
    if not known:
        return "Without a pixel spacing there is no scale bar."
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
    title = f"{_reasons(evaluation, case)}: image {case['image']}"
    return Case(title, tuple(shown), Region(*case["zoom"]), None if spacing is None else spacing[1])


def _reasons(evaluation: Evaluation, case: Told) -> str:
    """Why the image is pictured, such as "Worst; least gain of mine"."""
    titles = TITLES[evaluation.run["pictures"]["chosen_by"]]
    cases = [titles[reason["case"]] for reason in case["reasons"] if reason["case"] in titles]
    losses = [reason["method"] for reason in case["reasons"] if reason["case"] not in titles]
    text = "; ".join([*cases, *([f"least gain of {listed(losses)}"] if losses else [])])
    return f"{text[0].upper()}{text[1:]}"


def _psnr(case: Told, name: str) -> str:
    value = case["psnr"].get(name)
    return "" if value is None else f"{number(value, 'dB', unit_shown=True)}"


def _unit(evaluation: Evaluation, case: Told, file: str) -> NDArray[np.float64]:
    return read_pixels(evaluation.path(case, file)) / 255


def _slider(evaluation: Evaluation, dataset: str, cases: list[Told]) -> Slider:
    """LR (enlarged), the methods and HR of the pictured images, any two over each other; first LR, chief and median.

    A page stays small enough to be sent by mail: images beyond MOST_BYTES are left out, the first shown never.
    """
    chief = evaluation.run["pictures"]["chief"]
    files = (LR_FILE, *(f"{place}.png" for place in range(len(evaluation.methods))), HR_FILE)
    views: list[View] = []
    for case in sorted(cases, key=lambda case: "median" not in [one["case"] for one in case["reasons"]]):
        images = tuple(evaluation.path(case, file).read_bytes() for file in files)
        size = sum(len(image) for view in views for image in view.images) + sum(map(len, images))
        if not views or size <= MOST_BYTES:
            views.append(View(f"{_reasons(evaluation, case)}: image {case['image']}", images))
    names = ("LR, enlarged", *evaluation.methods, "HR")
    caption = "Pixel for pixel, without loss. Move the handle, or use the arrow keys."
    if left_out := len(cases) - len(views):
        caption += (
            f" To keep this page small, {left_out} of {len(cases)} images are not among these; the figure has all."
        )
    return Slider(
        f"LR, methods and HR of {dataset}, any two over each other",
        names,
        tuple(views),
        (0, 1 + evaluation.methods.index(chief)),
        caption,
    )
