"""Upscalers: what makes SR images of LR images. The table of those that need no files, and the loader of all."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from latentsr.degrade import Degradation, parse_degradation
from latentsr.errors import OptionError
from latentsr.names import BICUBIC
from latentsr.upscalers.upscaler import (
    BATCH,
    BICUBIC_PROJECTED,
    Bicubic,
    Enhanced,
    Method,
    Restored,
    Sampling,
    Upscaler,
    bicubic,
)  # fmt: skip

__all__ = [
    "BATCH", "BICUBIC", "BICUBIC_PROJECTED", "UPSCALERS", "Bicubic", "Enhanced", "Method", "Restored", "Sampling",
    "Upscaler", "bicubic", "load_upscaler",
]  # fmt: skip

SCALE = 4  # of upscalers that know any, unless told otherwise

UPSCALERS: Mapping[str, Callable[[Degradation], Upscaler]] = {
    BICUBIC: Bicubic,
    BICUBIC_PROJECTED: partial(Bicubic, projected=True),
}


def load_upscaler(name_or_folder: str | Path, *, scale: int | None = None, device: str = "auto") -> Upscaler:
    """The upscaler of that name in UPSCALERS, the model of that name which comes with the package, or one in a folder.

    Also a pretrained network by a name of `upscalers.pretrained.KNOWN`, or in a file that spandrel reads. `scale` is
    how many times finer the result must be; None: a model's own, 4 for those that know any.

    Raises:
        OptionError: a model of another scale
        ModelError: a model that is missing or broken
    """
    if str(name_or_folder) in UPSCALERS:
        return UPSCALERS[str(name_or_folder)](parse_degradation(f"bicubic:{scale or SCALE}"))
    from latentsr.upscalers.model import SuperResolver
    from latentsr.upscalers.pretrained import is_pretrained, load_pretrained

    if is_pretrained(name_or_folder):
        degradation = None if scale is None else parse_degradation(f"bicubic:{scale}")
        return load_pretrained(name_or_folder, degradation, device=device)
    model = SuperResolver.load(name_or_folder, device=device)
    if scale is not None and scale != model.scale:
        raise OptionError(
            f"scale {scale}: model {model.name} enlarges {model.scale} times; "
            f"leave scale out, or choose a model trained for {scale}"
        )
    return model
