"""Curves, one per method, over what has an order: rings of the spectrum, scales of the latent."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D

from latentsr.errors import InputError
from latentsr.report.blocks import Drawing
from latentsr.report.figures.export import add_legend, drawing, new_figure
from latentsr.report.figures.style import (
    LEGEND_LETTERS,
    SOFT,
    Look,
    axis_label,
    checked_frame,
    decimals,
    house_style,
    joined,
    marks,
    number,
    wrapped,
)

AXES = 2.5  # inches of height
REFERENCE: Look = {"color": "#8b949e", "linewidth": 4.5, "zorder": 1}  # wide and grey: one method's colour is black
POWER = "log10 power"


def spectra(frame: pd.DataFrame, *, reference: str | None = None, methods: Sequence[str] | None = None) -> Drawing:
    """Radial spectra as curves; given a `reference`, a second axes with each method's difference to it.

    `frame` has one column per ring from the centre to the corner of the spectrum; the row of the reference, such as HR,
    is a wide grey line without marks. Other arguments and errors as in `band_bars`; InputError, too, without that row.
    """
    values = checked_frame(frame)
    panels = {POWER: values}
    if reference is not None:
        if reference not in values.index:
            raise InputError(f"no row '{reference}' among {', '.join(values.index)}; name one of these as reference")
        panels[wrapped(f"minus {reference}", 20)] = values - values.loc[reference]
    rings = [str(ring + 1) for ring in range(values.shape[1])]
    words = "Ring of the spectrum: 1 coarse, last one fine"
    return _curves(panels, words, rings, f"Radial spectra, {POWER}", methods, reference)


def latent_curves(frame: pd.DataFrame, *, methods: Sequence[str] | None = None) -> Drawing:
    """Latent fidelity over scales as curves; arguments and errors as in `band_bars`.

    `frame` has one column per scale (side of the pooled latent, such as 64, 32, ..., 1), fine to coarse.
    """
    values = checked_frame(frame)
    label = axis_label("Cosine of SR and HR latent", better="higher")
    words = "Side of the pooled latent: fine (left) to coarse"
    return _curves({wrapped(label, 34): values}, words, list(values.columns), label, methods)


def _curves(
    panels: dict[str, pd.DataFrame], x_label: str, steps: Sequence[str], about: str, methods: Sequence[str] | None,
    reference: str | None = None,
) -> Drawing:  # fmt: skip
    """Axes below each other, each under its label of y, with one legend; `about` begins the alt text."""
    values = next(iter(panels.values()))
    names = [name for name in values.index if name != reference]
    given = marks(names, None if methods is None else [name for name in methods if name != reference])
    looks = {name: REFERENCE if name == reference else given[name].line for name in values.index}
    # A note that names the methods with values that no curve can show.
    absent = {
        "Lossless, above the axis": values.index[np.isposinf(values).any(axis=1)],
        "Without a value somewhere": values.index[(values.isna() | np.isneginf(values)).any(axis=1)],
    }
    note = " ".join(f"{words}: {', '.join(found)}." for words, found in absent.items() if len(found))
    with house_style():
        figure = new_figure(AXES * (1 + 0.7 * (len(panels) - 1)) + 0.4, note=note)
        all_axes = figure.subplots(len(panels), sharex=True, height_ratios=[1, 0.7][: len(panels)], squeeze=False)
        for axes, (label, found) in zip(all_axes.flat, panels.items(), strict=True):
            shown = found.where(np.isfinite(found))
            for name, row in shown.iterrows():
                axes.plot(np.arange(len(row)), row.to_numpy(), **looks[name])
            axes.grid(axis="both")
            axes.set_ylabel(label)
            if shown.min().min() < 0 < shown.max().max():
                axes.axhline(0, color=SOFT, linewidth=0.8, zorder=0)
        axes.set_xticks(range(len(steps)), steps)
        axes.set_xlabel(x_label)
        add_legend(
            figure, [Line2D([], [], label=wrapped(name, LEGEND_LETTERS), **look) for name, look in looks.items()]
        )
        digits, (first, last) = decimals(values.to_numpy().ravel()), values.columns[[0, -1]]
        parts = [
            f"{name}: {number(row[first], digits)} at {first}, {number(row[last], digits)} at {last}"
            for name, row in values.iterrows()
        ]
        return drawing(figure, f"Curves over {values.shape[1]} steps: {about}. {joined(parts)}.")
