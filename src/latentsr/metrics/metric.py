"""The record of one measure, and measuring a batch by several: each runs where what it needs is at hand."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from latentsr.errors import InputError

CONTEXT = ("hr", "lr", "degradation", "threshold", "mask", "mean", "sr_latent", "hr_latent", "reconstruction")
Group = Literal[
    "fidelity",
    "perceptual",
    "frequency",
    "hallucination",
    "latent",
    "roi",
    "intensity",
    "distortion",
    "learned",
    "consistency",
]


@dataclass(frozen=True)
class Metric:
    """The facts of one measure.

    Attributes:
        name: what options and tables call it.
        title: what figures and printed tables call it.
        function: (sr, *needs) -> (batch,), or (batch, parts) where it has `parts`; without `sr` where `of_image` is
            False. Images are (batch, 1, rows, columns) in [0, 1]; NaN says "no value", as for images under
            `smallest_side`, and +inf is the PSNR of identical images.
        unit: of the value; empty for a pure number.
        better: which way is better; `closer` is closer to the value that HR itself has.
        range: smallest and largest value that can come.
        source: paper and equation, or protocol.
        smallest_side: pixels that rows and columns must have for a value.
        needs: what `function` takes beside SR, names of CONTEXT: `hr` and `lr` images, `degradation` (an operator with
            apply and pinv), `threshold` (batch, 3) of `hallucination.noise_thresholds`, `mask` (batch, 1, rows,
            columns) of the region of interest, `mean` (the posterior-mean SR image), `sr_latent` and `hr_latent`
            (batch, channels, rows, columns), `reconstruction` (HR, encoded and decoded by the method's autoencoder).
        parts: names of the values where there are several an image, such as the bands of a spectrum.
        group: what it belongs to in a report.
        of_image: whether it takes the SR image at all; measures of latents and of reconstructions do not.
        by_default: whether it is measured where no measures are named.
    """

    name: str
    title: str
    function: Callable[..., Tensor]
    unit: str
    better: Literal["higher", "lower", "closer"]
    range: tuple[float, float]
    source: str
    smallest_side: int = 1
    needs: tuple[str, ...] = ("hr",)
    parts: tuple[str, ...] = ()
    group: Group = "fidelity"
    of_image: bool = True
    by_default: bool = True

    @property
    def names(self) -> tuple[str, ...]:
        """What the tidy table calls its values: its own name, or `name/part` for each part."""
        return tuple(f"{self.name}/{part}" for part in self.parts) or (self.name,)

    @property
    def needs_reference(self) -> bool:
        """Whether it compares with HR."""
        return "hr" in self.needs or "hr_latent" in self.needs

    @property
    def of_result(self) -> bool:
        """Whether it says anything of SR; a ceiling or noise floor is an autoencoder's alone, whatever is restored."""
        return self.of_image or "sr_latent" in self.needs

    def __call__(self, sr: Tensor, hr: Tensor | None = None, **context: Any) -> Tensor:
        """The value of each SR image, (batch,) or (batch, parts); what it does not need is left aside."""
        given = context if hr is None else {**context, "hr": hr}
        if missing := [name for name in self.needs if name not in given]:
            raise InputError(f"measure '{self.name}' needs {', '.join(missing)}: give it, or leave the measure out")
        values = [given[name] for name in self.needs]
        return self.function(sr, *values) if self.of_image else self.function(*values)


def applicable(metrics: Iterable[Metric], context: Mapping[str, Any]) -> tuple[Metric, ...]:
    """The measures whose needs are all in `context`, in their order."""
    return tuple(metric for metric in metrics if set(metric.needs) <= context.keys())


def measure(metrics: Iterable[Metric], sr: Tensor, context: Mapping[str, Any]) -> dict[str, Tensor]:
    """The values of a batch by tidy name, each (batch,), of every measure whose needs are in `context`.

    Args:
        metrics: what to measure; those that need more than `context` has are left out (`applicable` tells which).
        sr: SR images, (batch, 1, rows, columns) in [0, 1].
        context: by the names of CONTEXT, all on the device of `sr`.
    """
    values: dict[str, Tensor] = {}
    for metric in applicable(metrics, context):
        found = metric(sr, **context)
        columns = found.unbind(dim=1) if metric.parts else (found,)
        values |= dict(zip(metric.names, columns, strict=True))
    return values
