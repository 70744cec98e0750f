"""Latent diffusion super-resolution for medical images. Research use only. Not for diagnosis.

The public names are loaded when first used, so that `import latentsr` and `latentsr --help` do not wait for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from latentsr.autoencoders import load_autoencoder
    from latentsr.data.records import read_dataset
    from latentsr.degrade import parse_degradation, project
    from latentsr.errors import InputError, LatentSRError, ModelError, NotAnImageError, OptionError, StaleError
    from latentsr.io import read, write
    from latentsr.judging import evaluate, screen
    from latentsr.metrics import METRICS
    from latentsr.provenance import RESEARCH_USE
    from latentsr.upscalers import Sampling
    from latentsr.upscalers.model import SuperResolver
    from latentsr.volume import Volume, Window

__version__ = "0.1.0"

_HOMES = {
    "METRICS": "latentsr.metrics",
    "RESEARCH_USE": "latentsr.provenance",
    "InputError": "latentsr.errors",
    "LatentSRError": "latentsr.errors",
    "ModelError": "latentsr.errors",
    "NotAnImageError": "latentsr.errors",
    "OptionError": "latentsr.errors",
    "Sampling": "latentsr.upscalers",
    "StaleError": "latentsr.errors",
    "SuperResolver": "latentsr.upscalers.model",
    "Volume": "latentsr.volume",
    "Window": "latentsr.volume",
    "evaluate": "latentsr.judging",
    "load_autoencoder": "latentsr.autoencoders",
    "parse_degradation": "latentsr.degrade",
    "project": "latentsr.degrade",
    "read": "latentsr.io",
    "read_dataset": "latentsr.data.records",
    "screen": "latentsr.judging",
    "write": "latentsr.io",
}

__all__ = [
    "METRICS",
    "RESEARCH_USE",
    "InputError",
    "LatentSRError",
    "ModelError",
    "NotAnImageError",
    "OptionError",
    "Sampling",
    "StaleError",
    "SuperResolver",
    "Volume",
    "Window",
    "evaluate",
    "load_autoencoder",
    "parse_degradation",
    "project",
    "read",
    "read_dataset",
    "screen",
    "write",
]


def __getattr__(name: str) -> object:
    """The public name, imported from its home on first use and kept; AttributeError for any other."""
    if name not in _HOMES:
        raise AttributeError(f"module 'latentsr' has no attribute {name!r}; public names: {', '.join(__all__)}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
