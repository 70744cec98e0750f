"""What a recipe of a public dataset is: a record of options, and the cases that it makes of a folder."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from latentsr.config import Config
from latentsr.errors import OptionError

TOP = np.iinfo(np.uint16).max


@dataclass(frozen=True)
class Sample:
    """One image of a case, as it is stored.

    Attributes:
        id: of the record, unique in the dataset.
        hr: uint8 or uint16, (rows, columns).
        lr: an LR file of its own, uint8 or uint16; None: LR is made from HR by a degradation.
        mask: uint8, 0 outside the region of interest and 255 inside; None without one.
        spacing: (row, column) in mm; None where the source does not say.
        resized_from: (rows, columns) of the source where HR was resized.
    """

    id: str
    hr: NDArray[Any]
    lr: NDArray[Any] | None = None
    mask: NDArray[np.uint8] | None = None
    spacing: tuple[float, float] | None = None
    resized_from: tuple[int, int] | None = None


@dataclass(frozen=True)
class Case:
    """The files of one exam, volume or image, and how its samples are made when its turn comes.

    `attributes` are columns of its records, such as labels or the view.
    """

    patient: str
    split: str
    files: tuple[Path, ...]
    samples: Callable[[], Iterator[Sample]]
    attributes: Mapping[str, str] = field(default_factory=dict)


class Recipe(Config):
    """The options of a recipe; its fields' descriptions are the help of the command's options.

    Attributes:
        about: the command's help.
        example: of a source folder, for the command's help.
        notes: what dataset.json says of every dataset of this recipe, such as what a patient is.
    """

    about: ClassVar[str]
    example: ClassVar[str]
    notes: ClassVar[tuple[str, ...]] = ()

    def refuse_beside_published(self, *decided: str) -> None:
        """OptionError where one of these options, which `as_published` decides, is given too."""
        if given := [name for name in decided if getattr(self, name) != type(self).model_fields[name].default]:
            raise OptionError(
                f"as_published decides {', '.join(given)}: leave {'it' if len(given) == 1 else 'these'} out"
            )

    def cases(self, source: Path) -> Sequence[Case]:
        """The cases below `source`, in the order of their records; InputError for a tree of another layout."""
        raise NotImplementedError


def shares(text: str) -> tuple[float, float, float]:
    """The shares of train, valid and test in a text such as 0.8,0.1,0.1; OptionError for others."""
    try:
        train, valid, test = (float(part) for part in text.split(","))
    except ValueError as error:
        raise OptionError(f"split {text}: expected three shares, such as 0.8,0.1,0.1") from error
    if min(train, valid, test) < 0 or abs(train + valid + test - 1) > 1e-6:
        raise OptionError(f"split {text}: expected shares of 0 or more that add up to 1, such as 0.8,0.1,0.1")
    return train, valid, test


def to_levels(pixels: NDArray[Any], low: float, high: float) -> NDArray[np.uint16]:
    """The pixels between `low` and `high` as 16-bit levels, rounded; values beyond are clipped."""
    share = (pixels.astype(np.float64) - low) / (high - low)
    return np.round(share.clip(0, 1) * TOP).astype(np.uint16)


def truncated_levels(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """The pixels as the study stores them: min-max to 8 bit by truncation, floor(255 x)."""
    low, high = float(pixels.min()), float(pixels.max())
    return ((pixels.astype(np.float64) - low) / (high - low) * 255).astype(np.uint8)
