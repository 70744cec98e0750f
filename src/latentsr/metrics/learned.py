"""Measures by networks that were trained on photographs: LPIPS, DISTS, the features of FID and KID, and their weights.

Images are grey, (batch, 1, rows, columns) in [0, 1], and repeated to three channels. An extractor returns (batch,
features), float32. Only files that hold no code are read: programs of torch.export, TorchScript and pickles can run
anything when they are opened. Nothing is ever downloaded.
"""

import importlib
import io
import os
import warnings
from collections.abc import Callable, Mapping
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from latentsr.config import read_json
from latentsr.errors import ModelError, OptionError
from latentsr.metrics.images import GREY_LEVELS, check_image, check_pair, no_value, smaller_than

FOLDER_VARIABLE = "LATENTSR_WEIGHTS"


class Weights(NamedTuple):
    """A file of learned weights: its published name, where to fetch it, its licence.

    `network` is the name in torchvision.models, `calibration` the measure's own weights, which torchmetrics contains.
    """

    file: str
    address: str
    licence: str
    network: str = ""
    calibration: str = ""


PYTORCH = "download.pytorch.org/models"
WEIGHTS: Mapping[str, Weights] = {
    "lpips": Weights("alexnet-owt-7be5be79.pth", PYTORCH, "BSD-3-Clause", "alexnet", "lpips_models/alex.pth"),
    "dists": Weights("vgg16-397923af.pth", PYTORCH, "BSD-3-Clause", "vgg16", "dists_models/weights.pt"),
    "inception": Weights(
        "weights-inception-2015-12-05-6726825d.pth",
        "github.com/toshas/torch-fidelity/releases/download/v0.2.0",
        "Apache-2.0",
    ),
}


def learned_available(name: str) -> bool:
    """Whether the weights of `name` (lpips, dists or inception) exist on this machine; OptionError for another name."""
    return _local(name).is_file()


def weights_file(name: str) -> Path:
    """The file with the weights of `name`; ModelError, with what to fetch and where to put it, if it is missing.

    Looked for in the folder that the environment variable LATENTSR_WEIGHTS names, then in torch's hub cache.
    """
    path = _local(name)
    if not path.is_file():
        raise ModelError(
            f"the weights of '{name}' are not on this machine: fetch https://{WEIGHTS[name].address}/{path.name} "
            f"({WEIGHTS[name].licence}) and put it into the folder that {FOLDER_VARIABLE} names, or into torch's hub "
            "cache (hub/checkpoints), or leave the measure out"
        )
    return path


def _local(name: str) -> Path:
    """Where the weights of `name` are, or would be."""
    if name not in WEIGHTS:
        raise OptionError(f"learned measure '{name}' is unknown: choose from {', '.join(WEIGHTS)}")
    cached = Path(torch.hub.get_dir()) / "checkpoints" / WEIGHTS[name].file
    named = Path(os.environ.get(FOLDER_VARIABLE) or cached.parent) / WEIGHTS[name].file
    return named if named.is_file() else cached


