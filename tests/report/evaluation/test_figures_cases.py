"""Pictured cases on the page: the scale bar follows each image's own spacing, and the words say what it is worth."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from latentsr.io.raster import write_pixels
from latentsr.report.blocks import Picture, Slider, Text
from latentsr.report.evaluation.data import Evaluation
from latentsr.report.evaluation.figures import case_blocks, scale_text
from latentsr.report.figures import Case


@pytest.mark.parametrize(
    ("spacings", "said", "unsaid"),
    [
        ([None, None], ["Without a pixel spacing there is no scale bar"], ["white bar", "square"]),
        ([(0.5, 0.5), (0.3, 0.3)], ["white bar is a length in mm", "at the detector"], ["without a bar", "square"]),
        ([(0.5, 0.5), None], ["Images without a bar came without a spacing"], ["square"]),
        ([(0.5, 0.502)], [], ["square"]),
        (
            [(0.8000001, 0.5), (0.8000001, 0.5), (1, 1)],
            ["drawn square", "(height x width: 0.8 x 0.5 mm)", "from left to right, not from top to bottom"],
            ["1 x 1", "; 0.8"],
        ),
    ],
)
def test_the_words_say_what_the_bar_is_worth(spacings: list, said: list[str], unsaid: list[str]) -> None:
    told = scale_text(spacings)
    assert not [words for words in said if words not in told]
    assert not [words for words in unsaid if words in told]


@pytest.fixture
def evaluation(tmp_path: Path) -> Evaluation:
    """Two pictured images of two methods, the second of an evaluation that recorded no spacing."""
    cases: list[dict[str, Any]] = []
    least = {"case": "loss", "method": "mine"}
    for name, image, more in (("best", "0badcafe", []), ("worst", "0b5f77aa", [least])):
        for file in ("hr", "lr", "0", "0-error", "1", "1-error"):
            pixels = np.random.default_rng(0).integers(0, 255, (32, 48), np.uint8)
            write_pixels(tmp_path / "pictures" / image / f"{file}.png", pixels)
        reasons = [{"case": name, "method": "mine"}, *more]
        psnr = {"bicubic": 30.0, "mine": 31.0}
        case = {"dataset": "mr", "reasons": reasons, "image": image, "psnr": psnr, "zoom": [4, 8, 8, 8]}
        cases.append(case | ({"spacing": [0.8, 0.5]} if name == "best" else {}))
    pictures = {"chief": "mine", "chosen_by": "psnr", "white_error": 0.1, "cases": cases}
    run = {"methods": [{"name": "bicubic"}, {"name": "mine"}], "pictures": pictures}
    return Evaluation(tmp_path, run, {})


def test_the_bar_is_that_of_the_columns(evaluation: Evaluation, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Case] = []

    def panels(cases: list[Case], **options: object) -> None:
        drawn.extend(cases)

    monkeypatch.setattr("latentsr.report.evaluation.figures.panels", panels)
    text, *_ = case_blocks(evaluation, "mr")
    assert [case.spacing for case in drawn] == [0.5, None]
    assert "Images without a bar came without a spacing" in str(text)
    assert [case.title for case in drawn] == ["Best: image 0badcafe", "Worst; least gain of mine: image 0b5f77aa"]


def test_any_two_images_can_be_compared_while_the_page_stays_small(
    evaluation: Evaluation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slider() -> Slider:
        *_, last = case_blocks(evaluation, "mr")
        assert isinstance(last, Slider)
        return last

    whole = slider()
    assert (whole.names, whole.shown) == (("LR, enlarged", "bicubic", "mine", "HR"), (0, 2))
    labels = ["Best: image 0badcafe", "Worst; least gain of mine: image 0b5f77aa"]
    assert [view.label for view in whole.views] == labels
    assert [len(view.images) for view in whole.views] == [4, 4]
    monkeypatch.setattr("latentsr.report.evaluation.figures.MOST_BYTES", 1)
    small = slider()
    assert len(small.views) == 1
    assert "1 of 2 images are not among these" in small.caption


def test_the_median_is_shown_first_whatever_else_it_is(evaluation: Evaluation) -> None:
    pictures = evaluation.run["pictures"]
    reasons = [{"case": "loss", "method": "mine"}, {"case": "median", "method": "mine"}]
    cases = [pictures["cases"][0], {**pictures["cases"][1], "reasons": reasons}]
    changed = Evaluation(evaluation.folder, {**evaluation.run, "pictures": {**pictures, "cases": cases}}, {})
    *_, last = case_blocks(changed, "mr")
    assert isinstance(last, Slider)
    assert last.views[0].label == "Median; least gain of mine: image 0b5f77aa"


@pytest.mark.parametrize(
    ("by", "rule"),
    [
        (
            "psnr",
            "Images of highest, middle and lowest PSNR under mine, then of each method the one with its least gain "
            "over bicubic: chosen by this rule and not by eye,",
        ),
        ("id", "Images of first, middle and last id (no PSNR): chosen by this rule and not by eye,"),
    ],
)
def test_pictures_say_what_they_were_chosen_by(evaluation: Evaluation, by: str, rule: str) -> None:
    pictures = {**evaluation.run["pictures"], "chosen_by": by}
    changed = Evaluation(evaluation.folder, {**evaluation.run, "pictures": pictures}, {})
    text, picture, slider = case_blocks(changed, "mr")
    assert isinstance(text, Text)
    assert isinstance(picture, Picture)
    assert isinstance(slider, Slider)
    assert text.paragraphs[0].startswith(rule)
    assert picture.title == "Pictured images of mr"
    assert slider.views[0].label == {"psnr": "Best: image 0badcafe", "id": "First: image 0badcafe"}[by]


def test_what_all_datasets_share_is_said_once(evaluation: Evaluation) -> None:
    pictures = evaluation.run["pictures"]
    others = [{**case, "dataset": "ct"} for case in pictures["cases"]]
    both = {**pictures, "cases": [*pictures["cases"], *others]}
    changed = Evaluation(evaluation.folder, {**evaluation.run, "pictures": both}, {})
    assert [block.kind for block in case_blocks(changed, "mr")] == ["text", "picture", "slider"]
    assert [block.kind for block in case_blocks(changed, "ct")] == ["picture", "slider"]
    assert list(case_blocks(changed, "none")) == []
