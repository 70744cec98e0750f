"""How often the truth lies within a method's intervals: overall, and where these are wide or the image bright.

Images are (batch, 1, rows, columns) in [0, 1]; an interval is SR ± its half-width, cut at that range.
"""

import torch
from torch import Tensor

from latentsr.errors import InputError
from latentsr.metrics.images import check_pair

QUARTERS = (1, 2, 3, 4)
PARTS = ("all", *(f"width{quarter}" for quarter in QUARTERS), *(f"intensity{quarter}" for quarter in QUARTERS))


def coverage(sr: Tensor, hr: Tensor, interval: Tensor) -> Tensor:
    """Share of pixels whose truth lies within their interval, (batch, 9) in the order of PARTS, in [0, 1].

    Of the whole image, then of the quarters of its pixels by the half-width `interval` and by SR, from narrow to wide
    and dark to bright. Pixels of one value are in one quarter, so that one may be empty: NaN.
    """
    inside = _inside(sr, hr, interval).flatten(1)
    shares = [inside.double().mean(dim=1)]
    for values in (interval.flatten(1), sr.flatten(1)):
        ordered = values.sort(dim=1).values
        count = ordered.shape[1]
        edges = ordered[:, [max(0, count * quarter // 4 - 1) for quarter in QUARTERS[:-1]]].contiguous()
        place = torch.searchsorted(edges, values)  # how many edges lie below the value
        for quarter in range(len(QUARTERS)):
            own = place == quarter
            shares.append((inside & own).sum(dim=1) / own.sum(dim=1))  # 0 / 0 is NaN: an empty quarter
    return torch.stack(shares, dim=1).to(sr.dtype)


def roi_coverage(sr: Tensor, hr: Tensor, interval: Tensor, mask: Tensor) -> Tensor:
    """Share of the mask's pixels whose truth lies within their interval, (batch,); NaN without any."""
    chosen = mask != 0
    return (_inside(sr, hr, interval) & chosen).sum(dim=(1, 2, 3)) / chosen.sum(dim=(1, 2, 3))


def _inside(sr: Tensor, hr: Tensor, interval: Tensor) -> Tensor:
    sr, hr = check_pair(sr, hr)
    if interval.shape != sr.shape:
        raise InputError(f"half-widths of shape {tuple(interval.shape)} for images of {tuple(sr.shape)}: must be alike")
    return (sr - hr).abs() <= interval


def half_width(interval: Tensor) -> Tensor:
    """Mean half-width of the intervals of each image, (batch,)."""
    return interval.mean(dim=(1, 2, 3))
