"""What an image is called in errors and warnings: a short hash, so that no id, file name or path is told.

An id comes from a file's name, and a file's name may hold a patient's. Whoever needs the id sets the option show_ids.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from latentsr.stats.names import short_hash

LISTED = 10  # images that a message names, the rest is counted


@dataclass(frozen=True)
class Naming:
    """How the images of one dataset are called."""

    dataset: str
    show_ids: bool = False

    def __call__(self, id: str) -> str:
        """The short hash of the image, or its id where that was asked for."""
        return id if self.show_ids else short_hash(self.dataset, id)

    def listed(self, ids: Iterable[str]) -> str:
        """The images' names in the order of their ids, at most ten, and how many more there are."""
        ordered = sorted(ids)
        more = f" and {len(ordered) - LISTED} more" if len(ordered) > LISTED else ""
        return ", ".join(map(self, ordered[:LISTED])) + more

    @property
    def hint(self) -> str:
        """How to find the file behind a name."""
        return "" if self.show_ids else "; images are named by a hash, the option show_ids names them by id"
