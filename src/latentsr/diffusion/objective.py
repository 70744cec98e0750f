"""What the network predicts, as targets to learn and as the estimate of the clean latent that follows."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

Formula = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Objective:
    """`target(x, noise, alpha, sigma)`; `clean(prediction, z, alpha, sigma)`; diffusers' name of it.

    `terminal` is alpha at the noisiest time: 0, or a little signal for an epsilon network, which has no say without.
    """

    target: Formula
    clean: Formula
    prediction_type: str
    terminal: float = 0.0

    @property
    def one_step(self) -> bool:
        """Whether one evaluation in pure noise gives the clean latent."""
        return self.terminal == 0


OBJECTIVES: Mapping[str, Objective] = {
    "x0": Objective(
        target=lambda x, noise, alpha, sigma: x,
        clean=lambda prediction, z, alpha, sigma: prediction,
        prediction_type="sample",
    ),
    "epsilon": Objective(  # Ho 2020, eq. 14
        target=lambda x, noise, alpha, sigma: noise,
        clean=lambda prediction, z, alpha, sigma: (z - sigma * prediction) / alpha,
        prediction_type="epsilon",
        terminal=0.01,
    ),
    "v": Objective(  # Salimans and Ho 2022, section 4
        target=lambda x, noise, alpha, sigma: alpha * noise - sigma * x,
        clean=lambda prediction, z, alpha, sigma: alpha * z - sigma * prediction,
        prediction_type="v_prediction",
    ),
    "flow": Objective(  # rectified flow, Liu 2023; noise minus data, the sign of diffusers
        target=lambda x, noise, alpha, sigma: noise - x,
        clean=lambda prediction, z, alpha, sigma: z - sigma * prediction,
        prediction_type="flow_prediction",
    ),
}
