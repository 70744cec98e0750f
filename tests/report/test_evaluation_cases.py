"""Pictured cases on the page: the scale bar follows each image's own spacing, and the words say what it is worth."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from latentsr.io.raster import write_pixels
from latentsr.report import evaluation_cases
from latentsr.report.evaluation_cases import case_section, scale_text
from latentsr.report.evaluation_data import Evaluation
from latentsr.report.figures import Case
from latentsr.report.page import Slider


@pytest.mark.parametrize(
    ("spacings", "said", "unsaid"),
    [
        ([None, None], ["no pixel spacing, so there is no scale bar"], ["white bar", "square"]),
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
    """Two pictured images of one method, the second of an evaluation that recorded no spacing."""
    cases: list[dict[str, Any]] = []
    for name, image in (("best", "0badcafe"), ("worst", "0b5f77aa")):
        for file in ("hr", "lr", "0", "0-error"):
            pixels = np.random.default_rng(0).integers(0, 255, (32, 48), np.uint8)
            write_pixels(tmp_path / "pictures" / image / f"{file}.png", pixels)
        case = {
            "dataset": "mr",
            "reasons": [{"case": name, "method": "bicubic"}],
            "image": image,
            "psnr": {"bicubic": 30.0},
            "zoom": [4, 8, 8, 8],
        }
        cases.append(case | ({"spacing": [0.8, 0.5]} if name == "best" else {}))
    cases[1]["reasons"] += [{"case": "loss", "method": "a"}, {"case": "loss", "method": "b"}]
    pictures = {"chief": "bicubic", "chosen_by": "psnr", "white_error": 0.1, "cases": cases}
    run = {"methods": [{"name": "bicubic"}], "pictures": pictures}
    return Evaluation(tmp_path, run, {})


def test_the_bar_is_that_of_the_columns(evaluation: Evaluation, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Case] = []

    def panels(cases: list[Case], **options: object) -> None:
        drawn.extend(cases)

    monkeypatch.setattr(evaluation_cases, "panels", panels)
    section = case_section(evaluation, "mr")
    assert [case.spacing for case in drawn] == [0.5, None]
    assert "Images without a bar came without a spacing" in str(section)


def test_any_two_images_can_be_compared_while_the_page_stays_small(
    evaluation: Evaluation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slider() -> Slider:
        section = case_section(evaluation, "mr")
        assert section is not None
        assert isinstance(section.blocks[-1], Slider)
        return section.blocks[-1]

    whole = slider()
    assert (whole.names, whole.shown) == (("LR, enlarged", "bicubic", "HR"), (0, 1))
    assert [view.label for view in whole.views] == [
        "Best: image 0badcafe", "Worst; furthest below bicubic: a and b: image 0b5f77aa",
    ]  # fmt: skip
    assert [len(view.images) for view in whole.views] == [3, 3]
    monkeypatch.setattr(evaluation_cases, "MOST_BYTES", 1)
    small = slider()
    assert len(small.views) == 1
    assert "1 of 2 images are not among these" in small.caption
