"""The comparison: laid out to the pixel, nothing cut or on top of another, the same bytes again."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from mpl_toolkits.axes_grid1.anchored_artists import AnchoredSizeBar
from PIL import Image

from latentsr.errors import LatentSRError
from latentsr.provenance import RESEARCH_USE
from latentsr.report.figures.panels import WIDE, Caption, Case, Panel, Region, comparison, save

SCORES = "PSNR 34.54 dB   SSIM 0.921\nHaarPSI 0.835   sharpness 145 %"


@pytest.fixture
def figure() -> Figure:
    truth = np.linspace(0, 1, WIDE * WIDE).reshape(WIDE, WIDE)
    error = np.full((WIDE, WIDE), 6.0)
    panels = [Panel("LR", truth[::4, ::4], "72 x 72 px, the input")]
    panels += [Panel(name, truth, SCORES, error, f"Error of {name}") for name in ("bicubic", "mean", "one sample")]
    panels.append(Panel("Truth", truth, "", error, "Spread of 4 samples"))
    case = Case("The marked lesion, grey from 112 to 505", tuple(panels), Region(124, 12, 48, 48), 0.723)
    caption = Caption("Heading", "A line below", "Error and spread", ("In % of the range.",), "Model, seed 0")
    return comparison(case, caption, grey=(0, 1), greatest=12)


def test_it_is_1600_px_wide_and_every_pixel_has_its_place(figure: Figure, tmp_path: Path) -> None:
    save(figure, tmp_path / "panel.png")
    pixels = np.array(Image.open(tmp_path / "panel.png").convert("L")).astype(int)
    assert pixels.shape[1] == 1600
    axes = figure.axes[0].get_window_extent()
    assert axes.width == pytest.approx(WIDE)
    top, left = round(pixels.shape[0] - axes.y1), round(axes.x0)
    lr = pixels[top : top + WIDE, left : left + WIDE]
    assert np.unique(lr[:4, :4]).size == 1
    assert lr[0, 0] < lr[100, 280] < lr[200, 280]


def test_no_text_is_cut_or_lies_on_another(figure: Figure) -> None:
    figure.canvas.draw()
    boxes = {text.get_text(): text.get_window_extent() for text in figure.texts if text.get_text()}
    for text, box in boxes.items():
        assert 0 <= box.x0 <= box.x1 <= figure.bbox.x1, text
        assert 0 <= box.y0 <= box.y1 <= figure.bbox.y1, text
    for (text, box), (other, second) in itertools.combinations(boxes.items(), 2):
        assert not box.overlaps(second), f"{text} on {other}"


def test_it_says_research_use_and_the_scale(figure: Figure) -> None:
    texts = [text.get_text() for text in figure.texts]
    assert RESEARCH_USE in texts
    bars = [one for axes in figure.axes for one in axes.artists if isinstance(one, AnchoredSizeBar)]
    assert [bar.txt_label.get_children()[0].get_text() for bar in bars] == ["50 mm", "10 mm"]


def test_differences_share_one_scale_and_the_detail_its_place(figure: Figure) -> None:
    maps = [image for axes in figure.axes for image in axes.images if image.get_cmap().name == "inferno"]
    assert len(maps) == 5
    assert {image.get_clim() for image in maps[:4]} == {(0, 12)}
    details = [axes for axes in figure.axes if axes.get_xlim() == (12, 60)]
    assert len(details) == 5
    assert {axes.get_ylim() for axes in details} == {(172, 124)}
    assert all(image.get_interpolation() in ("none", "auto") for axes in figure.axes for image in axes.images)


def test_the_same_figure_gives_the_same_bytes(figure: Figure, tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        save(figure, tmp_path / name, text={"Software": "latentsr"})
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert Image.open(tmp_path / "a.png").text["Description"] == RESEARCH_USE


def test_what_cannot_be_written_is_one_line(figure: Figure, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LatentSRError, match="cannot write"):
        save(figure, tmp_path / "file" / "panel.png")
