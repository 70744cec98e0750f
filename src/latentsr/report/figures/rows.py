"""Axes whose rows are methods under headings: names of any length stand to the left, many rows make it higher."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from latentsr.report.figures.export import new_figure
from latentsr.report.figures.style import LINE, SMALL, SOFT, Look, Mark, wrapped

NAME_LETTERS, HEADING_LETTERS = 20, 40
ROW, LINE_HEIGHT, HEADING = 0.25, 0.15, 0.28  # inches of height
AROUND = 0.62  # inches for the axis below and its words
COLUMN = 0.16  # of the scale's width: the column of infinite values to the right of it
BEYOND = "#f1f3f5"  # of that column


@dataclass(frozen=True, eq=False)
class Rows:
    """Axes with y in inches from the top: the middle of each row, and its height."""

    figure: Figure
    axes: Axes
    places: tuple[float, ...]
    heights: tuple[float, ...]

    def write(self, row: int, text: str, *, shift: float = 0.0) -> None:
        """Words to the right of a row, outside the axes; `shift` inches lower."""
        where = self.axes.get_yaxis_transform()
        self.axes.text(1.03, self.places[row] + shift, text, transform=where, va="center", fontsize=SMALL)

    def absent(self, row: int, text: str, *, shift: float = 0.0) -> None:
        """Words in a row in place of a mark; `shift` inches lower."""
        where = self.axes.get_yaxis_transform()
        style: Look = {"va": "center", "fontsize": SMALL, "color": SOFT, "style": "italic"}
        self.axes.text(0.03, self.places[row] + shift, text, transform=where, **style)

    def draw_infinite(self, rows: Mapping[int, Mark]) -> None:
        """Marks in these rows for values of +inf, in a column right of the scale, behind a break of its axis.

        To be called last: the scale's limits and ticks are final then. Without rows nothing changes.
        """
        if not rows:
            return
        self.axes.autoscale_view()
        low, high = self.axes.get_xlim()
        end = high + COLUMN * (high - low)
        middle, where = (high + end) / 2, self.axes.get_xaxis_transform()
        self.axes.set_xticks([tick for tick in self.axes.get_xticks() if low <= tick <= high])
        self.axes.set_xlim(low, end)
        self.axes.axvspan(high, end, facecolor=BEYOND, edgecolor="none", zorder=0.2)
        slashes: Look = {"marker": [(-1, -1.5), (1, 1.5)], "linestyle": "none", "color": SOFT, "clip_on": False}
        self.axes.plot([high - 0.01 * (end - low), high + 0.01 * (end - low)], [0, 0], transform=where, **slashes)
        label: Look = {"xytext": (0, -7), "textcoords": "offset points", "ha": "center", "va": "top", "fontsize": SMALL}
        self.axes.annotate("\N{INFINITY}", (middle, 0), xycoords=where, **label)
        for row, look in rows.items():
            self.axes.plot([middle], [self.places[row]], linestyle="none", **look.point)


def new_rows(names: Sequence[tuple[str, str]], *, title: str, note: str, row: float = ROW) -> Rows:
    """Axes with a row for each (label, group); where the group changes, a row with its name stands before."""
    places, heights, headings, below, last = [], [], [], 0.0, ""
    for label, group in names:
        if group != last and group:
            words = wrapped(group, HEADING_LETTERS)
            headings.append((below + 0.06, words))
            below += HEADING + LINE_HEIGHT * words.count("\n")
        last = group
        height = row + LINE_HEIGHT * max(0, wrapped(label, NAME_LETTERS).count("\n") - (row > 2 * ROW - 0.1))
        places.append(below + height / 2)
        heights.append(height)
        below += height
    figure = new_figure(below + AROUND, title=title, note=note)
    axes = figure.subplots()
    axes.set_ylim(below, 0)
    axes.set_yticks(places, [wrapped(label, NAME_LETTERS) for label, _ in names])
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    for top, words in headings:
        where = axes.get_yaxis_transform()
        axes.axhline(top - 0.04, color=LINE, linewidth=0.7)
        patch: Look = {"facecolor": "white", "edgecolor": "none", "pad": 1.0}
        axes.text(0.015, top, words, transform=where, va="top", weight="bold", fontsize=SMALL, bbox=patch)
    return Rows(figure, axes, tuple(places), tuple(heights))