def load_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a weights file by name, safetensors or a torch pickle of tensors alone; nothing in it is executed.

    ModelError if it holds anything else, or cannot be read.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        found: Any = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise ModelError(f"weights {path.name} hold more than tensors; fetch the published file again") from error
    except (SafetensorError, OSError, RuntimeError, ValueError, EOFError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ModelError(f"weights {path.name} cannot be read: {reason}; fetch the published file again") from error
    if not isinstance(found, dict) or not all(isinstance(value, Tensor) for value in found.values()):
        raise ModelError(f"weights {path.name}: expected a table of tensors; fetch the published file again")
    return found


INCEPTION_FEATURES = "2048"
CONFIG, TENSORS, PREPROCESSING = "config.json", "model.safetensors", "preprocessor_config.json"
FORM = f"a folder with {CONFIG}, {TENSORS} and {PREPROCESSING}"
MOST_SIDE = 2048  # px of the square that a network sees; published ones take 224 to 768
BEYOND_TENSORS = ("auto_map", "quantization_config")  # of a config.json: code of its own, packages that unpack weights

Extractor = Callable[[Tensor], Tensor]


def load_extractor(source: str | Path, device: str | torch.device = "cpu") -> Extractor:
    """The extractor that `source` names, on `device`.

    Args:
        source: "inception" (the TensorFlow weights of 2015, of published FID values), or a folder with `config.json`,
            `model.safetensors` and `preprocessor_config.json` (size, image_mean and image_std of the network's input).
            The config holds `architecture`, one of torchvision's classification networks such as resnet50, whose
            features are the input of its last linear layer; or it is that of a transformers vision model such as
            RadDINO, which needs the package transformers.
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
    config, tensors = read_json(folder / CONFIG), load_tensors(folder / TENSORS)
    if not isinstance(config, dict) or any(name in config for name in BEYOND_TENSORS):
        wrong = [name for name in BEYOND_TENSORS if name in config]
        reason = f"names {', '.join(wrong)}" if isinstance(config, dict) else "is no table"
        raise ModelError(f"{CONFIG} of '{folder.name}' {reason}: expected a network that is made of tensors alone")
    if "architecture" in config:
        features: Callable[[Tensor], Any] = _torchvision(folder, config["architecture"], tensors).to(device).eval()
    else:
        features = _transformers(folder, tensors, device)
    prepare = _preparation(folder, device)

    @torch.no_grad()
    def extract(images: Tensor) -> Tensor:
        found = features(prepare(check_image(images).float()))
        if not isinstance(found, Tensor) or found.ndim != 2 or len(found) != len(images):
            shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise ModelError(
                f"feature extractor '{folder.name}' gave {shape} for {len(images)} images: expected (batch, features)"
            )
        return found.float()

    return extract


def _inception(device: str | torch.device) -> Extractor:
    tensors = io.BytesIO()  # torch_fidelity unpickles its weights: give it tensors that were read safely
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


def _torchvision(folder: Path, name: object, tensors: Mapping[str, Tensor]) -> nn.Module:
    """A classification network of torchvision without its last linear layer, which `tensors` may hold or not."""
    import torchvision.models

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
    wanted = network.state_dict()
    missing = {key for key in wanted.keys() - given.keys() if not key.endswith("num_batches_tracked")}
    unknown = given.keys() - wanted.keys()
    misshapen = sum(given[key].shape != wanted[key].shape for key in wanted.keys() & given.keys())
    if missing or unknown or misshapen:
        raise ModelError(
            f"{TENSORS} of '{folder.name}' does not fit architecture {name}: {len(missing)} tensors are missing, "
            f"{len(unknown)} unknown, {misshapen} of another shape; name the architecture that they were made with"
        )
    network.load_state_dict(given)
    return network


def _transformers(folder: Path, tensors: Mapping[str, Tensor], device: str | torch.device) -> Callable[[Tensor], Any]:
    """The pooled output of a transformers vision model, or its class token; only config and tensors are read."""
    try:
        transformers = importlib.import_module("transformers")  # optional, not a dependency
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

    def features(images: Tensor) -> Any:
        found = network(pixel_values=images)
        pooled = getattr(found, "pooler_output", None)
        return found.last_hidden_state[:, 0] if pooled is None else pooled.flatten(1)

    return features


def _preparation(folder: Path, device: str | torch.device) -> Callable[[Tensor], Tensor]:
    """Grey images -> the network's input: the size, mean and standard deviation of its preprocessor_config.json.

    The whole image is resized, bicubically and antialiased, to the square that the network sees; nothing is cropped.
    """
    settings = read_json(folder / PREPROCESSING)
    settings = settings if isinstance(settings, dict) else {}
    size = settings.get("crop_size") or settings.get("size")
    side = size.get("height") or size.get("shortest_edge") if isinstance(size, dict) else size
    colours = [settings.get("image_mean"), settings.get("image_std")]
    valid = all(
        isinstance(colour, list) and len(colour) == 3 and all(isinstance(one, float | int) for one in colour)
        for colour in colours
    )
    if not isinstance(side, int) or not 1 <= side <= MOST_SIDE or not valid:
        raise ModelError(
            f"{PREPROCESSING} of '{folder.name}': expected size (1 to {MOST_SIDE} px), and image_mean and image_std of "
            "three numbers"
        )
    mean, sd = (torch.tensor(values, device=device)[:, None, None] for values in colours)

    def prepare(images: Tensor) -> Tensor:
        resized = F.interpolate(images.to(device), (side, side), mode="bicubic", antialias=True).clamp(0, 1)
        return (resized.expand(-1, 3, -1, -1) - mean) / sd

    return prepare


LPIPS_SIDE = 31  # under it AlexNet's poolings leave nothing
LPIPS_LAYERS = (1, 4, 7, 9, 11)
LPIPS_SHIFT = (-0.030, -0.088, -0.188)
LPIPS_SCALE = (0.458, 0.448, 0.450)
DISTS_SIDE = 16
DISTS_MOST = 1.124  # 1 + the share that structure has in the published weights, all of them 0 or more
DISTS_LAYERS = (3, 8, 15, 22, 29)
VGG_POOLS = (4, 9, 16, 23)
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_SD = (0.229, 0.224, 0.225)
EPSILON = 1e-6


@torch.no_grad()
def lpips(sr: Tensor, hr: Tensor) -> Tensor:
    """Learned perceptual image patch similarity, a distance of 0 or more; NaN for sides under 31 px.

    AlexNet, version 0.1, images in [-1, 1]. Source: Zhang et al. 2018, eq. 1.
    """
    sr, hr = check_pair(sr, hr)
    if smaller_than(hr, LPIPS_SIDE):
        return no_value(hr)
    path = weights_file("lpips")
    features, linear = _layers("lpips", path, path.stat().st_mtime_ns, hr.device)
    shift, scale = (hr.new_tensor(values)[:, None, None] for values in (LPIPS_SHIFT, LPIPS_SCALE))
    total = torch.zeros_like(hr[:, 0, 0, 0])
    mine, true = (((2 * image - 1).expand(-1, 3, -1, -1) - shift) / scale for image in (sr, hr))
    for number, layer in enumerate(features):
        mine, true = layer(mine), layer(true)
        if number in LPIPS_LAYERS:
            weight = linear[f"lin{LPIPS_LAYERS.index(number)}.model.1.weight"][0].to(hr.dtype)
            total += (weight * (_unit(mine) - _unit(true)).square()).sum(dim=1).mean(dim=(1, 2))
    return total


def _unit(maps: Tensor) -> Tensor:
    return maps / (maps.square().sum(dim=1, keepdim=True).sqrt() + 1e-8)


@torch.no_grad()
def dists(sr: Tensor, hr: Tensor) -> Tensor:
    """Deep image structure and texture similarity, a distance of 0 to DISTS_MOST; NaN for sides under 16 px.

    Above 1 are images of inverted structure, as a negative. VGG-16 with Hann-windowed poolings, at the images' size.
    Source: Ding et al. 2020, eq. 9.
    """
    sr, hr = check_pair(sr, hr)
    if smaller_than(hr, DISTS_SIDE):
        return no_value(hr)
    path = weights_file("dists")
    features, learned = _layers("dists", path, path.stat().st_mtime_ns, hr.device)
    alpha, beta = learned["alpha"].flatten(), learned["beta"].flatten()
    share = alpha.sum() + beta.sum()
    total, first = torch.zeros_like(hr[:, 0, 0, 0]), 0
    for mine, true in zip(_dists_maps(sr, features), _dists_maps(hr, features), strict=True):
        mean_sr, mean_hr = mine.mean(dim=(2, 3)), true.mean(dim=(2, 3))
        variances = mine.var(dim=(2, 3), correction=0) + true.var(dim=(2, 3), correction=0)
        covariance = (mine * true).mean(dim=(2, 3)) - mean_sr * mean_hr
        texture = (2 * mean_sr * mean_hr + EPSILON) / (mean_sr.square() + mean_hr.square() + EPSILON)
        structure = (2 * covariance + EPSILON) / (variances + EPSILON)
        own = slice(first, first := first + mine.shape[1])
        of_texture, of_structure = ((part[own] / share).to(hr.dtype) for part in (alpha, beta))
        total += (of_texture * texture + of_structure * structure).sum(dim=1)
    return (1 - total).clamp_min(0)  # of equal images the sum may be above 1 by rounding


def _dists_maps(image: Tensor, features: nn.Sequential) -> list[Tensor]:
    """The image itself and the maps of VGG's five stages."""
    image = image.expand(-1, 3, -1, -1)
    mean, sd = (image.new_tensor(values)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_SD))
    taps = image.new_tensor((0.25, 0.5, 0.25))
    maps, current = [image], (image - mean) / sd
    for number, layer in enumerate(features):
        if number in VGG_POOLS:
            # L2 pooling by half with a 3x3 Hann window, which avoids aliases (Henaff and Simoncelli 2016).
            kernel = (taps[:, None] * taps[None, :]).expand(current.shape[1], 1, 3, 3)
            pooled = F.conv2d(current.square(), kernel, stride=2, padding=1, groups=current.shape[1])
            current = (pooled + 1e-12).sqrt()
        else:
            current = layer(current)
        if number in DISTS_LAYERS:
            maps.append(current)
    return maps


