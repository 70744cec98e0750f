"""What a recipe of a public dataset is: a record of options, and the cases that it makes of a folder."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar, get_args, get_origin

from latentsr.errors import OptionError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TOP = 65535  # of 16 bits
Item = TypeVar("Item")


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
        slice_mm: where a slice lies along the normal of its volume; None where that is not known.
    """

    id: str
    hr: "NDArray[Any]"
    lr: "NDArray[Any] | None" = None
    mask: "NDArray[np.uint8] | None" = None
    spacing: tuple[float, float] | None = None
    resized_from: tuple[int, int] | None = None
    slice_mm: float | None = None


@dataclass(frozen=True)
class Case:
    """The files of one exam, volume or image, and how its samples are made when its turn comes.

    `attributes` are columns of its records, such as labels or the view; `unlisted` names the source's tables
    that should have a row of the case and have none.
    """

    patient: str
    split: str
    files: tuple[Path, ...]
    samples: Callable[[], Iterator[Sample]]
    attributes: Mapping[str, str] = field(default_factory=dict)
    unlisted: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The options of a recipe of a public dataset, and the cases that it makes of a folder.

    Attributes:
        example: of a source folder, for the command's help.
        decided: the options that `as_published` decides.
        notes: what dataset.json says of every dataset of this recipe, such as what a patient is.
        published_notes: the same where `as_published`, whose LR files were made by about `published_degradation`.
    """

    example: ClassVar[str]
    decided: ClassVar[tuple[str, ...]] = ()
    notes: ClassVar[tuple[str, ...]] = ()
    published_notes: ClassVar[tuple[str, ...]] = ()
    published_degradation: ClassVar[str] = ""
    as_published: bool = False

    def __post_init__(self) -> None:
        for one in fields(self):
            kind, value = get_args(one.type)[0], getattr(self, one.name)
            if get_origin(kind) is Literal and value not in get_args(kind):
                raise OptionError(f"the option {one.name} is {value}: expected one of {', '.join(get_args(kind))}")
            least = 0 if one.name == "seed" else 1
            if isinstance(value, int) and not isinstance(value, bool) and value < least:
                raise OptionError(f"the option {one.name} is {value}: expected {least} or more")

        defaults = {one.name: one.default for one in fields(self)}
        given = [name for name in self.decided if getattr(self, name) != defaults[name]]
        if self.as_published and given:
            raise OptionError(f"as_published decides {', '.join(given)}: leave {', '.join(given)} out")

    @property
    def facts(self) -> dict[str, Any]:
        """The options that decided the images: without those in whose place `as_published` stands."""
        return {name: value for name, value in vars(self).items() if not (self.as_published and name in self.decided)}

    def cases(self, source: Path) -> Sequence[Case]:
        """The cases below `source`, in the order of their records; InputError for a tree of another layout."""
        raise NotImplementedError


def split_by_shares(patients: Iterable[str], shares: str, seed: int, most: int | None = None) -> dict[str, str]:
    """By patient its split, drawn with the seed: the shares are a text such as 0.8,0.1,0.1, `most` is how many stay.

    OptionError for other texts.
    """
    import numpy as np

    try:
        train, valid, test = (float(part) for part in shares.split(","))
    except ValueError as error:
        raise OptionError(f"split {shares}: expected three shares, such as 0.8,0.1,0.1") from error
    if min(train, valid, test) < 0 or abs(train + valid + test - 1) > 1e-6:
        raise OptionError(f"split {shares}: expected shares of 0 or more that add up to 1, such as 0.8,0.1,0.1")
    drawn = sorted(set(patients))
    np.random.default_rng(seed).shuffle(drawn)
    drawn = drawn[:most]
    ends = round(train * len(drawn)), round((train + valid) * len(drawn))
    return {one: "train" if n < ends[0] else "valid" if n < ends[1] else "test" for n, one in enumerate(drawn)}


def evenly(items: Sequence[Item], count: int) -> list[Item]:
    """So many of the items, each from the middle of its part; all of them if there are no more."""
    if len(items) <= count:
        return list(items)
    return [items[int((i + 0.5) * len(items) / count)] for i in range(count)]


def levels(shares: "NDArray[Any]") -> "NDArray[np.uint16]":
    """Shares of white as 16-bit levels, rounded; those beyond 0 and 1 are clipped."""
    import numpy as np

    return np.asarray(np.round(shares.clip(0, 1) * TOP), np.uint16)


def to_levels(pixels: "NDArray[Any]", low: float, high: float) -> "NDArray[np.uint16]":
    """The pixels between `low` and `high` as 16-bit levels."""
    return levels((pixels.astype("float64") - low) / (high - low))


def truncated_levels(pixels: "NDArray[Any]") -> "NDArray[np.uint8]":
    """The pixels as the study stores them: min-max to 8 bit by truncation, floor(255 x)."""
    import numpy as np

    low, high = float(pixels.min()), float(pixels.max())
    return ((pixels.astype(np.float64) - low) / (high - low) * 255).astype(np.uint8)
