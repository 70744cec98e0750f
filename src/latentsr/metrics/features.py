"""Feature extractors for FID and KID: Inception-v3, or a folder of a vision network as safetensors and JSON.

An extractor takes grey images (batch, 1, rows, columns) in [0, 1] and gives (batch, features), float32. Only forms that
hold no code are read: programs of torch.export, TorchScript and pickles can run anything when they are opened.
"""

import importlib
import io
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
import torchvision.models
from torch import Tensor, nn

from latentsr.config import read_json
from latentsr.errors import ModelError
from latentsr.metrics.images import GREY_LEVELS, check_image
from latentsr.metrics.weights import load_tensors, weights_file

INCEPTION_FEATURES = "2048"
CONFIG, TENSORS, PREPROCESSING = "config.json", "model.safetensors", "preprocessor_config.json"
FORM = f"a folder with {CONFIG}, {TENSORS} and {PREPROCESSING}"
MOST_SIDE = 2048  # px of the square that a network sees; published ones take 224 to 768
BEYOND_TENSORS = ("auto_map", "quantization_config")  # of a config.json: code of its own, packages that unpack weights

Extractor = Callable[[Tensor], Tensor]


def load_extractor(source: str | Path, device: str | torch.device = "cpu") -> Extractor:
    """The extractor that `source` names, on `device`.

    Args:
        source: "inception" (the TensorFlow weights of 2015, which published FID values rest on), or a folder with
            `config.json`, `model.safetensors` and `preprocessor_config.json` (size, image_mean and image_std of what
            the network was trained on). The config holds `architecture`, one of torchvision's classification networks
            such as resnet50, whose features are what its last linear layer sees; or it is that of a transformers
            vision model such as RadDINO, which needs the package transformers.
        device: where the network runs.

    Raises:
        ModelError: a file or package that is missing; a form that may hold code (.pt2, .pt, .pth); tensors that do not
            fit the architecture.
    """
    if source == "inception":
        return _inception(device)
    folder = Path(source)
    if folder.is_file():
        raise ModelError(
            f"feature extractor '{folder.name}' is a single file; programs of torch.export, TorchScript and pickles "
            f"run code when they are opened, so none is read: give {FORM}"
        )
    if missing := [name for name in (CONFIG, TENSORS, PREPROCESSING) if not (folder / name).is_file()]:
        raise ModelError(
            f"feature extractor '{folder.name}' is neither 'inception' nor {FORM}: {', '.join(missing)} not found; "
            "check the name, or fetch the files into one folder"
        )
    return _vision_network(folder, device)


def _inception(device: str | torch.device) -> Extractor:
    tensors = io.BytesIO()  # torch_fidelity unpickles what it is given: give it tensors that were read without that
    torch.save(load_tensors(weights_file("inception")), tensors)
    tensors.seek(0)
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    network = FeatureExtractorInceptionV3("inception", [INCEPTION_FEATURES], feature_extractor_weights_path=tensors)
    network = network.to(device).eval()

    @torch.no_grad()
    def extract(images: Tensor) -> Tensor:
        bytes_ = (check_image(images) * GREY_LEVELS).round().to(torch.uint8)
        (features,) = network(bytes_.expand(-1, 3, -1, -1).to(device))
        return features

    return extract


def _vision_network(folder: Path, device: str | torch.device) -> Extractor:
    config, tensors = read_json(folder / CONFIG), load_tensors(folder / TENSORS)
    if not isinstance(config, dict) or (found := [name for name in BEYOND_TENSORS if name in config]):
        what = f"names {', '.join(found)}" if isinstance(config, dict) else "is no table"
        raise ModelError(f"{CONFIG} of '{folder.name}' {what}: expected a network that is made of tensors alone")
    if "architecture" in config:
        features = _torchvision_features(folder, config["architecture"], tensors, device)
    else:
        features = _transformers_features(folder, tensors, device)
    prepare = _preparation(folder, device)

    @torch.no_grad()
    def extract(images: Tensor) -> Tensor:
        return _as_features(features(prepare(check_image(images).float())), len(images), folder.name)

    return extract


