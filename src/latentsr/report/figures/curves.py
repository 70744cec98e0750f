"""Curves, one a method, over what has an order: rings of the spectrum, scales of the latent."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from latentsr.errors import InputError
from latentsr.report.drawing import Drawing
from latentsr.report.figures.export import add_legend, drawing, new_figure
from latentsr.report.figures.style import (
    LEGEND_LETTERS,
    SOFT,
    Look,
    Mark,
    axis_label,
    checked_frame,
    decimals,
    house_style,
    marks,
    number,
    told,
    wrapped,
)

AXES = 2.5  # inches of height
REFERENCE: Look = {"color": "#8b949e", "linewidth": 4.5, "zorder": 1}  # wide and grey: one method's colour is black


def spectra(
    frame: pd.DataFrame,
    *,
    unit: str = "log10 power",
    reference: str | None = None,
    methods: Sequence[str] | None = None,
) -> Drawing:
    """Radial spectra as curves; given a `reference`, a second axes with each method's difference to it.

    `frame` has a column a ring from the centre to the corner of the spectrum; the row of the reference, such as HR, is
    a wide grey line without marks. Other arguments and errors as in `band_bars`; InputError, too, without that row.
    """
    values = checked_frame(frame)
    if reference is not None and reference not in values.index:
        raise InputError(f"no row '{reference}' among {', '.join(values.index)}; name one of these as reference")
    with house_style():
        figure = _figure(values, panels=1 if reference is None else 2)
        upper, *lower = figure.axes
        looks = _looks(values, reference, methods)
        _draw(upper, values, looks)
        upper.set_ylabel(unit)
        if reference is not None and lower:
            _draw(lower[0], values - values.loc[reference], looks)
            lower[0].set_ylabel(wrapped(f"minus {reference}", 20))
        figure.axes[-1].set_xticks(range(values.shape[1]), [str(ring + 1) for ring in range(values.shape[1])])
        figure.axes[-1].set_xlabel("Ring of the spectrum: 1 coarse, last one fine")
        _legend(figure, looks)
        return drawing(figure, _told(values, f"Radial spectra, {unit}"))


def latent_curves(
    frame: pd.DataFrame,
    *,
    quantity: str = "Cosine of SR and HR latent",
    unit: str = "",
    better: str = "higher",
    methods: Sequence[str] | None = None,
) -> Drawing:
    """Latent fidelity over scales as curves; arguments and errors as in `band_bars`.

    `frame` has a column a scale (side of the pooled latent, such as 64, 32, ..., 1), fine to coarse.
    """
    values = checked_frame(frame)
    label = axis_label(quantity, unit, better)
    with house_style():
        figure = _figure(values, panels=1)
        looks = _looks(values, None, methods)
        _draw(figure.axes[0], values, looks)
        figure.axes[0].set_ylabel(wrapped(label, 34))
        figure.axes[0].set_xticks(range(values.shape[1]), values.columns)
        figure.axes[0].set_xlabel("Side of the pooled latent: fine (left) to coarse")
        _legend(figure, looks)
        return drawing(figure, _told(values, label))


def _figure(values: pd.DataFrame, *, panels: int) -> Figure:
    """Axes below each other, with room for the legend."""
    # A line that names the methods with values that no curve can show.
    names = {
        "Lossless, above the axis": values.index[np.isposinf(values).any(axis=1)],
        "Without a value somewhere": values.index[(values.isna() | np.isneginf(values)).any(axis=1)],
    }
    absent = " ".join(f"{words}: {', '.join(found)}." for words, found in names.items() if len(found))
    figure = new_figure(AXES * (1 + 0.7 * (panels - 1)) + 0.4, note=absent)
    figure.subplots(panels, sharex=True, height_ratios=[1, 0.7][:panels])
    return figure


def _looks(values: pd.DataFrame, reference: str | None, methods: Sequence[str] | None) -> dict[str, Mark | None]:
    """Each row's mark, None for the reference's wide line."""
    looks: dict[str, Mark | None] = {}
    names = [name for name in values.index if name != reference]
    given = marks(names, None if methods is None else [name for name in methods if name != reference])
    for name in values.index:
        looks[name] = given.get(name)
    return looks


def _draw(axes: Axes, values: pd.DataFrame, looks: dict[str, Mark | None]) -> None:
    shown = values.where(np.isfinite(values))
    for name, row in shown.iterrows():
        axes.plot(np.arange(len(row)), row.to_numpy(), **_line(looks[name]))
    axes.grid(axis="both")
    axes.axhline(0, color=SOFT, linewidth=0.8, zorder=0) if (shown.min().min() < 0 < shown.max().max()) else None


def _line(look: Mark | None) -> Look:
    return REFERENCE if look is None else look.line


def _legend(figure: Figure, looks: dict[str, Mark | None]) -> None:
    handles = [Line2D([], [], label=wrapped(name, LEGEND_LETTERS), **_line(look)) for name, look in looks.items()]
    add_legend(figure, handles)


def _told(values: pd.DataFrame, about: str) -> str:
    digits = decimals(values.to_numpy().ravel())
    first, last = values.columns[0], values.columns[-1]
    parts = [
        f"{name}: {number(row[first], digits)} at {first}, {number(row[last], digits)} at {last}"
        for name, row in values.iterrows()
    ]
    return f"Curves over {values.shape[1]} steps: {about}. {told(parts)}."
