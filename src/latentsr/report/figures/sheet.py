"""A figure laid out to the pixel: images keep their own pixels, words and scale bars have their places."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

DPI = 160
LARGE, NORMAL, SMALL = 9.5, 7.5, 6.8  # pt, of which one is DPI / 72 px
READ = 9.0  # pt, where a page is read on a phone
INK, FAINT, FRAME = "#111111", "#555555", "#56B4E9"  # the frame's blue is told apart by all (Okabe and Ito 2008)
ROUND_LENGTHS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500)  # mm
COLOURS = "inferno"  # lightness rises evenly, so that grey prints and colour-blind readers keep the order

Place = tuple[int, int, int, int]  # left, top, width, height in px


@dataclass
class Sheet:
    """A figure whose places are given in px from the top left corner."""

    width: int
    height: int
    figure: Figure = field(init=False)

    def __post_init__(self) -> None:
        self.figure = Figure(figsize=(self.width / DPI, self.height / DPI), dpi=DPI, facecolor="white")
        FigureCanvasAgg(self.figure)

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """Bare axes at a place."""
        bottom = self.height - top - height
        box = (left / self.width, bottom / self.height, width / self.width, height / self.height)
        axes = self.figure.add_axes(box)
        axes.xaxis.set_visible(False)
        axes.yaxis.set_visible(False)
        for spine in axes.spines.values():
            spine.set_visible(False)
        return axes

    def write(self, left: float, top: float, text: str, size: float = NORMAL, **style: Any) -> None:
        """Text whose top left corner is at a place, unless `style` says otherwise."""
        place = left / self.width, 1 - top / self.height
        self.figure.text(*place, text, fontsize=size, **{"va": "top", "color": INK, **style})

    def scale_bar(self, place: Place, field_of_view: float) -> None:
        """A white bar in the place's lower left corner, as long as the greatest round number of mm in a third of it.

        `field_of_view` is the place's width in mm.
        """
        left, top, width, height = place
        length = max((mm for mm in ROUND_LENGTHS if mm <= field_of_view / 3), default=ROUND_LENGTHS[0])
        wide = width * length / field_of_view
        self.axes(left + 11, top + height - 17, wide + 2, 6).set_facecolor("black")  # seen on white, too
        self.axes(left + 12, top + height - 16, wide, 4).set_facecolor("white")
        style = {"color": "white", "va": "bottom", "path_effects": [withStroke(linewidth=2, foreground="black")]}
        self.write(left + 12, top + height - 20, f"{length:g} mm", SMALL, **style)

    def colour_bar(
        self, left: float, top: float, width: float, title: str, greatest: float, *, open_ended: bool
    ) -> None:
        """The colours from 0 to `greatest` under their title; an open end stands for all that is greater too."""
        self.write(left, top, title, READ)
        axes = self.axes(left, top + 27, width, 14)
        axes.imshow(np.linspace(0, 1, 256)[None], cmap=COLOURS, aspect="auto", extent=(0, greatest, 0, 1))
        axes.xaxis.set_visible(True)
        ticks = np.linspace(0, greatest, 3)
        words = [f"{tick:.3g}" for tick in ticks]
        axes.set_xticks(ticks, [*words[:-1], words[-1] + " and more" * open_ended])
        left_label, _, right_label = axes.get_xticklabels()
        left_label.set_horizontalalignment("left")  # within the bar, so that no figure's edge cuts them
        right_label.set_horizontalalignment("right")
        axes.tick_params(axis="x", labelsize=READ - 0.5, length=3, colors=INK)
