"""Recipes of public datasets: which of their files become records, of which patient, in which split.

A recipe is one file and one row of RECIPES: a record of options with a method `cases`. `latentsr prepare NAME` has its
fields as options, so that its file imports no torch.
"""

from collections.abc import Mapping

from latentsr.data.recipes.brats import BraTS
from latentsr.data.recipes.mimic_cxr import MimicCXR
from latentsr.data.recipes.mrnet import MRNet
from latentsr.data.recipes.recipe import Case, Recipe, Sample

__all__ = ["RECIPES", "Case", "Recipe", "Sample"]

RECIPES: Mapping[str, type[Recipe]] = {
    "mrnet": MRNet,
    "brats": BraTS,
    "mimic-cxr": MimicCXR,
}
