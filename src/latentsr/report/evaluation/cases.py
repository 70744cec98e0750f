"""The pictured images of an evaluation's report: best, median and worst, with errors and zoom, and a slider."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from latentsr.io.raster import read_pixels
from latentsr.names import HR_FILE, LR_FILE, listed
from latentsr.report.blocks import Block, Picture, Slider, Text, View
from latentsr.report.evaluation.data import Evaluation, Row
from latentsr.report.figures import Case, Panel, Region, panels
from latentsr.report.text import number

TITLES = {  # of the cases, by what they were chosen by
    "psnr": {"best": "Best", "median": "Median", "worst": "Worst"},
    "id": {"best": "First", "median": "Middle", "worst": "Last"},
}
WINDOW = "0 to 1 of the stored range, the same for all images"
MOST_BYTES = 6_000_000  # of a dataset's pictures to compare: half a dozen of 512 x 512 px with all methods
NOT_SQUARE = 0.01  # how far a pixel's sides may differ, as a share, and still be called equal
Spacing = Sequence[float]  # (row, column) in mm


def case_blocks(evaluation: Evaluation, dataset: str) -> Iterator[Block]:
    """The pictured images of one dataset, and before those of the first what to know of all; nothing without any."""
    cases = evaluation.cases(dataset)
    if not cases:
        return
    pictures = evaluation.run["pictures"]
    chief, white = pictures["chief"], pictures["white_error"]
    if dataset == pictures["cases"][0]["dataset"]:  # by what rule the images were chosen, and what is drawn of each
        rule = "of first, middle and last id (no PSNR)"
        if pictures["chosen_by"] == "psnr":
            rule = f"of highest, middle and lowest PSNR under {chief}, then of each method the one with its least gain "
            rule += "over bicubic"
        firsts = listed([str(seeds[0]["name"]) for one in evaluation.run["methods"] if (seeds := one.get("seeds"))])
        seeds = f" Of a method of several seeds the first alone counts here ({firsts})." if firsts else ""
        text = (
            f"Images {rule}: chosen by this rule and not by eye, and named by a hash. The frame is where the mean "
            f"errors of {chief} and bicubic differ most. Below each image: the frame enlarged, and the absolute error, "
            f"on one colour scale up to {white:g} of the range.{seeds} "
            f"{scale_text([case.get('spacing') for case in pictures['cases']])}"
        )
        yield Text((text,))

    def pixels(case: Row, file: str) -> NDArray[np.float64]:
        return read_pixels(evaluation.path(case, file)) / 255

    drawn = []
    for case in cases:
        panels_of_case = []
        for place, name in enumerate(evaluation.methods):
            psnr = case["psnr"].get(name)
            shown = "" if psnr is None else number(psnr, "dB", unit_shown=True)
            error = pixels(case, f"{place}-error.png") * white
            panels_of_case.append(Panel(name, pixels(case, f"{place}.png"), shown, error))
        panels_of_case.append(Panel("HR", pixels(case, HR_FILE), "the truth"))
        spacing = case.get("spacing")  # the bar lies along the row, whose pixels are a column apart
        width = None if spacing is None else spacing[1]
        drawn.append(Case(_title(evaluation, case), tuple(panels_of_case), Region(*case["zoom"]), width))
    figure = panels(drawn, window=WINDOW, greatest=white, unit="parts of the range")
    yield Picture(f"Pictured images of {dataset}", figure)
    yield _slider(evaluation, dataset, cases)


def scale_text(spacings: Sequence[Spacing | None]) -> str:
    """What to know of the scale bars of some images, from the spacing of each, None where the source said nothing."""
    known = [spacing for spacing in spacings if spacing]
    if not known:
        return "Without a pixel spacing there is no scale bar."
    text = "The white bar is a length in mm, by the pixel spacing of the source (in radiographs, at the detector)."
    if len(known) < len(spacings):
        text += " Images without a bar came without a spacing."
    if uneven := [(row, column) for row, column in known if abs(row / column - 1) > NOT_SQUARE]:
        sizes = "; ".join(f"{row:.3g} x {column:.3g} mm" for row, column in dict.fromkeys(uneven))
        text += (
            f" Pixels are drawn square, though some are not (height x width: {sizes}): there the bar holds from left "
            "to right, not from top to bottom."
        )
    return text


def _title(evaluation: Evaluation, case: Row) -> str:
    """Why the image is pictured, and its hash, such as "Worst; least gain of mine: image 3f2a9c01"."""
    titles = TITLES[evaluation.run["pictures"]["chosen_by"]]
    cases = [titles[reason["case"]] for reason in case["reasons"] if reason["case"] in titles]
    losses = [reason["method"] for reason in case["reasons"] if reason["case"] not in titles]
    text = "; ".join([*cases, *([f"least gain of {listed(losses)}"] if losses else [])])
    return f"{text[0].upper()}{text[1:]}: image {case['image']}"


def _slider(evaluation: Evaluation, dataset: str, cases: list[Row]) -> Slider:
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
            views.append(View(_title(evaluation, case), images))
    names = ("LR, enlarged", *evaluation.methods, "HR")
    caption = "Pixel for pixel, without loss. Move the handle, or use the arrow keys."
    if left_out := len(cases) - len(views):
        caption += (
            f" To keep this page small, {left_out} of {len(cases)} images are not among these; the figure has all."
        )
    title, shown = f"LR, methods and HR of {dataset}, any two over each other", (0, 1 + evaluation.methods.index(chief))
    return Slider(title, names, tuple(views), shown, caption)