@lru_cache(maxsize=4)
def _layers(
    measure: str, path: Path, _changed: int, device: torch.device
) -> tuple[nn.Sequential, Mapping[str, Tensor]]:
    """The convolutional layers of a measure's network with the weights of `path`, and the measure's own weights."""
    from torchvision.models import get_model

    weights, package = WEIGHTS[measure], find_spec("torchmetrics")  # not imported
    folders = (package.submodule_search_locations if package else None) or [""]
    calibration = Path(folders[0], "functional/image", weights.calibration)
    if not calibration.is_file():
        raise ModelError(f"torchmetrics comes without {weights.calibration}: install torchmetrics 1.6 to 1.9")
    own = {name: value.to(device) for name, value in load_tensors(calibration).items()}
    with torch.device("meta"):  # no time and memory for weights that are replaced or never used
        features: nn.Sequential = get_model(weights.network, weights=None).features
    given = {name.removeprefix("features."): value for name, value in load_tensors(path).items() if "features." in name}
    try:
        features.load_state_dict(given, assign=True)
    except RuntimeError as error:
        raise ModelError(
            f"weights {path.name} do not fit: {str(error).splitlines()[-1].strip()}; fetch them again"
        ) from error
    for layer in features:
        if isinstance(layer, nn.ReLU):
            layer.inplace = False
    return features.eval().requires_grad_(False).to(device), own
