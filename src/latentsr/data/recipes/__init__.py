"""The recipes of `latentsr prepare`: how the images, patients and splits of a source are found.

A recipe is one file and one row of RECIPES, of one of two kinds. A function finds files: it takes the source and the
options that all such recipes have, and returns a `latentsr.data.prepare.Source`. A subclass of Recipe makes the images
of a public dataset itself, as records of its options with a method `cases`. Of both, keyword-only parameters, each
Annotated with a line of help, are options of the command, and the docstring is its help. Heavy modules are imported
when a recipe is called: the command line reads the table at once.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from latentsr.data.recipes.brats import BraTS
from latentsr.data.recipes.folder import folder
from latentsr.data.recipes.mimic_cxr import MimicCXR
from latentsr.data.recipes.mrnet import MRNet
from latentsr.data.recipes.recipe import Recipe

if TYPE_CHECKING:
    from latentsr.data.prepare import Source

RECIPES: Mapping[str, "Callable[..., Source] | type[Recipe]"] = {
    "folder": folder,
    "mrnet": MRNet,
    "brats": BraTS,
    "mimic-cxr": MimicCXR,
}
