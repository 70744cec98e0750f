"""Through-plane super-resolution: thick slices brought to a small slice distance by a model of images.

The model sees the planes across the slices, coronal and sagittal ones of an axial scan, whose one axis is coarse. It
enlarges both axes, so the fine one is reduced first, by less than the ratio of the two spacings: a plane that is partly
squeezed keeps more of the detail from which the model infers the missing one than a plane of square pixels. What the
model makes of both sets of planes is averaged, and projected onto the volumes whose thick slices are the input, which
brings the detail in plane back.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentsr.config import sha256_json
from latentsr.degrade import MOST_DB, PROFILES, SliceProfile, parse_profile, project, resampling_matrix
from latentsr.errors import InputError, OptionError
from latentsr.io.reslice import resliced, slice_distance
from latentsr.job import Scratch
from latentsr.provenance import Provenance
from latentsr.upscalers.restorer import Moments
from latentsr.upscalers.upscaler import (
    IMAGE,
    NOT_CALIBRATED,
    SPREAD,
    Checks,
    Enhanced,
    Request,
    Sampling,
    Upscaler,
    Work,
    slice_ids,
)
from latentsr.volume import Volume

CLOSE = 0.95  # of the distance: beyond it nothing is gained
ROWS = 64  # of the volume that are projected at a time


class ThroughPlane(Upscaler):
    """Slices of a volume at a smaller distance, by a model of images; in plane nothing gets finer.

    `target` is the new distance in mm, None: that of the pixels. `profile` says what a slice is the mean over, see
    `parse_profile`; without a thickness, and none in the file, slices are as thick as their distance.
    """

    def __init__(self, plane: Upscaler, *, target: float | None = None, profile: str = PROFILES[0]) -> None:
        if target is not None and not 0 < target < math.inf:
            raise OptionError(f"target spacing {target:g}: expected a positive number of mm")
        self.plane, self.target = plane, target
        self.kind, self.thickness = parse_profile(profile)
        self.name, self.device, self.degradation = plane.name, plane.device, plane.degradation
        self.modalities, self.size, self.autoencoder = plane.modalities, plane.size, plane.autoencoder
        self.has_mean, self.has_samples = plane.has_mean, plane.has_samples
        self.calibration = None
        self.settings = {
            **plane.settings, "target_spacing": target or "that of the pixels", "slice_profile": self.kind,
            "slice_thickness": self.thickness or "the header's",
        }  # fmt: skip
        self.hash = sha256_json([plane.hash, self.settings])

    @property
    def image_model(self) -> Upscaler:
        """The model of images."""
        return self.plane

    @property
    def scale(self) -> int:
        """Nothing gets finer in plane."""
        return 1

    def steps(self, sampling: Sampling) -> int:
        """How many evaluations an image takes, or each sample of it."""
        return self.plane.steps(sampling)

    def evaluations(self, sampling: Sampling) -> int:
        """How often the network is evaluated for a plane."""
        return self.plane.evaluations(sampling)

    def image_kind(self, sampling: Sampling) -> str:
        """As of the model's own images."""
        return self.plane.image_kind(sampling)

    def check(self, sampling: Sampling) -> None:
        """OptionError for options that do not fit the model, and for several samples that are no whole ones."""
        self.plane.check(sampling)
        if sampling.samples > 1 and sampling.realism not in (None, 1.0):
            raise OptionError(
                f"realism {sampling.realism:g} and samples {sampling.samples}: the spread of thin slices is that of "
                "whole samples; leave realism out, or samples"
            )

    def settled(self, sampling: Sampling) -> Sampling:
        """The options with their steps in numbers, and several samples whole ones."""
        whole = {"realism": 1.0} if sampling.samples > 1 else {}
        return sampling.model_copy(update={"steps": self.steps(sampling), **whole})

    def provenance(self, sampling: Sampling) -> Provenance:
        """Who made a result, and how."""
        what = f"Slices brought to {f'{self.target:g} mm' if self.target else 'the spacing of the pixels'}"
        return replace(super().provenance(sampling), model_hash=self.plane.provenance(sampling).model_hash, what=what)

    def output_shape(self, volume: Volume) -> tuple[int, int, int]:
        """The (slices, rows, columns) of what `enhance` makes of a volume; InputError where that is nothing."""
        return self._profile(volume).thin, *volume.pixels.shape[1:]

    def seen_shape(self, volume: Volume) -> tuple[int, int, int]:
        """About how many images the model is given, and their rows and columns."""
        slices, rows, columns = volume.pixels.shape
        across, down = (Plane(self.plane, self._profile(volume), spacing) for spacing in _spacing(volume)[::-1])
        return rows + columns, slices, round((across.width(columns) + down.width(rows)) / 2)

    def enhancing(
        self, source: Volume | NDArray[Any] | str | Path, *, sampling: Sampling | None = None, batch: int | None = None,
        progress: Callable[[int, int], None] = lambda done, total: None, scratch: Scratch | None = None, **options: Any,
    ) -> Work[Enhanced]:  # fmt: skip
        """The source with its slices at the target's distance, in its physical values and its place.

        As of `Upscaler.enhancing`; `progress` takes (planes done, all planes). With `consistency` the mean of the
        result over the profile of each source slice is that slice again. Of several samples, each of which is a volume,
        the result is the mean, and `uncertainty` the spread. All is made in memory, and then put into `scratch`.

        Raises:
            InputError: also a volume of one slice, of slices at uneven distances or of several at one position, with a
                tilted gantry, or of slices that are as close as they shall get
        """
        batch = self.batch if batch is None else batch
        volume, sampling = self.prepared(source, sampling, batch, options)
        profile, unit = self._profile(volume), torch.from_numpy(volume.unit())
        planes, count, moments = sum(unit.shape[1:]), sampling.samples, Moments()
        for number in range(count):
            thin = yield from self.sample(unit, profile, _spacing(volume), sampling, batch, number, progress)
            if count > 1:
                moments.add(thin)
        progress(planes * count, planes * count)
        thin = moments.mean.float() if count > 1 else thin
        error = (profile.apply(thin) - unit).square().mean(dim=(1, 2)).max()
        agreement = round(min(-10 * math.log10(max(float(error), 1e-30)), MOST_DB), 2)
        scratch = scratch or Scratch()
        scratch.put(IMAGE, 0, volume.window.invert(thin.numpy()), len(thin))
        if count > 1:
            spread = moments.sd.float().numpy() * np.float32(volume.window.high - volume.window.low)
            scratch.put(SPREAD, 0, spread, len(thin))
        image, *maps = (
            resliced(volume, scratch.array(name, (len(thin), *unit.shape[1:])), profile.spacing)
            for name in (IMAGE, *[SPREAD] * (count > 1))
        )
        made_by = replace(self.provenance(sampling), unlike=tuple(self.unlike(volume)))
        checks = Checks(NOT_CALIBRATED, lr_psnr=agreement)
        return Enhanced(image, maps[0] if maps else None, made_by, None, checks)

    def sample(
        self, unit: Tensor, profile: SliceProfile, spacing: tuple[float, float], sampling: Sampling, batch: int,
        number: int, progress: Callable[[int, int], None],
    ) -> Work[Tensor]:  # fmt: skip
        """One volume of thin slices from thick ones in [0, 1]: the mean of both sets of planes, projected.

        `number` is that of the sample, whose noise is its own; `progress` takes the planes done, and those of all.
        """
        rows, columns = unit.shape[1:]
        thin, one = torch.zeros(profile.thin, rows, columns), sampling.model_copy(update={"samples": 1})
        for axis, apart in ((1, spacing[1]), (2, spacing[0])):
            name = f"planes of axis {axis}{f', sample {number}' if number else ''}"
            plane = Plane(self.plane, profile, apart, name)
            planes, made = unit.movedim(axis, 0), thin.movedim(axis, 0)
            for start in range(0, len(planes), batch):
                before = number * (rows + columns) + (axis - 1) * rows
                progress(before + start, sampling.samples * (rows + columns))
                part = slice(start, start + batch)
                places = [index * spacing[axis - 1] for index in range(len(planes))[part]]
                restored = yield from plane.restoring(planes[part], one, places)
                made[part] += restored / 2
        for start in range(0, rows, ROWS) if sampling.consistency else ():
            part = slice(start, start + ROWS)
            thin[:, part] = project(thin[:, part], unit[:, part], profile)
        return thin

    def _profile(self, volume: Volume) -> SliceProfile:
        """That of the volume's slices, at its target."""
        distance, thickness = slice_distance(volume)
        target = self.target or min(_spacing(volume))
        if target > distance * CLOSE:
            raise InputError(
                f"slices every {distance:.4g} mm: already as close as {target:.4g} mm; leave the volume out, or set a "
                "smaller target spacing"
            )
        return SliceProfile(len(volume.pixels), distance, self.thickness or thickness or distance, target, self.kind)


