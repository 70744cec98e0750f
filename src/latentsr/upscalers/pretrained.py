"""Networks that others trained, read by spandrel from their published files: ESRGAN, SwinIR and their like.

What spandrel reads from a local file can be used as it is; those of KNOWN by name too, from the store, where their
SHA-256 is checked. Grey images are repeated to the network's channels, and its output is averaged.
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from latentsr.atomic import replacing
from latentsr.autoencoders.weights import SUFFIXES, check_kind, read_tensors
from latentsr.config import home, sha256
from latentsr.degrade import Degradation, parse_degradation
from latentsr.device import resolve_device
from latentsr.errors import InputError, ModelError, OptionError, StaleError, reason
from latentsr.io.raster import resized
from latentsr.tiling import apply_tiled
from latentsr.upscalers.upscaler import Restored, Sampling, Upscaler

if TYPE_CHECKING:
    from spandrel import ImageModelDescriptor

OVERLAP = 16  # LR px that neighbouring tiles share


@dataclass(frozen=True)
class Known:
    """A published network: its file's name, SHA-256 and address, the architecture as spandrel names it, the licence.

    `scale` is how many times it enlarges.
    """

    file: str
    sha256: str
    where: str
    architecture: str
    licence: str
    scale: int = 4

    @property
    def path(self) -> Path:
        """Where the file is looked for."""
        return home() / "upscalers" / self.file

    def check(self, path: Path) -> None:
        """ModelError for a file that is none of weights, or another than the published one."""
        check_kind(path)
        if sha256(path) != self.sha256:
            raise ModelError(
                f"{path}: cut off, altered or another file, its SHA-256 is not {self.sha256[:12]}...; fetch again "
                f"{self.file} from {self.where}"
            )


KNOWN: Mapping[str, Known] = {
    "realesrgan-x4plus": Known(
        "RealESRGAN_x4plus.pth", "4fa0d38905f75ac06eb49a7951b426670021be3018265fd191d2125df9d682f1",
        "github.com/xinntao/Real-ESRGAN, release v0.1.0", "ESRGAN", "BSD-3-Clause",
    ),
    "swinir-l-x4-gan": Known(
        "003_realSR_BSRGAN_DFOWMFC_s64w8_SwinIR-L_x4_GAN.pth",
        "99adfa91350a84c99e946c1eb3d8fce34bc28f57d807b09dc8fe40a316328c0a",
        "github.com/JingyunLiang/SwinIR, release v0.0", "SwinIR", "Apache-2.0",
    ),
}  # fmt: skip


def is_pretrained(name_or_file: str | Path) -> bool:
    """Whether it is a name of KNOWN, or a file that may hold a network."""
    return str(name_or_file) in KNOWN or (Path(name_or_file).suffix in SUFFIXES and Path(name_or_file).is_file())


def load_pretrained(
    name_or_file: str | Path, degradation: Degradation | None = None, *, device: str = "auto"
) -> "Pretrained":
    """The network of that name in KNOWN, or of a local file, for LR made by `degradation` (bicubic, unless told).

    Raises:
        ModelError: a file that is missing, altered, broken, or of no architecture that enlarges images.
        OptionError: a degradation of another scale; 1 is allowed, see `Pretrained`.
    """
    name, path = str(name_or_file), Path(name_or_file)
    if (known := KNOWN.get(name)) is not None:
        path = known.path
        if not path.is_file():
            raise ModelError(f"{name}: its weights are not on this machine; {how_to_get(name)}")
        known.check(path)
    from spandrel import ImageModelDescriptor, ModelLoader, UnsupportedModelError  # a second, which most calls spare

    try:
        network = ModelLoader().load_from_state_dict(dict(read_tensors(path)))
    except UnsupportedModelError as error:
        raise ModelError(f"{path}: of no architecture that spandrel knows; give another file") from error
    except (RuntimeError, KeyError, ValueError, AssertionError, IndexError) as error:  # tensors that do not fit
        raise ModelError(
            f"{path}: its tensors make no network of the architecture they look like ({reason(error)}); fetch it again"
        ) from error
    if not isinstance(network, ImageModelDescriptor) or network.purpose not in ("SR", "FaceSR", "Restoration"):
        raise ModelError(f"{path}: a network of {network.architecture.name}, which does not enlarge one image")
    if known is not None and network.architecture.id != known.architecture:
        raise ModelError(f"{path}: a network of {network.architecture.name}, expected {known.architecture}")
    if network.input_channels not in (1, 3):
        raise ModelError(f"{path}: takes {network.input_channels} channels; expected grey (1) or colour (3)")
    degradation = degradation or parse_degradation(f"bicubic:{network.scale}")
    if degradation.scale not in (1, network.scale):
        raise OptionError(
            f"{name} enlarges {network.scale} times, the degradation {degradation.text} reduces {degradation.scale} "
            f"times: choose a degradation, or scale, of {network.scale}"
        )
    if not all(torch.isfinite(value).all() for value in network.model.state_dict().values()):
        raise ModelError(f"{path}: holds NaN or infinity; fetch it again")
    return Pretrained(name if known else path.stem, network, degradation, resolve_device(device), hash=sha256(path))


def how_to_get(name: str) -> str:
    """What to fetch of a network of KNOWN, from where, and where to put it, on one line."""
    known = KNOWN[name]
    return (
        f"fetch {known.file} from {known.where}: 'latentsr models import {name} --weights {known.file}' puts it into "
        f"{known.path.parent}"
    )


def import_pretrained(name: str, file: Path, *, overwrite: bool = False) -> Path:
    """The copy in the store of the published file of a network of KNOWN; an existing one is kept unless `overwrite`.

    Raises:
        ModelError: another file than the published one.
        StaleError: a copy that exists.
    """
    known = KNOWN[name]
    if known.path.exists() and not overwrite:
        raise StaleError(f"{known.path}: {name} is in the store already; set the option overwrite to replace it")
    known.check(file)
    with replacing(known.path) as temporary:
        shutil.copyfile(file, temporary)
    return known.path


class Pretrained(Upscaler):
    """A network of spandrel, applied as the study applies it.

    Where LR has HR's size already (a degradation of scale 1) its output is reduced to that size again in 8 bit by
    Pillow's bicubic, as in the study's refinement task.
    """

    def __init__(
        self,
        name: str,
        network: "ImageModelDescriptor[Any]",
        degradation: Degradation,
        device: str,
        *,
        hash: str,
    ) -> None:
        self.name, self.hash, self.degradation, self.device = name, hash, degradation, device
        self.network = network.to(device).eval()

    @torch.inference_mode()
    def restore(self, lr: Tensor, *, ids: Sequence[str], sampling: Sampling = Sampling()) -> Restored:
        """SR of LR images (images, 1, rows, columns) in [0, 1]; ids and the seed change nothing."""
        if len(ids) != len(lr):
            raise InputError(f"{len(lr)} images with {len(ids)} ids: expected one id an image")
        self.check(sampling)
        grey = lr.clamp(0, 1).float().to(self.device).expand(-1, self.network.input_channels, -1, -1)
        scale = float(self.network.scale)
        images = [
            apply_tiled(self.network, one, tile=sampling.tile, overlap=OVERLAP, enlarges=scale) for one in grey.split(1)
        ]
        image = torch.cat(images).mean(dim=1, keepdim=True).cpu()
        if self.scale == 1 and self.network.scale > 1:
            levels = (image[:, 0].clamp(0, 1) * 255).round().byte().numpy()
            reduced = np.stack([resized(one, (lr.shape[-2], lr.shape[-1]), "bicubic") for one in levels])
            image = torch.from_numpy(reduced)[:, None].float() / 255
        return Restored(image)
