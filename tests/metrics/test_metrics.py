"""What holds for every entry of the METRICS table."""

import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from latentsr.errors import InputError, OptionError
from latentsr.metrics import CONTEXT, METRICS, Metric, applicable, find_metrics, measure
from latentsr.metrics.images import Memo

WITHOUT_WEIGHTS = [metric for metric in METRICS.values() if metric.group != "learned"]
every_metric = pytest.mark.parametrize("metric", WITHOUT_WEIGHTS, ids=lambda metric: metric.name)


def of_batch(context: dict[str, Any], index: object) -> dict[str, Any]:
    """The context of some images of the batch."""
    return {name: value[index] if isinstance(value, Tensor) else value for name, value in context.items()}


@every_metric
def test_one_value_an_image_and_part_inside_its_range(metric: Metric, sr: Tensor, context: dict[str, Any]) -> None:
    values = metric(sr, **context)
    assert values.shape == ((3, len(metric.parts)) if metric.parts else (3,))
    assert values.dtype == sr.dtype
    assert ((values >= metric.range[0]) & (values <= metric.range[1])).all()


@pytest.fixture(scope="module")
def extremes(make_context: Callable, hr: Tensor) -> dict[str, tuple[Tensor, dict[str, Any]]]:
    """With its context: HR itself, images that are HR but for a little, its negative, noise, and nothing at all."""
    hr = hr[:1]
    noise = torch.rand(hr.shape, generator=torch.Generator().manual_seed(2))
    images = {
        "equal": hr.clone(),
        "rounded to 16 bits": (hr * 65535).round() / 65535,
        "nearly equal": (hr + 4e-6 * (noise - 0.5)).clamp(0, 1),
        "inverted": 1 - hr,
        "noise": noise,
        "black": torch.zeros_like(hr),
        "white": torch.ones_like(hr),
    }
    return {name: (image, make_context(image, hr)) for name, image in images.items()}


@every_metric
def test_no_image_is_outside_its_range(metric: Metric, extremes: dict[str, tuple[Tensor, dict[str, Any]]]) -> None:
    for name, (image, context) in extremes.items():
        values = metric(image, **context)
        found = values[~values.isnan()]
        low, high = metric.range[0] - 1e-5, metric.range[1] + 1e-5  # float32, such as 1.000002 of HaarPSI
        assert ((found >= low) & (found <= high)).all(), name


@every_metric
def test_an_image_has_the_same_value_in_any_batch(metric: Metric, sr: Tensor, context: dict[str, Any]) -> None:
    alone = torch.cat([metric(sr[[i]], **of_batch(context, [i])) for i in (2, 0, 1)])
    torch.testing.assert_close(metric(sr, **context)[[2, 0, 1]], alone, rtol=1e-5, atol=1e-7)


# How much was added beyond the mean does not say whether it is right: a shifted image adds as much as HR itself. And a
# noise floor is the reference autoencoder's, the same for every SR image. Blockiness is blind to contrast and to a
# shift by two pixels, and the FRC beyond LR to both.
UNDIRECTED = ("null_space", "noise_floor", "blockiness", "detail_frc", "coverage", "half_width")
DIRECTED = [one for one in WITHOUT_WEIGHTS if one.name not in UNDIRECTED]


@pytest.fixture(scope="module")
def graded(make_context: Callable, sr: Tensor, hr: Tensor) -> list[tuple[Tensor, dict[str, Any]]]:
    """With its context: HR itself, SR, and SR of less contrast and shifted."""
    worse = 0.95 * (0.7 * sr + 0.3 * sr.mean(dim=(2, 3), keepdim=True))
    worse = F.pad(worse, (2, 0, 0, 0), mode="replicate")[..., :-2]
    return [(image, make_context(image, hr)) for image in (hr, sr, worse)]


@pytest.mark.parametrize("metric", DIRECTED, ids=lambda metric: metric.name)
def test_its_direction(metric: Metric, graded: list[tuple[Tensor, dict[str, Any]]]) -> None:
    own, good, bad = (metric(image, **context) for image, context in graded)
    if metric.better == "closer":
        good, bad = -(good - own).abs(), -(bad - own).abs()
    close = good.mean(dim=0), bad.mean(dim=0)
    assert (close[0] <= close[1]).all() if metric.better == "lower" else (close[0] >= close[1]).all()
    assert not torch.equal(good, bad)


@pytest.mark.parametrize(
    "metric", [one for one in WITHOUT_WEIGHTS if set(one.needs) <= {"hr"}], ids=lambda metric: metric.name
)
def test_images_under_its_smallest_side_have_no_value(metric: Metric, sr: Tensor, hr: Tensor) -> None:
    side = metric.smallest_side
    enough = slice(90, 90 + max(side, 2))  # one pixel alone is a constant image
    value = metric(sr[..., enough, enough], hr[..., enough, enough])
    assert not value.isnan().any()
    assert value.isfinite().all() or metric.name == "subband_psnr"  # whose bands of two pixels may be equal
    if side > 1:
        assert metric(sr[..., : side - 1], hr[..., : side - 1]).isnan().all()


