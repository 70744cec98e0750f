"""Training of a generator, which draws what a posterior mean lacks: its scores, its discriminator, its loss."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from latentsr.autoencoders.encoding import from_network
from latentsr.device import in_float32
from latentsr.errors import OptionError
from latentsr.metrics.sets import PATCH, laplacian_pyramid, patch_descriptors, pyramid_levels
from latentsr.training.denoiser import DenoiserTraining, TrainConfig
from latentsr.training.trainer import Budget
from latentsr.upscalers.restorer import Restorer

PENALTY, PENALTY_EVERY = 1.0, 4  # weight of the discriminator's gradients, which count every so many steps


class Discriminator(nn.Sequential):
    """A score of each overlapping patch of `channels` Haar bands: five convolutions without normalisation."""

    def __init__(self, channels: int, width: int = 64) -> None:
        layers: list[nn.Module] = []
        for inputs, outputs, stride in (
            (channels, width, 1), (width, width, 2), (width, 2 * width, 1), (2 * width, 2 * width, 1),
        ):  # fmt: skip
            layers += [nn.Conv2d(inputs, outputs, 3, stride, padding=1), nn.LeakyReLU(0.2)]
        super().__init__(*layers, nn.Conv2d(2 * width, 1, 1))


TEXTURE_PATCHES, TEXTURE_DIRECTIONS, TEXTURE_LEVELS = 256, 64, 2
SMALLEST_TEXTURE = 0.5 / 255  # sd of a level below which there is none
NO_POWER = 1e-8  # added below a root, whose slope at zero is infinite


def texture_distance(made: Tensor, true: Tensor, seed: int) -> Tensor:
    """How far the 7x7 patches of images (images, 1, rows, columns), clipped to [0, 1], are distributed from true ones.

    Sliced Wasserstein distance at the finest two levels of the Laplacian pyramid, each image against its own truth, in
    sds of the true level; the mean over images. Source: Heitz 2021 (arXiv 2006.07229), of patches.
    """
    generators = [[torch.Generator().manual_seed(seed + n) for n in range(len(true))] for _ in (made, true)]
    patches = [
        patch_descriptors(images.clamp(0, 1), own, levels=TEXTURE_LEVELS + 1, patches=TEXTURE_PATCHES)
        for images, own in zip((made, true), generators, strict=True)
    ]
    directions = torch.randn(PATCH**2, TEXTURE_DIRECTIONS, generator=torch.Generator().manual_seed(seed)).to(true)
    directions = directions / directions.norm(dim=0)
    found = []
    for level in list(patches[1])[:TEXTURE_LEVELS]:
        unit = patches[1][level].std(dim=(1, 2), keepdim=True).clamp(min=SMALLEST_TEXTURE)
        first, second = ((own[level] / unit @ directions).sort(dim=1).values for own in patches)
        found.append((first - second).abs().mean())
    return torch.stack(found).mean()


BLOCK = 4  # places along each axis whose errors are scored together


def energy_score(first: Tensor, second: Tensor, true: Tensor) -> Tensor:
    """The energy score of two draws (batch, channels, rows, columns) of each crop's true latents: less is better.

    (|s - x| + |s' - x| - |s - s'|) / 2, whose expectation is least where draws are distributed as the truth is: what
    they differ by counts for them. The mean of three: of single coefficients, of the channels at a place, and of those
    of 4 x 4 places; norms are root mean squares. Source: Gneiting and Raftery 2007, eq. 21.
    """
    pairs = (first - true, second - true, first - second)
    powers = [pair.square().mean(dim=1, keepdim=True) for pair in pairs]
    blocks = [functional.avg_pool2d(power, BLOCK, BLOCK // 2) for power in powers]
    norms = ([pair.abs() for pair in pairs], *([one.add(NO_POWER).sqrt() for one in kind] for kind in (powers, blocks)))
    return torch.stack([(a + b - apart).mean() / 2 for a, b, apart in norms]).mean()


# What rounding to 8 bits adds to a Fourier coefficient under a Hann window on both axes.
ROUNDING = (1 / 255) / 12**0.5 * 0.375
SPECTRAL = 0.5  # weight of the spectral score; at 1 samples of the finest detail are too faint


def spectral_score(first: Tensor, second: Tensor, true: Tensor) -> Tensor:
    """The energy score of the Fourier coefficients of two draws (batch, 1, rows, columns), pixels in [0, 1].

    Each coefficient of an image under a Hann window is a point of the plane, and its unit what draws and truth differ
    by in the 5 x 5 around it, so that faint frequencies count as strong ones do; slopes leave the unit as it is. It has
    draws and truth alike, so that the expected slope vanishes where they are distributed alike. How neighbouring
    latents go together, and so the spectrum within a band, `energy_score` hardly sees.
    """
    window = torch.outer(*(torch.hann_window(side, periodic=False) for side in true.shape[-2:])).to(true)
    spectra = (torch.fft.rfft2(window * pair, norm="ortho") for pair in (first - true, second - true, first - second))
    powers = [torch.view_as_real(spectrum).square().sum(dim=-1) for spectrum in spectra]
    around = functional.avg_pool2d(torch.stack(powers).mean(dim=0).detach(), 5, 1, 2, count_include_pad=False)
    unit = around.sqrt() + ROUNDING
    a, b, apart = (power.add(NO_POWER * ROUNDING).sqrt() for power in powers)
    return ((a + b - apart) / unit).mean() / 2


WINDOW = 8  # px along each axis over which contrast is taken
FAINT = 8 / 255  # contrast below which it is for the spectral score
CONTRAST = 2  # weight of the contrast score


def contrast_score(first: Tensor, second: Tensor, true: Tensor, mean: Tensor) -> Tensor:
    """The energy score of the fine contrast that two draws (batch, 1, rows, columns) have about each place.

    C is the rms of the finest level of the Laplacian pyramid (Peli 1990, band-limited), in units of the mean's. The
    scores of pixels and frequencies alone leave too little of it where detail is rare and strong, as at letters. A
    product of two draws' differences from the truth would be least where the expectation is right, too, but what one
    draw has too much of counts little there where the other has too little, and draws became specks.
    """
    images = (first.clamp(0, 1), second.clamp(0, 1), true, mean)
    powers = [functional.avg_pool2d(laplacian_pyramid(one, 2)[0].square(), WINDOW, WINDOW // 2) for one in images]
    a, b, due = ((power / (powers[3] + FAINT**2)).add(NO_POWER).sqrt() for power in powers[:3])
    return ((a - due).abs() + (b - due).abs() - (a - b).abs()).mean() / 2


class GeneratorTraining(DenoiserTraining):
    """The training of a generator, which draws a base's error from noise in one evaluation.

    Beside the energy scores, of latents and of frequencies, and that of contrast count the distance of the patches'
    distributions (`texture_distance`), and what a discriminator holds against a draw. That scores true and drawn errors
    by pairs, with penalties on its gradients at both (R3GAN, Huang 2024, sections 2 and 3). It sees them beside the
    base's estimate in bands whose grid is moved at random, so that no place in a block tells which is which.
    """

    def __init__(self, restorer: Restorer, config: TrainConfig, budget: Budget, pictures: Path) -> None:
        super().__init__(restorer, config, budget, pictures)
        side = config.crop * restorer.autoencoder.spec.factor
        if pyramid_levels(side) <= (TEXTURE_LEVELS if config.texture else 1):
            raise OptionError(f"crops of {side} px: too small for the levels that are scored; set a larger crop")
        if config.adversarial:
            # On the device at once: a checkpoint brings the state of its optimiser to where its weights are.
            self.discriminator = Discriminator(2 * restorer.config.denoiser.latent_channels).to(restorer.device)
            # Stepped by hand, so that the trainer's steps are those of the network alone.
            self.opponent = torch.optim.Adam(
                self.discriminator.parameters(), lr=config.learning_rate / 2, betas=(0.0, 0.99)
            )

    @staticmethod
    def scored() -> dict[str, Any]:
        """Weights and scales of the scores, which are no options: a training goes on with those that it began with."""
        return {"scores": {"spectral": SPECTRAL, "contrast": CONTRAST, "window": WINDOW, "faint": FAINT}}

    def loss(self, batch: Mapping[str, Tensor]) -> Tensor:
        """The scores of two draws, and of the first the patches' distance and what the discriminator holds."""
        condition, up = self.restorer.condition(batch, batch["noise"])
        if up is None:
            raise ValueError("a base gives an estimate")
        noise = torch.cat([batch["noise"], batch["noise"].roll(1, dims=0)])  # the second draw's is another crop's
        drawn = self.network(noise, batch["time"].repeat(2), condition.repeat(2, 1, 1, 1)).float()
        first, second = drawn.chunk(2)
        told = {"energy": energy_score(first, second, self.space.to_target(batch["hr"], up))}
        with in_float32(self.device):
            latents = self.space.from_target(first, up)
            four = (latents, self.space.from_target(second, up), batch["hr"], up)
            made, other, true, mean = (from_network(self.restorer.autoencoder.decode(one)) for one in four)
            told["spectral"] = spectral_score(made, other, true)
            told["contrast"] = contrast_score(made, other, true, mean)
            total = told["energy"] + SPECTRAL * told["spectral"] + CONTRAST * told["contrast"]
            if self.config.texture:
                told["texture"] = texture_distance(made, true, self.config.seed + self.trainer.global_step)
                total = total + self.config.texture * told["texture"]
        if self.config.adversarial:
            told["held"] = self._held(latents, batch["hr"], up)
            total = total + self.config.adversarial * told["held"]
        self.log_dict(told)
        return total

    def _held(self, latents: Tensor, hr: Tensor, up: Tensor) -> Tensor:
        """What the discriminator holds against drawn latents; it learns from the same batch first."""
        phases = np.random.default_rng([self.config.seed, self.trainer.global_step])
        rows, columns = phases.integers(self.restorer.autoencoder.spec.factor, size=2)
        with in_float32(self.device):
            made, true = (self._moved(one, up, int(rows), int(columns)) for one in (latents, hr))
        self._teach(made.detach(), true)
        self.discriminator.requires_grad_(False)
        held = functional.softplus(self.discriminator(true) - self.discriminator(made)).mean()
        self.discriminator.requires_grad_(True)
        return held

    def _moved(self, latents: Tensor, up: Tensor, rows: int, columns: int) -> Tensor:
        """Errors of the base, normalised, and its estimate on channels, with the grid moved by so many pixels."""
        autoencoder = self.restorer.autoencoder
        side = autoencoder.spec.factor
        there = []
        for images in (autoencoder.decode(latents), autoencoder.decode(up)):
            part = images[..., rows:, columns:]
            height, width = (length // side * side for length in part.shape[-2:])
            there.append(autoencoder.encode(part[..., :height, :width]))
        scale = torch.tensor(self.space.target_statistics.sd).to(up)[:, None, None]
        beside = there[1] / torch.cat([torch.full_like(scale[:1], side), scale[1:]])
        return torch.cat([self.space.to_target(*there), beside], dim=1)

    def _teach(self, made: Tensor, true: Tensor) -> None:
        """A step of the discriminator; every fourth has its penalty, fourfold (Karras 2020, section 3.1)."""
        lazy = self.trainer.global_step % PENALTY_EVERY > 0
        made, true = (one.detach().requires_grad_(not lazy) for one in (made, true))
        scores = self.discriminator(made), self.discriminator(true)
        loss = functional.softplus(scores[0] - scores[1]).mean()
        if not lazy:
            slopes = torch.autograd.grad([score.sum() for score in scores], [made, true], create_graph=True)
            penalty = torch.stack([slope.square().sum(dim=(1, 2, 3)).mean() for slope in slopes]).sum()
            loss = loss + PENALTY_EVERY * PENALTY / 2 * penalty / scores[0][0].numel()
        self.opponent.zero_grad()
        loss.backward()
        self.opponent.step()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the state of the discriminator's optimiser; its weights are the module's."""
        if self.config.adversarial:
            checkpoint["opponent"] = self.opponent.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Takes it up."""
        if self.config.adversarial:
            self.opponent.load_state_dict(checkpoint["opponent"])
