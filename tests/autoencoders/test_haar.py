import numpy as np
import pytest
import pywt
import torch
from hypothesis import given
from hypothesis import strategies as st

from latentsr.autoencoders.haar import FACTORS, Haar, Identity, Wavelet, walsh_matrix
from latentsr.errors import InputError, OptionError


def images(rows: int, columns: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(2, 1, rows, columns, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.mark.parametrize("factor", FACTORS)
@given(rows=st.integers(1, 5), columns=st.integers(1, 5), seed=st.integers(0, 2**31))
def test_lossless_and_energy_kept(factor: int, rows: int, columns: int, seed: int) -> None:
    haar, x = Haar(factor), images(rows * factor, columns * factor, seed)
    latents = haar.encode(x)
    assert latents.shape == (2, factor**2, rows, columns)
    assert torch.allclose(haar.decode(latents), x, atol=1e-6)
    assert latents.square().sum() == pytest.approx(float(x.square().sum()), rel=1e-5)


@pytest.mark.parametrize("factor", FACTORS)
def test_is_the_wavelet_packet_of_pywavelets_up_to_order_and_sign(factor: int) -> None:
    x = images(4 * factor, 3 * factor).double()
    levels = factor.bit_length() - 1
    packet = pywt.WaveletPacket2D(x[0, 0].numpy(), "haar", maxlevel=levels)
    nodes = np.stack([node.data for node in packet.get_level(levels)])
    ours = Haar(factor).encode(x)[0].numpy()
    unmatched = list(range(len(nodes)))
    for channel in ours:
        near = [i for i in unmatched if min(abs(channel - nodes[i]).max(), abs(channel + nodes[i]).max()) < 1e-6]
        assert len(near) == 1
        unmatched.remove(near[0])


@pytest.mark.parametrize("factor", FACTORS)
def test_channels_go_from_coarse_to_fine_rows_first(factor: int) -> None:
    """Each channel's basis image has as many sign changes as its place says."""
    basis = Haar(factor).decode(torch.eye(factor**2)[:, :, None, None])[:, 0]
    down = (basis.sign().diff(dim=1) != 0)[:, :, 0].sum(dim=1)
    across = (basis.sign().diff(dim=2) != 0)[:, 0].sum(dim=1)
    assert down.tolist() == [k // factor for k in range(factor**2)]
    assert across.tolist() == [k % factor for k in range(factor**2)]


@pytest.mark.parametrize("factor", FACTORS)
def test_channel_zero_is_the_block_mean_times_the_factor(factor: int) -> None:
    x = images(2 * factor, 3 * factor)
    means = torch.nn.functional.avg_pool2d(x, factor)
    assert torch.allclose(Haar(factor).encode(x)[:, :1], factor * means, atol=1e-6)


@pytest.mark.parametrize("axes", [[], [-1], [-2], [-2, -1]])
@pytest.mark.parametrize("factor", FACTORS)
def test_flip_gives_the_latents_of_the_flipped_images(factor: int, axes: list[int]) -> None:
    haar, x = Haar(factor), images(3 * factor, 2 * factor)
    assert torch.allclose(haar.flip(haar.encode(x), axes), haar.encode(x.flip(axes)), atol=1e-6)
    assert torch.equal(haar.flip(haar.encode(x)[0], axes), haar.flip(haar.encode(x), axes)[0])


@pytest.mark.parametrize("n", [2, 4, 8])
def test_walsh_matrix_is_orthonormal(n: int) -> None:
    assert torch.allclose(walsh_matrix(n) @ walsh_matrix(n).T, torch.eye(n), atol=1e-6)


def test_gradients_pass_even_where_inference_came_first() -> None:
    walsh_matrix.cache_clear()
    with torch.inference_mode():
        Haar(4).encode(images(8, 8))
    latents = Haar(4).encode(images(8, 8)).clone().requires_grad_()
    Haar(4).decode(latents).square().sum().backward()
    assert torch.allclose(latents.grad, 2 * latents, atol=1e-5)


@pytest.mark.parametrize(("rows", "columns"), [(30, 32), (32, 30)])
def test_sides_that_do_not_divide_are_refused(rows: int, columns: int) -> None:
    with pytest.raises(InputError, match=rf"\({rows}, {columns}\) px, expected sides in multiples of 4"):
        Haar(4).encode(images(rows, columns))


def test_other_factors_are_refused() -> None:
    with pytest.raises(OptionError, match="haar factor 3: expected one of 2, 4, 8"):
        Haar(3)


def test_images_are_their_own_latents() -> None:
    images = torch.rand(2, 1, 7, 5)
    assert torch.equal(Identity().encode(images), images)
    assert torch.equal(Identity().decode(images), images)
    assert (Identity.spec.factor, Identity.spec.latent_channels, Identity.spec.lossless) == (1, 1, True)


def test_cdf97_is_the_packet_of_pywavelets_up_to_order_and_sign() -> None:
    """Its bior4.4 at borders that are mirrored about the last pixel, whose extra coefficients are left out."""
    x = images(32, 48).double()
    ours = Wavelet().encode(x)[0].numpy()

    def split(bands: list[np.ndarray], axis: int) -> list[np.ndarray]:
        parts = [part for band in bands for part in pywt.dwt(band, "bior4.4", "reflect", axis)]
        return [np.take(part, range(2, part.shape[axis] - 2), axis) for part in parts]

    theirs = [x[0, 0].numpy()]
    for axis in (0, 0, 1, 1):
        theirs = split(theirs, axis)
    unmatched = list(range(16))
    for channel in ours:
        near = [i for i in unmatched if min(abs(channel - theirs[i]).max(), abs(channel + theirs[i]).max()) < 1e-9]
        assert len(near) == 1
        unmatched.remove(near[0])


@given(rows=st.integers(1, 5), columns=st.integers(1, 5), seed=st.integers(0, 2**31))
def test_cdf97_loses_nothing_and_nearly_keeps_the_energy(rows: int, columns: int, seed: int) -> None:
    wavelet, x = Wavelet(), images(4 * rows, 4 * columns, seed)
    latents = wavelet.encode(x)
    assert latents.shape == (2, 16, rows, columns)
    assert torch.allclose(wavelet.decode(latents), x, atol=1e-5)
    assert 0.64**4 < float(latents.square().sum() / x.square().sum()) < 1.37**4
    turned = wavelet.flip(latents[0], [-1])
    assert torch.allclose(wavelet.decode(turned[None]), x[:1].flip(-1), atol=1e-5)


def test_cdf97_channels_go_from_low_to_high_frequency_rows_first() -> None:
    basis = Wavelet().decode(torch.eye(16)[:, :, None, None] * torch.nn.functional.pad(torch.ones(1, 1), (3, 4, 3, 4)))
    spectrum = torch.fft.rfft2(basis[:, 0]).abs().square()
    across = (spectrum * torch.fft.rfftfreq(32)).sum(dim=(1, 2)) / spectrum.sum(dim=(1, 2))
    assert all(across[4 * row + k] < across[4 * row + k + 1] for row in range(4) for k in range(3))
    down = (spectrum * torch.fft.fftfreq(32).abs()[:, None]).sum(dim=(1, 2)) / spectrum.sum(dim=(1, 2))
    assert all(down[4 * k + column] < down[4 * k + 4 + column] for column in range(4) for k in range(3))


def test_independent_errors_of_latents_draw_no_grid() -> None:
    """Of errors that are twice as large in each coarser band, and none in the coarsest."""
    size = torch.tensor([0.0, 4.0, 2.0, 1.0])
    noise = (
        torch.randn(8, 16, 64, 64, generator=torch.Generator().manual_seed(0))
        * torch.outer(size, size).flatten()[:, None, None]
    )

    def steps(autoencoder: Haar | Wavelet) -> float:
        drawn = autoencoder.decode(noise).diff(dim=-1).square()
        return float(drawn[..., ::2].mean() / drawn[..., 1::2].mean())

    assert abs(steps(Wavelet()) - 1) < 0.1
    assert abs(steps(Haar()) - 1) > 0.3


def test_cdf97_refuses_sides_that_are_no_multiples_of_four() -> None:
    with pytest.raises(InputError, match=r"cdf97: image of \(6, 8\) px, expected sides in multiples of 4"):
        Wavelet().encode(images(6, 8))