def _torchvision_features(
    folder: Path, name: object, tensors: Mapping[str, Tensor], device: str | torch.device
) -> Callable[[Tensor], Tensor]:
    """A classification network of torchvision without its last linear layer, which `tensors` may hold or not."""
    names = torchvision.models.list_models(module=torchvision.models)
    if not isinstance(name, str) or name not in names:
        raise ModelError(f"{CONFIG} of '{folder.name}': unknown architecture; choose from {', '.join(names)}")
    with warnings.catch_warnings(action="ignore"):  # of a change of initial weights, which are replaced here
        network: nn.Module = torchvision.models.get_model(name, weights=None)
    linear = [key for key, module in network.named_modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise ModelError(f"architecture {name} of '{folder.name}' ends in no linear layer: choose another")
    network.set_submodule(head := linear[-1], nn.Identity())
    given = {key: value for key, value in tensors.items() if key.rpartition(".")[0] != head}
    _check_fit(folder, name, network.state_dict(), given)
    network.load_state_dict(given)
    return network.to(device).eval()


def _check_fit(folder: Path, name: str, wanted: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> None:
    """ModelError that counts the tensors which do not fit; their names are the file's, and are not told."""
    missing = {key for key in wanted.keys() - given.keys() if not key.endswith("num_batches_tracked")}
    unknown = given.keys() - wanted.keys()
    misshapen = sum(given[key].shape != wanted[key].shape for key in wanted.keys() & given.keys())
    if missing or unknown or misshapen:
        raise ModelError(
            f"{TENSORS} of '{folder.name}' does not fit architecture {name}: {len(missing)} tensors are missing, "
            f"{len(unknown)} unknown, {misshapen} of another shape; name the architecture that they were made with"
        )


def _transformers_features(
    folder: Path, tensors: Mapping[str, Tensor], device: str | torch.device
) -> Callable[[Tensor], Tensor]:
    """The pooled output of a transformers vision model, or its class token; nothing but config and tensors is read."""
    try:
        transformers = importlib.import_module("transformers")  # an option of the user's, not a dependency
    except ImportError as error:
        raise ModelError(
            f"features of the hub model '{folder.name}' need the package transformers: install it (pip install "
            f"transformers), or give a network of torchvision, whose {CONFIG} names its architecture"
        ) from error
    own = {"trust_remote_code": False, "attn_implementation": "eager"}  # no code from elsewhere, whatever config says
    try:
        settings = transformers.AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        kind = type(transformers.AutoModel.from_config(settings, **own))
        network, loaded = kind.from_pretrained(
            None, config=settings, state_dict=dict(tensors), output_loading_info=True, **own
        )
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise ModelError(f"hub model '{folder.name}' cannot be loaded: {str(error).splitlines()[0]}") from error
    if missing := loaded["missing_keys"]:  # which transformers would fill with random numbers
        raise ModelError(f"{TENSORS} of '{folder.name}' lacks {len(missing)} of its model's tensors: fetch it again")
    network = network.to(device).eval()

    def features(images: Tensor) -> Tensor:
        found = network(pixel_values=images)
        pooled = getattr(found, "pooler_output", None)
        return found.last_hidden_state[:, 0] if pooled is None else pooled.flatten(1)

    return features


def _preparation(folder: Path, device: str | torch.device) -> Callable[[Tensor], Tensor]:
    """Grey images -> what the network expects: the size, mean and standard deviation of its preprocessor_config.json.

    The whole image is resized, bicubically and antialiased, to the square that the network sees; nothing is cropped.
    """
    settings = read_json(folder / PREPROCESSING)
    settings = settings if isinstance(settings, dict) else {}
    size = settings.get("crop_size") or settings.get("size")
    side = size.get("height") or size.get("shortest_edge") if isinstance(size, dict) else size
    colours = [settings.get("image_mean"), settings.get("image_std")]
    if not isinstance(side, int) or not 1 <= side <= MOST_SIDE or not all(map(_three_numbers, colours)):
        raise ModelError(
            f"{PREPROCESSING} of '{folder.name}': expected size (1 to {MOST_SIDE} px), and image_mean and image_std of "
            "three numbers"
        )
    mean, sd = (torch.tensor(values, device=device)[:, None, None] for values in colours)

    def prepare(images: Tensor) -> Tensor:
        resized = F.interpolate(images.to(device), (side, side), mode="bicubic", antialias=True).clamp(0, 1)
        return (resized.expand(-1, 3, -1, -1) - mean) / sd

    return prepare


def _three_numbers(values: object) -> bool:
    return isinstance(values, list) and len(values) == 3 and all(isinstance(one, float | int) for one in values)


def _as_features(found: object, batch: int, name: str) -> Tensor:
    if not isinstance(found, Tensor) or found.ndim != 2 or len(found) != batch:
        shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise ModelError(f"feature extractor '{name}' gave {shape} for {batch} images: expected (batch, features)")
    return found.float()
