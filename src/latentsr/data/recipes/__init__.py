"""The recipes of `latentsr prepare`: how the images, patients and splits of a source are found.

A recipe is one file and one row of RECIPES, of one of two kinds. A function finds files: it takes the source and the
options that all such recipes have, and returns a `latentsr.data.prepare.Source`. A subclass of Recipe makes the images
of a public dataset itself, as records of its options with a method `cases`. Of both, keyword-only parameters, each
Annotated with a line of help, are options of the command, and the docstring is its help. Heavy modules are imported
when a recipe is called: the command line reads the table at once.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from latentsr.data.recipes.brats import BraTS
from latentsr.data.recipes.mimic_cxr import MimicCXR
from latentsr.data.recipes.mrnet import MRNet
from latentsr.data.recipes.recipe import Recipe

if TYPE_CHECKING:
    from latentsr.data.prepare import Labels, Options, Source
    from latentsr.data.slices import Slice


def folder(
    source: Path,
    options: "Options",
    *,
    patient_pattern: Annotated[
        str | None,
        "Regular expression on the path, with a group (?P<patient>...); further named groups become columns, by "
        "which evaluate makes subgroups.",
    ] = None,
    patients: Annotated[Path | None, "CSV table of files and patients."] = None,
    file_column: Annotated[str, "Column of that table: path, name or stem of the file."] = "file",
    patient_column: Annotated[str, "Column of that table: the patient."] = "patient",
    block: Annotated[int | None, "No patient ids: take N neighbouring numbers of a series as one patient."] = None,
    masks: Annotated[
        Path | None, "Folder of a mask an image, under the same names as SRC: regions for evaluate."
    ] = None,
    columns: Annotated[
        Path | None,
        "CSV table of the images' columns, such as scanner or sex, for subgroups in evaluate: first column id or file "
        "name, the others are yours.",
    ] = None,
) -> "Source":
    """A folder of DICOM, NIfTI, PNG, TIFF or JPEG becomes a dataset; no patient and no image is in two splits.

    Files that are no images, cannot be read or are too small are listed and skipped.
    """
    from latentsr.data import patients as rules
    from latentsr.data.prepare import Labels, Source
    from latentsr.data.slices import pair_masks
    from latentsr.errors import OptionError
    from latentsr.io import find

    table = None if patients is None else rules.read_patient_table(patients, file_column, patient_column)
    rule = rules.PatientRule(table=table, pattern=patient_pattern, block=block)
    own = {} if columns is None else rules.read_columns(columns)
    if twice := {name for row in own.values() for name in row} & set(rule.attribute_names):
        raise OptionError(f"column {', '.join(sorted(twice))}: both of the patient pattern and of the table; keep one")
    items = find([source])
    rules.check_columns(own, [item.relative for item in items])

    def labels(relative: Path, one: "Slice") -> "Labels":
        split = rules.named_split(relative)
        inner = relative
        if options.split == rules.BY_FOLDER:
            inner = Path(*(part for part in relative.parts if part != split))
        id = rules.image_id(inner) + one.suffix
        attributes = rule.attributes(inner) | dict({} if columns is None else rules.columns_of(own, relative, id))
        return Labels(id, rule.patient(inner, one.patient), split, attributes)

    facts: dict[str, Any] = {"rule": rule} | ({} if columns is None else {"columns": own})
    facts |= {"pattern_columns": rule.attribute_names} if rule.attribute_names else {}
    named = any(rules.named_split(item.relative) for item in items)
    paired = None if masks is None else pair_masks(masks, source, items, max_pixels=options.max_pixels)
    return Source(source, items, labels, facts, masks=paired, names_splits=named)


if TYPE_CHECKING:
    from latentsr.data.prepare import Source

RECIPES: Mapping[str, "Callable[..., Source] | type[Recipe]"] = {
    "folder": folder,
    "mrnet": MRNet,
    "brats": BraTS,
    "mimic-cxr": MimicCXR,
}
