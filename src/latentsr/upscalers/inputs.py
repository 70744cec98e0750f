"""What a model's training images looked like, as its config records it, and how an input is unlike them."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from latentsr.config import Config
from latentsr.upscalers.calibration import (
    MARGIN,
    RINGS,
    SMALLEST_SIDE,
    InputRange,
    lr_features,
    middle,
    stretched,
)  # fmt: skip
from latentsr.volume import Volume

if TYPE_CHECKING:
    from torch import Tensor

FEWEST = 50  # images of a set whose statistics say anything
SHARE = 0.99  # of the training images lie inside the ranges
MOST_SLICES = 32  # of a volume that are compared, evenly spaced
OTHER_SPACING = 1.5  # times below or above the training's: worth a warning
_BLOCK, _QUIETEST = 4, 0.1  # side in pixels, and share of the blocks that noise is measured in
_LEAST_ENERGY = 1e-8  # of images in [0, 1]: noise far below a grey level


def noise_feature(lr: "Tensor | NDArray[Any]") -> NDArray[np.float64]:
    """Log10 of the mean square of second differences in the quietest tenth of each image's blocks, (images,).

    Images (images, 1, rows, columns) are stretched to their own smallest and largest value. The differences, along
    rows of differences along columns, leave out edges and slopes. Source of the mask: Immerkaer 1996, equation 3.
    """
    rough = np.diff(np.diff(stretched(lr)[:, 0], 2, axis=-1), 2, axis=-2)
    rows, columns = (side // _BLOCK for side in rough.shape[-2:])
    blocks = rough[:, : rows * _BLOCK, : columns * _BLOCK].reshape(-1, rows, _BLOCK, columns, _BLOCK)
    energy = np.square(blocks).mean(axis=(2, 4)).reshape(len(blocks), -1)
    rank = round(_QUIETEST * (energy.shape[1] - 1))
    return np.asarray(np.log10(np.partition(energy, rank, axis=1)[:, rank] + _LEAST_ENERGY))


class LrKind(Config):
    """What LR images of one training set look like: the ranges of their `lr_features`, and the most noise."""

    intensity: InputRange
    spectrum: InputRange
    noise: float

    @classmethod
    def of(cls, lr: "Tensor | NDArray[Any]") -> Self:
        """That of images (images, 1, rows, columns) of at least 16 px a side."""
        ranges = {name: InputRange.of(one, SHARE) for name, one in lr_features(lr).items()}
        return cls(**ranges, noise=float(np.quantile(noise_feature(lr), SHARE)))


class TrainedInputs(Config):
    """What the LR of a training looked like: the smallest and largest pixel spacing in mm, and each set's images.

    `spacing` is None where no image said it, `kinds` is empty where the LR is not known.
    """

    spacing: tuple[float, float] | None = None
    kinds: dict[str, LrKind] = Field(default_factory=dict)

    @classmethod
    def of(cls, sets: "Mapping[str, Tensor | NDArray[Any]]", spacing: tuple[float, float] | None) -> Self:
        """That of LR images, (images, 1, rows, columns), by training set; small and few ones have no kind."""
        large = {name: lr for name, lr in sets.items() if min(lr.shape[-2:]) >= SMALLEST_SIDE and len(lr) >= FEWEST}
        return cls(spacing=spacing, kinds={name: LrKind.of(lr) for name, lr in large.items()})

    def with_earlier(self, earlier: Iterable["TrainedInputs | None"]) -> "TrainedInputs":
        """This record and those of the models that a training began with."""
        records = [*(one for one in earlier if one is not None), self]
        known = [one.spacing for one in records if one.spacing]
        kinds = {name: kind for one in records for name, kind in one.kinds.items()}
        spacing = (min(low for low, _ in known), max(high for _, high in known)) if known else None
        return TrainedInputs(spacing=spacing, kinds=kinds)

    def unlike(self, volume: Volume, *, spacing_only: bool) -> list[str]:
        """How a volume that is to be enlarged differs from the training's LR, a text each; none where nothing is known.

        Statistics differ where they do in most of its slices, and from every training set. The texts have no numbers
        of the volume, so that equal ones of many can be counted.
        """
        texts = []
        if self.spacing and volume.spacing:
            low, high = self.spacing
            if min(volume.spacing) < low / OTHER_SPACING or max(volume.spacing) > high * OTHER_SPACING:
                trained = f"{low:.3g} mm" if np.isclose(low, high) else f"{low:.3g} to {high:.3g} mm"
                texts.append(f"pixel spacing unlike training ({trained}): structures of another size in pixels")
        filled = [number for number, one in enumerate(volume.pixels) if one.min() < one.max()]
        if spacing_only or not self.kinds or not filled or min(volume.pixels.shape[1:]) < SMALLEST_SIDE:
            return texts
        chosen = [
            filled[index] for index in np.unique(np.linspace(0, len(filled) - 1, MOST_SLICES).round().astype(int))
        ]
        # One slice at a time: their spectra in float64 take many times their memory.
        each = (volume.windows[one].apply(volume.pixels[one])[None, None] for one in chosen)
        found = [{**lr_features(lr), "noise": noise_feature(lr)} for lr in each]
        features = {name: np.concatenate([one[name] for one in found]) for name in found[0]}
        kinds = self.kinds.values()

        def unlike_all(tests: Iterable[NDArray[np.bool_]]) -> bool:
            return bool(np.all(list(tests), axis=0).mean() > 0.5)

        margin = float(np.log10(MARGIN))
        if unlike_all(features["noise"] > kind.noise + margin for kind in kinds):
            texts.append("noise unlike training: more in the quietest parts, which may be taken for detail")
        elif unlike_all(kind.spectrum.outside(features["spectrum"]) for kind in kinds):
            # Each training set's centre, seen from the slices' median, in the finer half of the rings.
            beyond = (middle(features["spectrum"]) - [kind.spectrum.centre for kind in kinds])[:, RINGS // 2 :]
            nearest = beyond[np.abs(beyond).sum(axis=1).argmin()]
            blurred, sharpened = (
                "less fine detail, as of a blurred or an interpolated",
                "more fine detail, as of a sharpened",
            )
            texts.append(f"spectrum unlike training: {blurred if nearest.mean() < 0 else sharpened} image")
        if unlike_all(kind.intensity.outside(features["intensity"]) for kind in kinds):
            texts.append("intensity unlike training: other shares of dark and bright pixels")
        return texts
