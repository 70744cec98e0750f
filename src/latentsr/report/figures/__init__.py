"""Figures of reports: numbers in, drawings out. matplotlib's only home, free of torch.

The demo's comparison is a file of its own, `report/figures/comparison.py`.
"""

from latentsr.report.figures.agreement import bland_altman
from latentsr.report.figures.bands import band_bars
from latentsr.report.figures.cases import Case, Panel, Region, panels, worst_region
from latentsr.report.figures.ceiling import ceiling_models, ceiling_patients
from latentsr.report.figures.curves import latent_curves, spectra
from latentsr.report.figures.distributions import violins
from latentsr.report.figures.forest import bars, intervals
from latentsr.report.figures.hallucination import mean_maps, rates
from latentsr.report.figures.scatter import perception_distortion, regression
from latentsr.report.figures.values import Interval, Point

__all__ = [
    "Case", "Interval", "Panel", "Point", "Region", "band_bars", "bars", "bland_altman", "ceiling_models",
    "ceiling_patients", "intervals", "latent_curves", "mean_maps", "panels", "perception_distortion", "rates",
    "regression", "spectra", "violins", "worst_region",
]  # fmt: skip
