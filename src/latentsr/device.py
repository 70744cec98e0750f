"""Which device a job runs on, and what is computed there: torch's tensors, or numpy's arrays without torch."""

import hashlib
import math
import sys
from collections.abc import Callable, Hashable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from latentsr.errors import OptionError

if TYPE_CHECKING:  # its import takes longer than restoring an image does
    import torch
    from torch import Tensor

SAME_PLACE = 1e-6
PRECISIONS = FLOAT32, BFLOAT16 = "float32", "bfloat16"  # of a network's weights and features

Image = TypeVar("Image", "Tensor", NDArray[Any])  # what works on both returns what it was given


def alike(values: Any, image: Image) -> Image:
    """An array or a tensor as what `image` is: an array, or a tensor on its device, of its dtype."""
    if isinstance(image, np.ndarray):
        return np.asarray(values, image.dtype)
    import torch

    return torch.as_tensor(values, dtype=image.dtype, device=image.device)


@lru_cache(maxsize=32)
def resident(made_by: Callable[..., Any], arguments: tuple[Hashable, ...], dtype: Any, device: Any) -> Any:
    """What `made_by(*arguments)` makes as an array or a tensor of that dtype, kept on its device and not to be changed.

    Made once: a GPU does all that it was told before it takes a copy, so that small ones in a loop leave it idle.
    """
    if isinstance(dtype, np.dtype):
        return np.asarray(made_by(*arguments), dtype)
    import torch

    with torch.inference_mode(False):  # the next to ask may train
        return torch.as_tensor(made_by(*arguments), dtype=dtype, device=device)


def array(image: Any) -> NDArray[Any]:
    """The pixels of a tensor, wherever it is, or of an array, as an array."""
    return np.asarray(image if isinstance(image, np.ndarray) else image.detach().cpu())


def wide(image: Image) -> Image:
    """`image` in float64."""
    return image.astype(np.float64) if isinstance(image, np.ndarray) else image.double()


def check_names(device: str = "auto", precision: str = FLOAT32) -> None:
    """OptionError for what is the name of no device or no precision, whatever this machine has; without torch."""
    kind, colon, number = device.partition(":")
    if device != "auto" and (kind not in ("cpu", "cuda") or (colon and not number.isdecimal())):
        raise OptionError(f"device {device}: expected auto, cpu or cuda")
    if precision not in PRECISIONS:
        raise OptionError(f"precision {precision}: expected {' or '.join(PRECISIONS)}")


def resolve_device(device: str) -> str:
    """The torch device that `device` names; "auto" is the GPU if there is one. Never another than was asked for."""
    check_names(device)
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, number = device.partition(":")
    if kind == "cuda" and not torch.cuda.is_available():
        raise OptionError(
            f"device {device}: torch finds no GPU; choose the device cpu, or mend the driver ('nvidia-smi')"
        )
    if kind == "cuda" and int(number or 0) >= torch.cuda.device_count():
        raise OptionError(f"device {device}: expected one of cuda:0 to cuda:{torch.cuda.device_count() - 1}")
    return device


def resolve_precision(precision: str, device: str) -> "torch.dtype":
    """The dtype that `precision` names; OptionError for another name, and for a GPU that would only imitate it."""
    check_names(precision=precision)
    import torch

    if precision == BFLOAT16 and device != "cpu" and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise OptionError(f"precision {precision}: this GPU has no {precision}; choose {FLOAT32}")
    return torch.bfloat16 if precision == BFLOAT16 else torch.float32


def in_float32(device: "str | torch.device") -> "torch.autocast":
    """No autocast on its kind of device: within it all is computed in float32, as a finished model computes."""
    import torch

    return torch.autocast(torch.device(device).type, enabled=False)


def image_generator(seed: int, image: str, draw: int = 0) -> "torch.Generator":
    """The CPU generator of one image and draw: order, batch and workers change nothing."""
    import torch

    digest = hashlib.sha256(f"{seed}:{image}:{draw}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)


class SliceId(str):
    """The id of a slice of a volume, which also says where it lies, so that near slices can share their noise.

    `volume` names the volume, `place` is where in it: slices that lie 1 apart have next to no noise in common.
    """

    volume: str
    place: float
    __slots__ = ("place", "volume")

    def __new__(cls, id: str, volume: str, place: float) -> "SliceId":
        """The text `id` with its place."""
        own = super().__new__(cls, id)
        own.volume, own.place = volume, place
        return own

    def later(self, seed: int, draw: int) -> "torch.Generator":
        """The generator of noise that is added on the way to an image, one for slices of about one place."""
        return image_generator(seed, f"{self.volume} on the way at {math.floor(self.place + SAME_PLACE)}", draw)

    def mixture(self, seed: int, draw: int) -> "list[tuple[float, torch.Generator]]":
        """Shares of the noise of two places of the volume, whose squares add up to one, and the generator of each.

        The noise turns from one place's to the next one's as the slice moves between them, so that it is standard
        normal in every slice and follows from the seed and the place alone, whatever other slices there are.
        """
        before = math.floor(self.place + SAME_PLACE)
        angle = max(0.0, self.place - before) * math.pi / 2
        shares = ((math.cos(angle), before), (math.sin(angle), before + 1))
        return [(share, image_generator(seed, f"{self.volume} at {place}", draw)) for share, place in shares]


def peak_memory(device: str) -> int:
    """Bytes at the peak so far: of the GPU if it computes there, else of this process; 0 where the system is silent."""
    if device != "cpu":
        import torch

        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        return 0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