@dataclass(frozen=True)
class Plane:
    """Restores planes across the slices of a profile, (planes, slices, columns), whose columns lie `spacing` mm apart.

    The model is given what its own degradation makes of an interpolation that the slices are the means of, on a grid
    as fine as the model's result. Columns are reduced by the square root of the ratio of the spacings. `name` tells the
    noise of these planes from that of others.
    """

    model: Upscaler
    profile: SliceProfile
    spacing: float
    name: str = "planes"

    def width(self, columns: int) -> int:
        """How many columns the model is given of so many."""
        ratio = self.profile.distance / self.spacing
        return max(2, min(columns, round(columns / math.sqrt(ratio))))

    def restoring(self, planes: Tensor, sampling: Sampling, places: Sequence[float]) -> Work[Tensor]:
        """The planes at `places`, in mm, with thin slices: (planes, thin slices, columns)."""
        scale, columns, profile = self.model.scale, planes.shape[-1], self.profile
        width, fine = self.width(columns), profile.slices * scale
        squeezed = self.model.degradation.matrix(width * scale) @ resampling_matrix("bicubic", columns, width * scale)
        lr = self._undone @ planes.double() @ torch.from_numpy(squeezed.T)
        lr = lr.float()[:, None]
        pixel = math.sqrt(profile.distance * self.spacing * columns / width)
        ids = slice_ids(lr, [place / pixel for place in places], self.name)
        options = sampling.model_copy(update={"consistency": False})
        restored = yield Request(lr.numpy(), ids, options, len(ids))
        made = torch.as_tensor(restored.image[:, 0]).double()
        step = profile.spacing / profile.distance * scale
        down = torch.from_numpy(resampling_matrix("bicubic", fine, profile.thin, step))
        across = torch.from_numpy(resampling_matrix("bicubic", width * scale, columns))
        return (down @ made @ across.T).float()

    @cached_property
    def _undone(self) -> Tensor:
        """From slices to what the model's degradation would have made instead, (slices, slices)."""
        scale, slices = self.model.scale, self.profile.slices
        finer = replace(self.profile, spacing=self.profile.distance / scale)
        interpolated = torch.from_numpy(resampling_matrix("bicubic", slices, slices * scale))
        projected = project(interpolated, torch.eye(slices, dtype=torch.float64), finer)
        return torch.from_numpy(self.model.degradation.matrix(slices * scale)) @ projected


def _spacing(volume: Volume) -> tuple[float, float]:
    if volume.spacing is None:
        raise InputError("the file does not say how far its pixels lie apart: give a volume with a spacing")
    return volume.spacing
