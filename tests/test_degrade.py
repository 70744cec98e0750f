import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.ndimage import gaussian_filter
from torch import Tensor

from latentsr.degrade import KERNELS, STEPS, SliceProfile, enlarge, parse_degradation, project, residual, translated
from latentsr.errors import InputError, OptionError

FILTERS = {"bicubic": Image.Resampling.BICUBIC, "lanczos": Image.Resampling.LANCZOS, "area": Image.Resampling.BOX}
OPERATORS = [
    "bicubic:2", "bicubic:4", "bicubic:8", "lanczos:4", "area:4", "kspace:2", "kspace:4", "blur:1.5",
    "blur:1,down:2,up:2", "blur:0.8,bicubic:4", "up:2,down:4",
]  # fmt: skip


def image(rows: int, columns: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((rows, columns))


def pillow(pixels: np.ndarray, rows: int, columns: int, kernel: str) -> np.ndarray:
    return np.asarray(Image.fromarray(pixels.astype(np.float32)).resize((columns, rows), FILTERS[kernel]))


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_reduction_is_that_of_pillow(kernel: str, scale: int) -> None:
    pixels = image(5 * scale, 7 * scale)
    ours = parse_degradation(f"{kernel}:{scale}").apply(torch.from_numpy(pixels))
    assert np.abs(ours.numpy() - pillow(pixels, 5, 7, kernel)).max() < 1e-6


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize(("rows", "columns"), [(7, 13), (1, 5), (16, 16)])
def test_enlargement_is_that_of_pillow(scale: int, rows: int, columns: int) -> None:
    pixels = image(rows, columns)
    expected = pillow(pixels, rows * scale, columns * scale, "bicubic")
    assert np.abs(enlarge(torch.from_numpy(pixels), scale).numpy() - expected).max() < 1e-6


@pytest.mark.parametrize("sigma", [0.5, 1.0, 2.3, 5.0])
@pytest.mark.parametrize(("rows", "columns"), [(24, 30), (6, 9)])
def test_blur_is_that_of_scipy(sigma: float, rows: int, columns: int) -> None:
    pixels = image(rows, columns)
    blurred = parse_degradation(f"blur:{sigma}").apply(torch.from_numpy(pixels)).numpy()
    assert np.allclose(blurred, gaussian_filter(pixels, sigma), atol=1e-12)


def centred_fft(pixels: np.ndarray, scale: int) -> np.ndarray:
    """The reference for kspace on one axis: keep the low frequencies, move to LR pixel centres, invert."""
    n, n_lr = pixels.shape[-1], pixels.shape[-1] // scale
    frequencies = np.fft.fftfreq(n_lr, 1 / n_lr)
    spectrum = np.fft.fft(pixels)[..., np.round(frequencies).astype(int)]
    phase = np.exp(2j * np.pi * frequencies * ((scale - 1) / 2) / n)
    kept = spectrum * phase
    if n_lr % 2 == 0:  # the Nyquist frequency stands for both of its signs
        nyquist = np.fft.fft(pixels)[..., [n_lr // 2, -(n_lr // 2)]]
        both = nyquist * np.exp(2j * np.pi * np.array([n_lr // 2, -(n_lr // 2)]) * ((scale - 1) / 2) / n)
        kept[..., n_lr // 2] = both.mean(axis=-1)
    return np.fft.ifft(kept).real / scale


@pytest.mark.parametrize("n_lr", [6, 7])
@pytest.mark.parametrize("scale", [2, 4])
def test_kspace_keeps_the_centre_of_the_spectrum(n_lr: int, scale: int) -> None:
    pixels = image(n_lr * scale, n_lr * scale)
    expected = centred_fft(centred_fft(pixels, scale).T, scale).T
    ours = parse_degradation(f"kspace:{scale}").apply(torch.from_numpy(pixels)).numpy()
    assert np.allclose(ours, expected, atol=1e-12)


@pytest.mark.parametrize("text", OPERATORS)
@settings(max_examples=15)
@given(seed=st.integers(0, 2**31), rows=st.integers(1, 4), columns=st.integers(1, 5))
def test_adjoint(text: str, seed: int, rows: int, columns: int) -> None:
    """<A x, y> = <x, A^T y>."""
    operator = parse_degradation(text)
    x = torch.from_numpy(image(rows * 8, columns * 8, seed))
    lr = operator.apply(x)
    y = torch.from_numpy(image(*lr.shape, seed + 1))
    assert (operator.adjoint(y) * x).sum() == pytest.approx(float((lr * y).sum()), rel=1e-9)


@pytest.mark.parametrize("text", OPERATORS)
def test_pseudo_inverse_has_the_four_properties_of_penrose(text: str) -> None:
    operator = parse_degradation(text)
    x = torch.from_numpy(image(16, 24))
    y = torch.from_numpy(image(*operator.apply(x).shape, 1))

    A, P = operator.apply, operator.pinv
    x2, y2 = torch.from_numpy(image(*x.shape, 2)), torch.from_numpy(image(*y.shape, 3))
    assert torch.allclose(A(P(A(x))), A(x), atol=1e-5)
    assert torch.allclose(P(A(P(y))), P(y), rtol=1e-5, atol=1e-5 * float(P(y).abs().max()))
    assert (A(P(y)) * y2).sum() == pytest.approx(float((y * A(P(y2))).sum()), rel=1e-5)
    assert (P(A(x)) * x2).sum() == pytest.approx(float((x * P(A(x2))).sum()), rel=1e-5)


@pytest.mark.parametrize("text", OPERATORS)
def test_every_operator_keeps_a_constant_the_centre_and_the_leading_dimensions(text: str) -> None:
    operator = parse_degradation(text)
    flat = operator.apply(torch.full((2, 1, 32, 16), 0.7))
    assert flat.shape == (2, 1, 32 // operator.scale, 16 // operator.scale)
    assert flat.dtype == torch.float32
    assert torch.allclose(flat, torch.tensor(0.7), atol=1e-5)
    pixels = torch.from_numpy(image(32, 16))
    if not text.startswith("kspace"):  # a real even-sized FFT is as symmetric: tested against FFT above
        assert torch.allclose(operator.apply(pixels.flip(0, 1)), operator.apply(pixels).flip(0, 1), atol=1e-9)


def test_a_batch_is_its_images_and_axes_do_not_mix() -> None:
    operator = parse_degradation("bicubic:4")
    batch = torch.from_numpy(np.stack([image(16, 24, seed) for seed in range(3)]))[:, None]
    each = torch.stack([operator.apply(one) for one in batch])
    assert torch.equal(operator.apply(batch), each)
    assert torch.allclose(operator.apply(batch.mT), each.mT)


@pytest.mark.parametrize(
    ("text", "scale"), [("bicubic:4", 4), ("blur:1,down:2,up:2", 1), ("blur:2", 1), ("down:4,up:2", 2), (" area:8 ", 8),
     ("blur:1,bicubic:4,noise:0.02", 4)],
)  # fmt: skip
def test_text_and_scale(text: str, scale: int) -> None:
    operator = parse_degradation(text)
    assert operator.scale == scale
    assert parse_degradation(operator.text) == operator


def test_steps_apply_in_the_order_of_the_text() -> None:
    pixels = torch.from_numpy(image(16, 16))
    first, second = parse_degradation("blur:1"), parse_degradation("down:2")
    assert torch.allclose(parse_degradation("blur:1,down:2").apply(pixels), second.apply(first.apply(pixels)))
    assert not torch.allclose(parse_degradation("down:2,blur:1").apply(pixels), second.apply(first.apply(pixels)))


@pytest.mark.parametrize("name", STEPS)
def test_every_step_has_a_matrix_of_the_size_that_it_says(name: str) -> None:
    step = STEPS[name]
    assert step.matrix(12, 2).shape == (round(12 / step.divides(2)), 12)
    assert parse_degradation(f"down:8,{name}:2").matrix(16).shape[1] == 16


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nearest:4", "step 'nearest:4'.*bicubic, lanczos, area"),
        ("bicubic", "'bicubic': expected a positive number"),
        ("bicubic:x", "positive number after the colon, as in bicubic:4"),
        ("blur:-1", "positive number"),
        ("blur:nan", "positive number"),
        ("blur:inf", "positive number"),
        ("", "step ''"),
        ("bicubic:2.5", "factor 2.5: expected a whole number"),
        ("up:2", "degradation 'up:2'.*whole"),
        ("down:3,up:2", "degradation 'down:3,up:2'.*whole"),
        ("area:2,noise:0.1,bicubic:4", "'bicubic:4': comes after the noise"),
        ("noise:0.1", "'noise:0.1': expected less than 1, the whole range, after another step"),
        ("bicubic:4,noise:2", "'noise:2': expected less than 1"),
        ("bicubic:4,noise:-1", "'noise:-1': expected a positive number"),
    ],
)
def test_bad_text_is_refused_at_once(text: str, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        parse_degradation(text)


def test_a_side_that_does_not_divide_is_an_error() -> None:
    with pytest.raises(InputError, match=r"side of 30 px is not a multiple of the scale 4.*option multiple 4"):
        parse_degradation("bicubic:4").apply(torch.zeros(32, 30))


@pytest.mark.parametrize("text", [*OPERATORS, "down:4,up:2", "down:2,down:3", "up:3,down:2,down:6", "up:7,down:7"])
def test_the_divisor_is_what_sides_must_be_multiples_of(text: str) -> None:
    operator = parse_degradation(text)
    for n in range(1, 25):
        if n % operator.divisor:
            with pytest.raises(InputError, match="is not a multiple"):
                operator.matrix(n)
        else:
            assert operator.matrix(n).shape == (n // operator.scale, n)


PROJECTED = ["bicubic:2", "bicubic:4", "lanczos:4", "area:4", "kspace:4", "blur:1,bicubic:4", "blur:1,down:2,up:2"]

seeds = st.integers(0, 2**31)
sides = st.integers(1, 5)


def images(seed: int, rows: int, columns: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    draw = torch.rand(2, 3, 1, rows * 8, columns * 8, generator=generator)
    return draw[0], draw[1]


@pytest.mark.parametrize("text", PROJECTED)
@settings(max_examples=15)
@given(seed=seeds, rows=sides, columns=sides)
def test_the_projection_has_exactly_the_lr(text: str, seed: int, rows: int, columns: int) -> None:
    operator = parse_degradation(text)
    truth, guess = images(seed, rows, columns)
    lr = operator.apply(truth)
    projected = project(guess, lr, operator)
    assert projected.dtype == guess.dtype
    assert (operator.apply(projected) - lr).abs().max() < 1e-5
    assert residual(projected, lr, operator).shape == (3, 1)
    assert residual(projected, lr, operator).max() < 1e-5 < 0.01 < residual(guess, lr, operator).min()


@pytest.mark.parametrize("text", PROJECTED)
@settings(max_examples=15)
@given(seed=seeds, rows=sides, columns=sides)
def test_the_projection_never_raises_the_squared_error(text: str, seed: int, rows: int, columns: int) -> None:
    operator = parse_degradation(text)
    truth, guess = images(seed, rows, columns)
    projected = project(guess, operator.apply(truth), operator)
    before, after = ((x.double() - truth).square().sum((1, 2, 3)) for x in (guess, projected))
    assert (after <= before * (1 + 1e-6)).all()
    assert (after < before).all()  # random images differ in the range of A too


@pytest.mark.parametrize("text", PROJECTED)
def test_projecting_twice_or_what_fits_already_changes_nothing(text: str) -> None:
    operator = parse_degradation(text)
    truth, guess = images(0, 3, 4)
    lr = operator.apply(truth)
    once = project(guess, lr, operator)
    assert torch.allclose(project(once, lr, operator), once, atol=2e-6)
    assert torch.allclose(project(truth, lr, operator), truth, atol=2e-6)


def test_any_lr_is_met_also_one_that_no_rounding_left_in_the_range() -> None:
    operator = parse_degradation("bicubic:4")
    lr = torch.rand(2, 1, 7, 13, generator=torch.Generator().manual_seed(0))
    assert residual(project(enlarge(lr, 4), lr, operator), lr, operator).max() < 1e-5


def test_noise_has_its_sd_and_each_image_its_own() -> None:
    operator = parse_degradation("bicubic:2,noise:0.1")
    hr = torch.zeros(2, 1, 64, 64, dtype=torch.float64)
    both = operator.degrade(hr, ["a", "b"])
    alone = operator.degrade(hr[1:], ["b"])
    assert torch.equal(both[1:], alone)
    assert both.std() == pytest.approx(0.1, rel=0.05)
    assert not torch.equal(both[0], both[1])
    assert torch.equal(operator.apply(hr), parse_degradation("bicubic:2").degrade(hr, []))


def test_the_projection_onto_noisy_lr_leaves_what_the_noise_explains() -> None:
    operator = parse_degradation("bicubic:4,noise:0.05")
    hr = torch.from_numpy(image(64, 64))[None, None]
    lr = operator.degrade(hr, ["a"])
    assert torch.equal(project(hr, lr, parse_degradation("bicubic:4,noise:0.1")), hr)  # nearer than its noise
    moved = project(torch.zeros_like(hr), lr, operator)
    assert (operator.apply(moved) - lr).square().mean().sqrt() == pytest.approx(0.05, rel=1e-6)


@pytest.mark.parametrize("text", ["lanczos:4", "area:4", "kspace:4", "blur:1,bicubic:4"])
def test_translated_lr_is_nearer_to_what_the_other_operator_makes(text: str) -> None:
    bicubic, operator = parse_degradation("bicubic:4"), parse_degradation(text)
    hr = torch.from_numpy(gaussian_filter(image(64, 96), 4)) * 8  # smooth, as images are
    expected, given = bicubic.apply(hr), operator.apply(hr)
    found = translated(given, operator, bicubic)
    assert (found - expected).square().mean() <= 0.5 * (given - expected).square().mean()
    shifted = translated(given + 3, operator, bicubic)
    assert torch.allclose(shifted, found + 3)  # of any intensity scale
    assert translated(given, operator, operator) is given


def test_a_strong_blur_is_not_undone_at_any_price() -> None:
    blurred, bicubic = parse_degradation("blur:4,bicubic:4"), parse_degradation("bicubic:4")
    rounding = torch.from_numpy(image(32, 32)) / 255
    assert translated(rounding, blurred, bicubic).std() < 20 * rounding.std()


PROFILES = [
    SliceProfile(7, 5, 5, 1), SliceProfile(6, 4, 4, 1.3), SliceProfile(9, 3, 4.5, 1), SliceProfile(6, 5, 3, 1),
    SliceProfile(8, 4, 4, 1, "gaussian"), SliceProfile(5, 3.3, 3, 0.7, "gaussian"),
]  # fmt: skip


@pytest.mark.parametrize("profile", PROFILES, ids=str)
def test_slice_profile_is_an_operator_with_adjoint_and_pseudo_inverse(profile: SliceProfile) -> None:
    generator = np.random.default_rng(0)
    thin = torch.from_numpy(generator.random((profile.thin, 3, 4)))
    thick = torch.from_numpy(generator.random((profile.slices, 3, 4)))
    assert torch.allclose(profile.apply(torch.ones_like(thin)), torch.ones_like(thick))
    assert torch.isclose((profile.apply(thin) * thick).sum(), (thin * profile.adjoint(thick)).sum())
    once = profile.pinv(thick)
    assert torch.allclose(profile.apply(once), thick)
    assert torch.allclose(profile.pinv(profile.apply(once)), once)
    assert residual_of(project(thin, thick, profile), thick, profile) < 1e-9


def residual_of(thin: Tensor, thick: Tensor, profile: SliceProfile) -> float:
    return float((profile.apply(thin) - thick).abs().max())


def test_a_box_as_thick_as_the_distance_averages() -> None:
    thin = torch.from_numpy(np.random.default_rng(0).random((20, 3, 4)))
    assert torch.allclose(SliceProfile(4, 5, 5, 1).apply(thin), thin.reshape(4, 5, 3, 4).mean(dim=1))


@pytest.mark.parametrize("profile", PROFILES, ids=str)
def test_slice_profiles_keep_places(profile: SliceProfile) -> None:
    """A ramp along the slices keeps its values at their centres, where no profile is cut."""
    thin = (torch.arange(profile.thin, dtype=torch.float64) - (profile.thin - 1) / 2) * profile.spacing
    thick = (torch.arange(profile.slices, dtype=torch.float64) - (profile.slices - 1) / 2) * profile.distance
    kept = slice(2, -2)
    assert torch.allclose(profile.apply(thin)[kept], thick[kept], atol=0.02 * profile.distance)


def test_a_gaussian_profile_is_half_as_high_at_half_its_thickness() -> None:
    row = SliceProfile(21, 1.0, 8.0, 0.05, "gaussian").matrix[10]
    middle = len(row) // 2
    assert row[middle + 80] / row[middle] == pytest.approx(0.5, abs=0.02)


def test_slice_profiles_of_no_kind_or_length_are_refused() -> None:
    with pytest.raises(OptionError, match="box, gaussian"):
        SliceProfile(4, 5, 5, 1, "sinc")
    with pytest.raises(InputError, match="thickness of 0 mm"):
        SliceProfile(4, 5, 0, 1)
