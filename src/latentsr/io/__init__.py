"""Images in and out: DICOM, NIfTI, PNG and TIFF."""

from latentsr.io.items import SUFFIXES, Item, find, kind_of, output_name, uncertainty_name
from latentsr.io.reading import read
from latentsr.io.writing import write, write_uncertainty

__all__ = [
    "SUFFIXES",
    "Item",
    "find",
    "kind_of",
    "output_name",
    "read",
    "uncertainty_name",
    "write",
    "write_uncertainty",
]
