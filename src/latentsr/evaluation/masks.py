"""Where the masks of a dataset's images come from: a folder that was named, or else the dataset itself."""

from pathlib import Path
from typing import Literal

from latentsr.data.records import Dataset
from latentsr.errors import InputError
from latentsr.evaluation.files import PairedFiles, Target, listed, pair_files, unfit

Origin = Literal["folder", "dataset"]


def find_masks(folder: Path | None, dataset: Dataset, target: Target) -> PairedFiles | None:
    """A mask for each image of the target: those of the folder where one is named, else the dataset's, if it has any.

    Args:
        folder: of PNG and TIFF files, named by id; None: those that the dataset was prepared with.
        dataset: whose images are measured.
        target: the images, all of the split.

    Raises:
        InputError: no such folder; masks that are missing or do not fit, or that only some images have: it lists them.
    """
    if folder is None:
        return _prepared(dataset, target)
    if not folder.is_dir():
        raise InputError(
            f"the option masks is {folder}: no such folder; expected one with a PNG or TIFF mask for each image"
        )
    return pair_files(folder, target, what="masks")


def origin(folder: Path | None) -> Origin:
    """Where masks come from, if there are any."""
    return "dataset" if folder is None else "folder"


def _prepared(dataset: Dataset, target: Target) -> PairedFiles | None:
    """The dataset's own masks, or None where no image of the split has one."""
    naming, there = target.naming, [record for record in target.records if record.mask]
    if not there:
        return None
    paths = {record.id: dataset.root / record.mask for record in there}
    without = {record.id for record in target.records} - paths.keys()
    faults = {"without one": without} | unfit(paths.items(), there)
    if any(faults.values()):
        raise InputError(
            f"masks of dataset '{dataset.name}': expected one in grey and of HR's size for each of "
            f"{len(target.records)} images ({listed(faults, naming)}); prepare it again with masks for "
            f"all, or name a folder with all of them in the option masks{naming.hint}"
        )
    return PairedFiles(paths, {record.id: record.mask_sha256 for record in there}, naming)