# LR PSNR takes values outside [0, 1] too.
@pytest.mark.parametrize(
    "metric", [one for one in WITHOUT_WEIGHTS if one.of_image and one.name != "lr_psnr"], ids=lambda metric: metric.name
)
def test_unusable_images_are_refused(metric: Metric, context: dict[str, Any], hr: Tensor) -> None:
    with pytest.raises(InputError, match="expects \\[0, 1\\]"):
        metric(hr + 0.5, **context)
    with pytest.raises(InputError, match="from nan to nan"):
        metric(torch.full_like(hr, torch.nan), **context)
    with pytest.raises(InputError, match="batch, 1, rows, columns"):
        metric(hr[:, 0], **context | {"hr": hr[:, 0]})
    with pytest.raises(InputError, match="no pixel"):
        metric(hr[:0], **of_batch(context, slice(0)))
    if "hr" in metric.needs:
        with pytest.raises(InputError, match="must be alike"):
            metric(hr[..., :128, :128], **context)


def test_what_is_missing_is_said(sr: Tensor) -> None:
    with pytest.raises(InputError, match="measure 'psnr' needs hr"):
        METRICS["psnr"](sr)


def test_measure_takes_what_is_at_hand(sr: Tensor, hr: Tensor) -> None:
    chosen = find_metrics(["psnr", "radial_spectrum", "laplacian_variance"])
    alone, paired = measure(chosen, sr, {}), measure(chosen, sr, {"hr": hr})
    assert list(alone) == [*(f"radial_spectrum/{number:02}" for number in range(1, 11)), "laplacian_variance"]
    assert list(paired) == ["psnr", *alone]
    assert all(values.shape == (3,) for values in paired.values())
    torch.testing.assert_close(paired["radial_spectrum/03"], METRICS["radial_spectrum"](sr)[:, 2])
    assert [metric.name for metric in applicable(chosen, {})] == ["radial_spectrum", "laplacian_variance"]


@pytest.mark.parametrize(("batch", "side"), [(3, 256), (1, 64)])
def test_measures_that_share_what_they_make_have_the_values_of_each_alone(
    batch: int, side: int, make_context: Callable, sr: Tensor, hr: Tensor
) -> None:
    """To the last digit, whatever was made of HR for another method."""
    first, second, true = (image[:batch, :, :side, :side] for image in (sr, (sr + hr) / 2, hr))
    memo = Memo(true)
    for image in (first, second):
        context = make_context(image, true)
        together = measure(WITHOUT_WEIGHTS, image, context, [memo])
        for metric in WITHOUT_WEIGHTS:
            alone = metric(image, **context)
            columns = alone.unbind(dim=1) if metric.parts else (alone,)
            for name, values in zip(metric.names, columns, strict=True):
                torch.testing.assert_close(together[name], values, rtol=0, atol=0, equal_nan=True, msg=name)


@every_metric
def test_its_entry_is_complete(metric: Metric) -> None:
    assert metric.title
    assert metric.source
    assert set(metric.needs) <= set(CONTEXT)
    assert metric.better == "closer" or metric.needs
    assert len(set(metric.names)) == max(1, len(metric.parts))


def test_an_unknown_name_lists_the_valid_ones() -> None:
    with pytest.raises(OptionError, match=r"'psrn' is unknown: choose from psnr, ssim, ms_ssim"):
        find_metrics(["psnr", "psrn"])


def test_names_keep_their_order_and_come_once() -> None:
    assert [metric.name for metric in find_metrics(["ssim", "psnr", "ssim"])] == ["ssim", "psnr"]


def test_published_definitions_and_learned_measures_are_measured_only_where_named() -> None:
    left_out = {"haarpsi_published", "haarpsi_med_published", "gmsd_published", "lpips", "dists"}
    left_out |= {one.name for one in METRICS.values() if one.group == "published" or "sampled" in one.needs}
    assert find_metrics() == tuple(metric for metric in METRICS.values() if metric.name not in left_out)
    assert [metric.name for metric in find_metrics(["gmsd_published"])] == ["gmsd_published"]


def test_the_import_leaves_the_slow_libraries_out(forked: Callable) -> None:
    slow = ("torchvision", "torch_fidelity", "scipy")

    def work() -> None:
        missing = {*slow, *(name for name in sys.modules if name.partition(".")[0] in slow)}
        sys.modules.update(dict.fromkeys(missing))  # whose import now fails
        import latentsr.metrics  # noqa: F401

    assert forked(work, fresh=True) == 0
