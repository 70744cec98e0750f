"""Checks of a measure's images, the batched filters that several measures share, and a memory of what they made."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import RLock
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from latentsr.errors import InputError

GREY_LEVELS = 255.0  # of the scale on which many papers give their constants

Made = TypeVar("Made")


class Memo:
    """What is made of some images by `once`, kept while measures of these are made: spectra, gradients, responses.

    The tensors must not be changed in place meanwhile. Threads may share it: what one makes, the others wait for.
    """

    def __init__(self, *images: Tensor) -> None:
        self._images = images
        self._made: dict[tuple[object, ...], Any] = {}
        self._lock = RLock()

    def knows(self, *images: Tensor) -> bool:
        """Whether all of these, the tensors themselves and no copies, are its own."""
        return all(any(image is own for own in self._images) for image in images)

    def once(self, key: tuple[object, ...], make: Callable[[], Made]) -> Made:
        """What `make` returned at the first call with this key."""
        with self._lock:
            if key not in self._made:
                self._made[key] = make()
            made: Made = self._made[key]
            return made


_OPEN: ContextVar[tuple[Memo, ...]] = ContextVar("open memos", default=())


@contextmanager
def sharing(*memos: Memo) -> Iterator[None]:
    """Within it, `once` keeps its results in the first of these memos that knows the images."""
    before = _OPEN.set(memos)
    try:
        yield
    finally:
        _OPEN.reset(before)


def once(make: Callable[..., Made], *images: Tensor, **options: Any) -> Made:
    """`make(*images, **options)`, not to be changed: made anew only where no open memo knows the images.

    `make` is a function of a module, since its name is what a result is found by; options are hashable.
    """
    for memo in _OPEN.get():
        if memo.knows(*images):
            return memo.once((make, *map(id, images), *options.items()), lambda: make(*images, **options))
    return make(*images, **options)


def check_image(image: Tensor) -> Tensor:
    """`image` itself, if it is a float batch (batch, 1, rows, columns) with values in [0, 1]; InputError otherwise."""
    if image.ndim != 4 or image.shape[1] != 1 or not image.is_floating_point():
        raise InputError(
            f"images of shape {tuple(image.shape)} and type {image.dtype}: a measure expects a float tensor "
            "(batch, 1, rows, columns); add the missing axes"
        )
    if image.numel() == 0:
        raise InputError(f"images of shape {tuple(image.shape)} hold no pixel: a measure expects one or more")
    low, high = (float(bound.detach()) for bound in once(torch.aminmax, image))
    if not (low >= 0 and high <= 1):  # written so that NaN fails too
        raise InputError(f"image values from {low:g} to {high:g}: a measure expects [0, 1]; apply the window and clamp")
    return image


def check_pair(sr: Tensor, hr: Tensor) -> tuple[Tensor, Tensor]:
    """(`sr`, `hr`), if both are valid and alike in shape, in the dtype of the finer one; InputError otherwise."""
    if sr.shape != hr.shape:
        raise InputError(f"SR images of shape {tuple(sr.shape)} against HR of {tuple(hr.shape)}: both must be alike")
    dtype = torch.promote_types(check_image(sr).dtype, check_image(hr).dtype)
    return sr.to(dtype), hr.to(dtype)


def smaller_than(image: Tensor, side: int) -> bool:
    """Whether rows or columns are fewer than `side` pixels."""
    return min(image.shape[-2:]) < side


def no_value(image: Tensor) -> Tensor:
    """NaN for each image of the batch: the measure is not defined there."""
    return torch.full((image.shape[0],), torch.nan, dtype=image.dtype, device=image.device)


def span(image: Tensor) -> Tensor:
    """Largest minus smallest value of each image, (batch,): 0 where an image is constant."""
    low, high = torch.aminmax(image.flatten(1), dim=1)
    return high - low


def precise(image: Tensor) -> Tensor:
    """`image` in float64, or in float32 on devices that have no float64 (Apple's MPS)."""
    return image.to(torch.float32 if image.device.type == "mps" else torch.float64)


def likeness(a: Tensor, b: Tensor, constant: float) -> Tensor:
    """(2 a b + c) / (a^2 + b^2 + c): 1 where both are equal; the form of most similarity indices."""
    above, below = (2 * a).mul_(b).add_(constant), a.square().addcmul_(b, b).add_(constant)
    return above.div_(below)


def correlate_separable(image: Tensor, taps: Tensor) -> Tensor:
    """`image` correlated with `taps` along columns, then rows, without a border.

    torch convolves a batch of one-channel images on a CPU more than ten times slower than one image of as many
    channels, each with its own kernel; so the batch is moved to the channels.
    """
    batch, channels = image.shape[0], image.transpose(0, 1)
    for kernel in (taps[None, :], taps[:, None]):
        channels = F.conv2d(channels, kernel.to(image).expand(batch, 1, *kernel.shape), groups=batch)
    return channels.transpose(0, 1)


def gaussian_taps(size: int, sigma: float) -> Tensor:
    """`size` samples of a Gaussian about its centre, of sum 1, float64."""
    offsets = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    taps = torch.exp(-offsets.square() / (2 * sigma**2))
    return taps / taps.sum()


def mirrored(image: Tensor, border: int) -> Tensor:
    """`image` with a border mirrored about the edge pixel's centre (numpy's "reflect")."""
    return F.pad(image, (border,) * 4, mode="reflect")


def doubled_edge(image: Tensor, border: int) -> Tensor:
    """`image` with a border mirrored about the edge itself, so that edge pixels repeat (numpy's "symmetric")."""
    for axis in (-2, -1):
        side = image.shape[axis]
        inside = torch.arange(-border, side + border, device=image.device).remainder(2 * side)
        image = image.index_select(axis, torch.minimum(inside, 2 * side - 1 - inside))
    return image


def halvings(image: Tensor) -> Iterator[Tensor]:
    """`image` averaged over blocks of 2x2 pixels on each of their grids: from pixel (0, 0), (0, 1), (1, 0), (1, 1) on.

    What lies before the first pixel is left out; a block that an odd side cuts is filled with zeros.
    """
    padded = F.pad(image, (0, 1, 0, 1))
    for top in (0, 1):
        rows = padded[..., top:-1:2, :] + padded[..., top + 1 :: 2, :]
        for left in (0, 1):
            yield (rows[..., left:-1:2] + rows[..., left + 1 :: 2]) / 4
