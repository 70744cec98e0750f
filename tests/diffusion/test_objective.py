import math

import pytest
import torch
from diffusers import DDPMScheduler, FlowMatchEulerDiscreteScheduler

from latentsr.diffusion.objective import OBJECTIVES, SCHEDULES, TIMES, alphas_sigmas, at, betas
from latentsr.errors import OptionError

DIFFUSERS = {
    "cosine": {"beta_schedule": "squaredcos_cap_v2"},
    "linear": {"beta_schedule": "linear", "beta_start": 1e-4, "beta_end": 0.02},
}


@pytest.mark.parametrize("name", DIFFUSERS)
def test_tables_are_those_of_diffusers_without_terminal_signal(name: str) -> None:
    reference = DDPMScheduler(TIMES, **DIFFUSERS[name], rescale_betas_zero_snr=True).alphas_cumprod
    alpha, sigma = alphas_sigmas(name)
    assert torch.allclose(alpha.square(), reference, atol=2e-5)
    assert torch.allclose(sigma.square(), 1 - reference, atol=2e-5)


def test_cosine_is_the_formula_of_nichol_up_to_the_shift() -> None:
    t = torch.arange(1, TIMES + 1, dtype=torch.float64) / TIMES
    bar = [math.cos((float(u) + 0.008) / 1.008 * math.pi / 2) ** 2 for u in t]
    assert torch.allclose(alphas_sigmas("cosine")[0].double() ** 2, torch.tensor(bar, dtype=torch.float64), atol=2e-3)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("terminal", [0.0, 0.01])
def test_every_schedule_goes_from_data_to_pure_noise(name: str, terminal: float) -> None:
    alpha, sigma = alphas_sigmas(name, terminal)
    assert alpha.shape == sigma.shape == (TIMES,)
    assert (alpha.diff() < 0).all()
    assert (sigma.diff() >= 0).all()
    assert alpha[0] > 0.98
    assert alpha[-1] == pytest.approx(0.0 if name == "flow" else terminal, abs=1e-7)
    if name == "flow":
        assert torch.allclose(alpha + sigma, torch.ones(TIMES))
    else:
        assert torch.allclose(alpha.square() + sigma.square(), torch.ones(TIMES), atol=1e-6)


def test_flow_is_the_table_of_diffusers() -> None:
    reference = FlowMatchEulerDiscreteScheduler(num_train_timesteps=TIMES)
    assert torch.allclose(alphas_sigmas("flow")[1], reference.sigmas[:TIMES].flip(0), atol=1e-6)


@pytest.mark.parametrize("name", DIFFUSERS)
@pytest.mark.parametrize("terminal", [0.0, 0.01])
def test_betas_give_the_table_again(name: str, terminal: float) -> None:
    bar = torch.cumprod(1 - torch.tensor(betas(name, terminal), dtype=torch.float64), 0)
    assert torch.allclose(bar.sqrt().float(), alphas_sigmas(name, terminal)[0], atol=1e-6)


@pytest.mark.parametrize("name", SCHEDULES)
def test_at_picks_an_image_each(name: str) -> None:
    alpha, sigma = at(name, torch.tensor([0, 500, 999]))
    assert alpha.shape == sigma.shape == (3, 1, 1, 1)
    assert alpha.flatten().tolist() == alphas_sigmas(name)[0][[0, 500, 999]].tolist()
    assert sigma.flatten().tolist() == alphas_sigmas(name)[1][[0, 500, 999]].tolist()


def test_tables_made_in_inference_serve_a_training_too() -> None:
    alphas_sigmas.cache_clear()
    with torch.inference_mode():
        at("cosine", torch.tensor([5]))
    weight = torch.ones(1, requires_grad=True)
    alpha, sigma = at("cosine", torch.tensor([5]))
    (weight * alpha + sigma).square().sum().backward()
    assert weight.grad is not None


def test_another_name_is_refused() -> None:
    with pytest.raises(OptionError, match="schedule 'sine': expected one of cosine, linear, flow"):
        alphas_sigmas("sine")


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_clean_latent_of_the_target_is_the_latent(name: str) -> None:
    x, noise = torch.randn(2, 8, 3, 4, 4).unbind()
    schedule = "flow" if name == "flow" else "cosine"
    alpha, sigma = at(schedule, torch.tensor([0, 1, 10, 100, 500, 700, 900, 999]), OBJECTIVES[name].terminal)
    target = OBJECTIVES[name].target(x, noise, alpha, sigma)
    assert torch.allclose(OBJECTIVES[name].clean(alpha * x + sigma * noise, target, alpha, sigma), x, atol=1e-3)


def test_v_is_that_of_diffusers() -> None:
    scheduler = DDPMScheduler(trained_betas=betas("cosine"))
    x, noise, times = torch.randn(5, 1, 4, 4), torch.randn(5, 1, 4, 4), torch.tensor([0, 10, 400, 800, 999])
    alpha, sigma = at("cosine", times)
    ours = OBJECTIVES["v"].target(x, noise, alpha, sigma)
    assert torch.allclose(ours, scheduler.get_velocity(x, noise, times), atol=1e-5)
