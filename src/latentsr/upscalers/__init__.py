"""Upscalers: what makes SR images of LR images. The table of those that need no files, and the loader of all."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from latentsr.config import read_signed_json, sha256
from latentsr.degrade import Degradation, parse_degradation
from latentsr.device import FLOAT32, check_names
from latentsr.errors import InputError, ModelError, OptionError, suggestion
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
    "BACKENDS", "BATCH", "BICUBIC", "BICUBIC_PROJECTED", "CONFIG", "UPSCALERS", "WEIGHTS", "Bicubic", "Enhanced",
    "Method", "Restored", "Sampling", "Upscaler", "bicubic", "load_upscaler", "shipped_models", "whole_model",
]  # fmt: skip

SHIPPED = Path(__file__).parents[1] / "models"
CONFIG, WEIGHTS = "config.json", "denoiser.safetensors"  # of a model's folder
BACKENDS = TORCH, ONNX = "torch", "onnx"  # what evaluates a model's network
SCALE = 4  # of upscalers that know any, unless told otherwise

UPSCALERS: Mapping[str, Callable[[Degradation], Upscaler]] = {
    BICUBIC: Bicubic,
    BICUBIC_PROJECTED: partial(Bicubic, projected=True),
}


def load_upscaler(
    name_or_folder: str | Path, *, scale: int | None = None, degradation: str | None = None, device: str = "auto",
    backend: str = TORCH, precision: str = FLOAT32, compiled: bool = False,
    tell: Callable[[str], None] = lambda text: None,
) -> Upscaler:  # fmt: skip
    """The upscaler of that name in UPSCALERS, the model of that name which comes with the package, or one in a folder.

    Also a pretrained network by a name of `upscalers.pretrained.KNOWN`, or in a file that spandrel reads. `scale` is
    how many times finer the result must be; None: a model's own, 4 for those that know any. `degradation` is
    what made LR, as text; None: what the model was trained on, or bicubic. `backend` "onnx" takes a model's posterior
    mean alone, and starts sooner (`upscalers.onnx`); `tell` takes a line when it prepares that. `precision` and
    `compiled`: how torch computes a model's networks, see `upscalers.restorer.Restorer`.

    Raises:
        OptionError: a model or a degradation of another scale, or a device, back end or upscaler that has not what is
            asked for
        ModelError: a model that is missing, broken or not for the back end
    """
    if backend not in BACKENDS:
        raise OptionError(f"backend {backend}: expected {' or '.join(BACKENDS)}{suggestion(backend, BACKENDS)}")
    check_names(device, precision)  # before torch is imported
    made_by = None if degradation is None else parse_degradation(degradation)
    if made_by is not None and scale not in (None, made_by.scale):
        raise OptionError(f"scale {scale}: degradation {degradation} reduces {made_by.scale} times; leave one out")
    asked = "compiled" if precision == FLOAT32 else f"precision {precision}"
    what = f"the backend {backend}" if backend == ONNX else name_or_folder
    as_it_is = f"{asked}: {what} computes in {FLOAT32}, as it is; take a model of latentsr with torch, or leave it out"
    if (precision != FLOAT32 or compiled) and (backend == ONNX or str(name_or_folder) in UPSCALERS):
        raise OptionError(as_it_is)
    model: Upscaler
    if backend == ONNX:
        from latentsr.upscalers.onnx import OnnxMean

        if str(name_or_folder) in UPSCALERS:
            raise OptionError(f"backend {backend}: {name_or_folder} has no network; leave the backend out")
        model = OnnxMean.load(name_or_folder, device=device, tell=tell)
    elif str(name_or_folder) in UPSCALERS:
        return UPSCALERS[str(name_or_folder)](made_by or parse_degradation(f"bicubic:{scale or SCALE}"))
    else:
        from latentsr.upscalers.model import SuperResolver
        from latentsr.upscalers.pretrained import is_pretrained, load_pretrained

        if is_pretrained(name_or_folder):
            if precision != FLOAT32 or compiled:
                raise OptionError(as_it_is)
            if made_by is None and scale is not None:
                made_by = parse_degradation(f"bicubic:{scale}")
            return load_pretrained(name_or_folder, made_by, device=device)
        model = SuperResolver.load(name_or_folder, device=device, precision=precision, compiled=compiled)
    if scale is not None and scale != model.scale:
        raise OptionError(
            f"scale {scale}: model {model.name} enlarges {model.scale} times; "
            f"leave scale out, or choose a model trained for {scale}"
        )
    return model if made_by is None else model.undoing(made_by)


def shipped_models() -> list[str]:
    """The names of the models that come with the package."""
    return sorted(path.parent.name for path in SHIPPED.glob(f"*/{CONFIG}"))


def whole_model(name_or_folder: str | Path) -> tuple[Path, dict[str, Any]]:
    """The folder of a model, shipped or given, and what its config.json holds; every file's hash has been checked.

    ModelError where there is none, or a file is missing or altered.
    """
    given, shipped = Path(name_or_folder), str(name_or_folder) in shipped_models()
    if shipped and (given / CONFIG).is_file():
        raise ModelError(f"model '{given}': comes with the package and is a folder here; give ./{given} for the folder")
    if not shipped and not (given / CONFIG).is_file():
        raise ModelError(
            f"model '{name_or_folder}': expected a model folder with {CONFIG}, or one of {', '.join(shipped_models())}"
            f"{suggestion(str(name_or_folder), shipped_models())}"
        )
    folder = SHIPPED / given if shipped else given
    try:
        content = read_signed_json(folder / CONFIG)
    except InputError as error:
        raise ModelError(f"{error}; get the whole model again") from error
    files = content.get("files")
    if not isinstance(files, dict) or WEIGHTS not in files:
        raise ModelError(f"{folder}: {CONFIG} does not name {WEIGHTS}; get the whole model again")
    for name, digest in files.items():
        if not (folder / name).is_file():
            raise ModelError(f"{folder}: {name} is missing; get the whole model again")
        if sha256(folder / name) != digest:
            raise ModelError(f"{folder}: {name} was altered (its SHA-256 differs from {CONFIG}); get it again")
    return folder, content
