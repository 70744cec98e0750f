"""What measures need beside SR and HR: reconstructions, noise thresholds, latents, masks and the posterior mean."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from latentsr.autoencoders import Autoencoder, load_autoencoder
from latentsr.data.batches import padded, stacked
from latentsr.degrade import Degradation
from latentsr.errors import InputError, ModelError, OptionError
from latentsr.evaluation.inputs import PairedFiles
from latentsr.evaluation.sets import Extractor
from latentsr.metrics.hallucination import noise_thresholds
from latentsr.tiling import apply_tiled

TILE, OVERLAP = 128, 16  # latent px: as a model itself encodes and decodes, so that large images fit into memory


@dataclass(frozen=True)
class Surroundings:
    """What is there beside the methods, the same for all of them.

    Attributes:
        degradation: makes LR from HR.
        reference: the autoencoder whose error is the noise floor of hallucination; None: it is not measured.
        latent: the autoencoder in whose latents SR and HR are compared; None: they are not.
        mean: the method that estimates the posterior mean; None: null-space parts are not measured.
        extractor: images to features, for FID and KID; None: they are not measured.
        seed: of the places of patches.
    """

    degradation: Degradation
    reference: Autoencoder | None = None
    latent: Autoencoder | None = None
    mean: str | None = None
    extractor: Extractor | None = None
    seed: int = 0


def load_reference(name: str | None, device: str) -> Autoencoder | None:
    """The autoencoder of the noise floor; OptionError for a lossless one, which has no floor of its own."""
    autoencoder = load_latent(name, device)
    if autoencoder is not None and autoencoder.spec.lossless:
        raise OptionError(
            f"the option reference_autoencoder is {autoencoder.spec.name}, which loses nothing and has no noise floor; "
            "name a learned one, such as a folder made by 'latentsr fit-vae'"
        )
    return autoencoder


def load_latent(name: str | None, device: str) -> Autoencoder | None:
    """The autoencoder of that name or folder, in whose latents images are compared; None for None."""
    return None if name is None else load_autoencoder(name, device=device)


def reconstructions(autoencoders: Iterable[Autoencoder], hr: Tensor) -> dict[str, Tensor]:
    """decode(encode(HR)) in [0, 1], of HR's size, by the autoencoder's hash; each of them runs once."""
    distinct = {one.hash: one for one in autoencoders}
    return {hash: _decoded(one, hr) for hash, one in distinct.items()}


def shared_context(
    around: Surroundings,
    hr: Tensor,
    lr: Tensor,
    masks: PairedFiles | None,
    ids: Sequence[str],
    decoded: Mapping[str, Tensor],
) -> dict[str, Any]:
    """What all methods of a batch are measured with, by the names of `latentsr.metrics.table.CONTEXT`.

    `decoded` are the `reconstructions` of HR; that of the reference autoencoder is among them.
    """
    context: dict[str, Any] = {"hr": hr, "lr": lr, "degradation": around.degradation}
    if around.reference is not None:
        context["threshold"] = noise_thresholds(decoded[around.reference.hash], hr)
    if around.latent is not None:
        context["hr_latent"] = _encoded(around.latent, hr)
    if masks is not None:
        context["mask"] = stacked([torch.from_numpy(masks.pixels(id) > 0) for id in ids], hr.device)
    return context


def own_context(
    around: Surroundings, shown: Tensor, mean: Tensor | None, reconstruction: Tensor | None
) -> dict[str, Any]:
    """What one method's images, clamped to [0, 1], add to the shared context.

    `mean` is None for the mean itself; `reconstruction`, HR through the method's own autoencoder, where none loses.
    """
    context: dict[str, Any] = {}
    if around.latent is not None:
        context["sr_latent"] = _encoded(around.latent, shown)
    if mean is not None:
        context["mean"] = mean
    if reconstruction is not None:
        context["reconstruction"] = reconstruction
    return context


def _encoded(autoencoder: Autoencoder, images: Tensor) -> Tensor:
    """The latents of images in [0, 1], padded to whole latent pixels."""
    factor = autoencoder.spec.factor
    latents = apply_tiled(
        autoencoder.encode, padded(2 * images - 1, factor), tile=TILE * factor, overlap=OVERLAP * factor,
        enlarges=1 / factor,
    )  # fmt: skip
    return _finite(latents.to(images.dtype), autoencoder.spec.name)


def _decoded(autoencoder: Autoencoder, hr: Tensor) -> Tensor:
    """decode(encode(hr)) in [0, 1], of HR's size."""
    rows, columns = hr.shape[-2:]
    latents, factor = _encoded(autoencoder, hr), float(autoencoder.spec.factor)
    images = apply_tiled(autoencoder.decode, latents, tile=TILE, overlap=OVERLAP, enlarges=factor)[..., :rows, :columns]
    if images.shape != hr.shape:
        raise InputError(f"{autoencoder.spec.name}: decoded to {tuple(images.shape)}, expected {tuple(hr.shape)}")
    return _finite((images.to(hr.dtype) + 1) / 2, autoencoder.spec.name).clamp(0, 1)


def _finite(values: Tensor, name: str) -> Tensor:
    if not values.isfinite().all():
        raise ModelError(f"autoencoder {name}: gave NaN or infinity; check its weights")
    return values
