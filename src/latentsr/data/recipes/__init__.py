"""The recipes of `latentsr prepare`: how the images, patients and splits of a source are found.

A recipe is a function of the source and of the options that all recipes have; its keyword-only parameters, each
Annotated with a line of help, are options of its own, its docstring is the help of its command. It returns a
`latentsr.data.prepare.Source`. It imports heavy modules when it is called: the command line reads the table at once.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from latentsr.data.recipes.folder import folder

if TYPE_CHECKING:
    from latentsr.data.prepare import Source

RECIPES: Mapping[str, "Callable[..., Source]"] = {
    "folder": folder,
}
