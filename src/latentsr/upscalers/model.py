"""The SuperResolver: a model folder that is loaded, checked and applied to volumes.

The folder holds `config.json` (a ModelConfig, with the hash of every other file but the card, and its own digest), the
denoiser's weights, the autoencoder's files unless it is one that needs none, the folder `base` of the model that it
refines, if any, `training_images.txt` and `README.md`, the model card.
"""

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from latentsr.atomic import replacing
from latentsr.autoencoders import Autoencoder, load_autoencoder
from latentsr.autoencoders.weights import load_weights, save_weights
from latentsr.config import checked, read_signed_json, sha256, signed, write_json
from latentsr.degrade import parse_degradation
from latentsr.device import FLOAT32, resolve_device, resolve_precision
from latentsr.diffusion.denoiser import Denoiser
from latentsr.errors import InputError, LatentSRError, ModelError, StaleError
from latentsr.upscalers import CONFIG, WEIGHTS, whole_model
from latentsr.upscalers.calibration import Calibration
from latentsr.upscalers.restorer import ModelConfig, Restorer

CARD, AUTOENCODER, BASE = "README.md", "autoencoder", "base"
IMAGES = "training_images.txt"  # a `pixel_digest` a line


class SuperResolver(Restorer):
    """A model, ready to be applied: `load` it, then `enhance` files, arrays and volumes, or `restore` tensors.

    `folder` is where it was loaded from, `hash` that of its config.json, which holds those of its other files.
    `training_images` are the digests of those that are known, see `latentsr.data.duplicates.pixel_digest`; none of a
    model that was trained by an older version.
    """

    def __init__(
        self, config: ModelConfig, denoiser: Denoiser, autoencoder: Autoencoder, device: str = "cpu", *, hash: str,
        folder: Path, training_images: Iterable[str] = (), base: Restorer | None = None, precision: str = FLOAT32,
        compiled: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(config, denoiser, autoencoder, device, base=base, precision=precision, compiled=compiled)
        self.hash, self.folder = hash, folder
        self.training_images = frozenset(training_images)

    @classmethod
    def load(
        cls, name_or_folder: str | Path, *, device: str = "auto", precision: str = FLOAT32, compiled: bool = False
    ) -> "SuperResolver":
        """The model of that name which comes with the package, or the one in a folder; every file's hash is checked.

        `precision` and `compiled`: how its networks and its base's are computed, see `Restorer`.
        """
        folder, content = whole_model(name_or_folder)
        try:
            config = checked(ModelConfig, content, str(folder / CONFIG))
            parse_degradation(config.degradation)
            config.process.check(1 if config.process.has_mean else 2)
        except LatentSRError as error:
            raise ModelError(f"{error}; get the whole model again") from error
        device, computed = resolve_device(device), dict[str, Any](precision=precision, compiled=compiled)
        resolve_precision(precision, device)
        inner = config.autoencoder == AUTOENCODER
        autoencoder = load_autoencoder(folder / AUTOENCODER if inner else config.autoencoder, device=device)
        if autoencoder.hash != config.autoencoder_hash:
            raise ModelError(
                f"{folder}: made for another autoencoder than {config.autoencoder}; get the whole model again"
            )
        base = None if config.base is None else cls.load(folder / BASE, device=device, **computed)
        if base is not None and config.base is not None and base.hash != config.base.hash:
            raise ModelError(f"{folder}: made for another base than {BASE}; get the whole model again")
        denoiser = Denoiser(config.denoiser)
        load_weights(denoiser, folder / WEIGHTS)
        images = (folder / IMAGES).read_text(encoding="ascii").split() if IMAGES in config.files else ()
        return cls(
            config, denoiser, autoencoder, device, hash=sha256(folder / CONFIG), folder=folder, training_images=images,
            base=base, **computed,
        )  # fmt: skip


def save_model(
    folder: Path, config: ModelConfig, weights: Mapping[str, Tensor], *, card: str, autoencoder: Path | None = None,
    base: Path | None = None, training_images: Iterable[str] = (), dtype: torch.dtype = torch.float16,
) -> None:  # fmt: skip
    """Writes a model folder at `folder`, whole or not at all; weights as float16, which halves the file.

    `autoencoder` and `base` are the folders of those that are kept in it.

    In float16 outputs move by up to 2e-3 of a latent's sd; `dtype` float32 keeps the weights as they are.
    `training_images` are digests, see `latentsr.data.duplicates.pixel_digest`.
    """
    with replacing(folder) as partial:
        partial.mkdir()
        stored = {key: value.to(dtype) if value.is_floating_point() else value for key, value in weights.items()}
        save_weights({key: value.contiguous() for key, value in stored.items()}, partial / WEIGHTS)
        (partial / CARD).write_text(card, encoding="utf-8")
        for name, given in ((AUTOENCODER, autoencoder), (BASE, base)):
            if given is not None:
                shutil.copytree(given, partial / name)
        if digests := sorted(set(training_images)):
            (partial / IMAGES).write_text("\n".join(digests) + "\n", encoding="ascii")
        made = (path for path in sorted(partial.rglob("*")) if path.is_file() and path.name != CARD)
        files = {path.relative_to(partial).as_posix(): sha256(path) for path in made}
        write_json(partial / CONFIG, signed({**config.model_dump(mode="json"), "files": files}))


def write_calibrated(model: SuperResolver, out: Path, calibration: Calibration) -> None:
    """Writes a copy of a loaded model's folder at `out`, whole or not at all, with the calibration in it and its card.

    A folder at `out` makes room for it. The model itself is not changed.
    """
    with replacing(out, over_folder=True) as fresh:
        for name in (*model.config.files, CARD, f"{BASE}/{CARD}"):
            if (model.folder / name).is_file():
                (fresh / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(model.folder / name, fresh / name)
        with (fresh / CARD).open("a", encoding="utf-8") as card:
            card.write(
                f"\nIntervals: calibrated on {calibration.patients} patients of {calibration.dataset} "
                f"({calibration.split}), alpha {calibration.alpha:g}; see `calibration` in {CONFIG}.\n"
            )
        config = model.config.model_copy(update={"calibration": calibration})
        write_json(fresh / CONFIG, signed(config.model_dump(mode="json")))


def refuse_foreign(out: Path, part: str) -> None:
    """StaleError where `out` exists and is no model folder whose config has that part: others' files stay."""
    try:
        own = not out.exists() or part in read_signed_json(out / CONFIG)
    except InputError:
        own = False
    if not own:
        raise StaleError(f"{out}: exists and holds no model with `{part}`; choose an output folder that is new")
