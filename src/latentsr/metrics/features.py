"""Feature extractors for FID and KID: Inception-v3, an exported program, or a local folder with a hub vision model.

An extractor takes grey images (batch, 1, rows, columns) in [0, 1] and gives (batch, features), float32.
"""

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import torch
import torch.nn.functional as F
from torch import Tensor

from latentsr.errors import ModelError
from latentsr.metrics.images import GREY_LEVELS, check_image
from latentsr.metrics.weights import load_tensors, weights_file

INCEPTION_FEATURES = "2048"

Extractor = Callable[[Tensor], Tensor]


def load_extractor(source: str | Path, device: str | torch.device = "cpu") -> Extractor:
    """The extractor that `source` names, on `device`; ModelError if its file or package is missing.

    Args:
        source: "inception" (the TensorFlow weights of 2015, which published FID values rest on); a file `.pt2` written
            by `torch.export.save`, that takes (batch, 3, rows, columns) in [0, 1] of any batch and gives (batch,
            features), with its resizing and normalisation inside; or a folder of a transformers vision model
            (`config.json`, `model.safetensors` and `preprocessor_config.json`, such as RadDINO's), which needs the
            package transformers.
        device: where the network runs.
    """
    if source == "inception":
        return _inception(device)
    path = Path(source)
    if path.suffix == ".pt2" and path.is_file():
        return _exported(path, device)
    if (path / "config.json").is_file():
        return _hub_model(path, device)
    raise ModelError(
        f"feature extractor '{path.name}' is neither 'inception', nor a .pt2 file of torch.export, nor a folder with a "
        "config.json of a transformers vision model: check the name, or fetch the model's files into a folder"
    )


def _inception(device: str | torch.device) -> Extractor:
    path = weights_file("inception")
    load_tensors(path)  # torch_fidelity would unpickle whatever the file holds: see first that it holds tensors only
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    network = FeatureExtractorInceptionV3("inception", [INCEPTION_FEATURES], feature_extractor_weights_path=str(path))
    network = network.to(device).eval()

    @torch.no_grad()
    def extract(images: Tensor) -> Tensor:
        bytes_ = (check_image(images) * GREY_LEVELS).round().to(torch.uint8)
        (features,) = network(bytes_.expand(-1, 3, -1, -1).to(device))
        return features

    return extract


def _exported(path: Path, device: str | torch.device) -> Extractor:
    try:
        network: Any = torch.export.load(path).module().to(device)
    except (RuntimeError, ValueError, KeyError, OSError, BadZipFile) as error:
        raise ModelError(f"{path.name} is no program of torch.export: {str(error).splitlines()[0]}") from error

    @torch.no_grad()
    def extract(images: Tensor) -> Tensor:
        features = network(check_image(images).float().expand(-1, 3, -1, -1).to(device))
        return _as_features(features, len(images), path.name)

    return extract


def _hub_model(folder: Path, device: str | torch.device) -> Extractor:
    try:
        transformers = importlib.import_module("transformers")  # an option of the user's, not a dependency
    except ImportError as error:
        raise ModelError(
            f"features of the hub model '{folder.name}' need the package transformers: install it (pip install "
            "transformers), or export the network to a .pt2 file with torch.export"
        ) from error
    try:
        network = transformers.AutoModel.from_pretrained(folder, local_files_only=True, use_safetensors=True)
    except (OSError, ValueError, RuntimeError) as error:
        raise ModelError(f"hub model '{folder.name}' cannot be loaded: {str(error).splitlines()[0]}") from error
    network = network.to(device).eval()
    prepare = _preparation(folder, device)

    @torch.no_grad()
    def extract(images: Tensor) -> Tensor:
        found = network(pixel_values=prepare(check_image(images).float()))
        pooled = getattr(found, "pooler_output", None)
        features = found.last_hidden_state[:, 0] if pooled is None else pooled.flatten(1)
        return _as_features(features, len(images), folder.name)

    return extract


def _preparation(folder: Path, device: str | torch.device) -> Callable[[Tensor], Tensor]:
    """Grey images -> what the network expects: the size, mean and standard deviation of its preprocessor_config.json.

    The whole image is resized, bicubically and antialiased, to the square that the network sees; nothing is cropped.
    """
    file = folder / "preprocessor_config.json"
    if not file.is_file():
        raise ModelError(f"hub model '{folder.name}' has no preprocessor_config.json: fetch it beside config.json")
    settings = json.loads(file.read_text(encoding="utf-8"))
    size = settings.get("crop_size") or settings.get("size") or {}
    side = size if isinstance(size, int) else size.get("height") or size.get("shortest_edge")
    if not side or "image_mean" not in settings or "image_std" not in settings:
        raise ModelError(f"preprocessor_config.json of '{folder.name}': expected size, image_mean and image_std")
    mean, sd = (torch.tensor(settings[name], device=device)[:, None, None] for name in ("image_mean", "image_std"))

    def prepare(images: Tensor) -> Tensor:
        resized = F.interpolate(images.to(device), (side, side), mode="bicubic", antialias=True).clamp(0, 1)
        return (resized.expand(-1, 3, -1, -1) - mean) / sd

    return prepare


def _as_features(found: object, batch: int, name: str) -> Tensor:
    if not isinstance(found, Tensor) or found.ndim != 2 or len(found) != batch:
        shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise ModelError(f"feature extractor '{name}' gave {shape} for {batch} images: expected (batch, features)")
    return found.float()
