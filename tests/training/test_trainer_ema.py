from types import SimpleNamespace
from typing import cast

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from torch import nn

from latentsr.training.trainer import Ema


class Module(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Linear(1, 1, bias=False)


def step(ema: Ema, module: Module, number: int, weight: float) -> None:
    module.network.weight.data.fill_(weight)
    ema.on_train_batch_end(cast(Trainer, SimpleNamespace(global_step=number)), module, None, None, 0)


def started(weight: float = 0.0) -> tuple[Ema, Module]:
    ema, module = Ema(0.5), Module()
    module.network.weight.data.fill_(weight)
    ema.on_train_start(cast(Trainer, None), module)
    return ema, module


def test_the_decay_rises_to_its_final_value() -> None:
    ema, module = started()
    step(ema, module, 1, 1.0)
    assert ema.weights()["weight"].item() == pytest.approx(1 - 2 / 11)
    for number in range(2, 21):
        step(ema, module, number, 1.0)
    before = ema.weights()["weight"].item()
    step(ema, module, 21, 0.0)
    assert ema.weights()["weight"].item() == pytest.approx(before / 2)


def test_a_batch_without_an_optimiser_step_changes_nothing() -> None:
    ema, module = started()
    step(ema, module, 1, 1.0)
    before = ema.weights()["weight"].clone()
    step(ema, module, 1, 5.0)
    assert torch.equal(ema.weights()["weight"], before)


def test_validation_sees_the_average_and_gives_the_weights_back() -> None:
    ema, module = started()
    step(ema, module, 1, 1.0)
    average = ema.weights()["weight"]
    ema.on_validation_start(cast(Trainer, None), module)
    assert torch.equal(module.network.weight.data, average)
    ema.on_validation_end(cast(Trainer, None), module)
    assert module.network.weight.item() == 1.0
    assert torch.equal(ema.weights()["weight"], average)


def test_state_goes_through_a_checkpoint() -> None:
    ema, module = started()
    step(ema, module, 1, 1.0)
    taken_up = Ema(0.5)
    taken_up.load_state_dict(ema.state_dict())
    taken_up.on_train_start(cast(Trainer, None), module)
    step(ema, module, 2, 3.0)
    step(taken_up, module, 2, 3.0)
    assert torch.equal(ema.weights()["weight"], taken_up.weights()["weight"])
