"""The exponential moving average of a network's weights: what is validated and saved in place of the last step's."""

# ruff: noqa: ARG002 (Lightning fixes the arguments of its hooks)

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn


class Ema(Callback):
    """Averages the weights of `module.<network>` after each optimiser step; validation runs on the average.

    The decay rises to its final value as (1 + n) / (10 + n) over n steps, so that a short training does not keep its
    random start. The average is part of the checkpoint, so that a resumed run equals an undisturbed one.
    """

    def __init__(self, decay: float, network: str = "network") -> None:
        self.decay = decay
        self.network = network
        self.steps = 0
        self.average: dict[str, Tensor] = {}

    def weights(self) -> dict[str, Tensor]:
        """The averaged state dict on the CPU, keys as in the network; empty before training."""
        return {name: value.detach().cpu().clone() for name, value in self.average.items()}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts from the network's weights, or brings the average that a checkpoint held to their device."""
        current = self._current(pl_module)
        held = self.average or current
        self.average = {name: held[name].detach().to(value.device, copy=True) for name, value in current.items()}

    @torch.no_grad()
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Moves the average after an optimiser step; batches that only gather gradients change nothing."""
        if trainer.global_step > self.steps:
            self.steps = trainer.global_step
            decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
            for name, value in self._current(pl_module).items():
                if value.is_floating_point():
                    self.average[name].lerp_(value, 1 - decay)
                else:
                    self.average[name].copy_(value)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Puts the average in the network's place."""
        self._swap(pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Puts the network's own weights back."""
        self._swap(pl_module)

    def state_dict(self) -> dict[str, Any]:
        """The state in the checkpoint."""
        return {"steps": self.steps, "average": self.weights()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores the state."""
        self.steps, self.average = state_dict["steps"], dict(state_dict["average"])

    def _current(self, module: LightningModule) -> dict[str, Tensor]:
        network: nn.Module = getattr(module, self.network)
        return network.state_dict()

    @torch.no_grad()
    def _swap(self, module: LightningModule) -> None:
        if not self.average:
            return
        for name, value in self._current(module).items():
            held = value.clone()
            value.copy_(self.average[name])
            self.average[name].copy_(held)
