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


def load_upscaler(
    name_or_folder: str | Path, *, scale: int | None = None, degradation: str | None = None, device: str = "auto"
) -> Upscaler:
    """The upscaler of that name in UPSCALERS, the model of that name which comes with the package, or one in a folder.

    Also a pretrained network by a name of `upscalers.pretrained.KNOWN`, or in a file that spandrel reads. `scale` is
    how many times finer the result must be; None: a model's own, 4 for those that know any. `degradation` is
    what made LR, as text; None: what the model was trained on, or bicubic.

    Raises:
        OptionError: a model or a degradation of another scale
        ModelError: a model that is missing or broken
    """
    made_by = None if degradation is None else parse_degradation(degradation)
    if made_by is not None and scale not in (None, made_by.scale):
        raise OptionError(f"scale {scale}: degradation {degradation} reduces {made_by.scale} times; leave one out")
    if str(name_or_folder) in UPSCALERS:
        return UPSCALERS[str(name_or_folder)](made_by or parse_degradation(f"bicubic:{scale or SCALE}"))
    from latentsr.upscalers.model import SuperResolver
    from latentsr.upscalers.pretrained import is_pretrained, load_pretrained

    if is_pretrained(name_or_folder):
        if made_by is None and scale is not None:
            made_by = parse_degradation(f"bicubic:{scale}")
        return load_pretrained(name_or_folder, made_by, device=device)
    model = SuperResolver.load(name_or_folder, device=device)
    if scale is not None and scale != model.scale:
        raise OptionError(
            f"scale {scale}: model {model.name} enlarges {model.scale} times; "
            f"leave scale out, or choose a model trained for {scale}"
        )
    return model if made_by is None else model.undoing(made_by)
