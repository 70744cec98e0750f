"""Figures of reports: numbers in, drawings out. matplotlib's only home, free of torch."""

from latentsr.report.figures.forest import band_bars, intervals, rates, violins
from latentsr.report.figures.panels import Case, Panel, Region, mean_maps, panels
from latentsr.report.figures.scatter import (
    bland_altman,
    ceiling_models,
    ceiling_patients,
    latent_curves,
    perception_distortion,
    regression,
    spectra,
)
from latentsr.report.figures.style import Interval, Point

__all__ = [
    "Case", "Interval", "Panel", "Point", "Region", "band_bars", "bland_altman", "ceiling_models",
    "ceiling_patients", "intervals", "latent_curves", "mean_maps", "panels", "perception_distortion", "rates",
    "regression", "spectra", "violins",
]  # fmt: skip
