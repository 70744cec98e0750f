import diffusers
import pytest
import torch
from torch import Tensor

from latentsr.device import image_generator
from latentsr.diffusion.objective import OBJECTIVES, SCHEDULES, at, betas
from latentsr.diffusion.process import SOLVERS, NoiseProcess, Regression, dense_times, finite, image_noise
from latentsr.errors import InputError, OptionError

MEAN, SD = 0.3, 0.5
FITTING = [
    (solver, schedule, objective)
    for solver in SOLVERS
    for schedule in SCHEDULES
    for objective in OBJECTIVES
    if (solver == "euler") == (schedule == "flow") == (objective == "flow")
]


class Exact:
    """The network that knows that latents are normal with MEAN and SD; it keeps the times that it was asked at."""

    def __init__(self, schedule: str, objective: str) -> None:
        self.schedule, self.objective, self.times = schedule, objective, []

    def __call__(self, z: Tensor, times: Tensor) -> Tensor:
        self.times.append(times.tolist())
        alpha, sigma = at(self.schedule, times, OBJECTIVES[self.objective].terminal)
        x = MEAN + alpha * SD**2 / (alpha**2 * SD**2 + sigma**2) * (z - alpha * MEAN)
        return OBJECTIVES[self.objective].target(x, (z - alpha * x) / sigma, alpha, sigma)


@pytest.mark.parametrize("steps", [1, 2, 7, 16, 250, 999, 1000])
def test_dense_times_fall_from_pure_noise_and_are_never_alike(steps: int) -> None:
    times = dense_times(steps)
    assert len(set(times)) == steps
    assert times == sorted(times, reverse=True)
    assert times[0] == 999
    assert times[-1] >= 0
    assert steps < 7 or times[-2] - times[-1] <= times[0] - times[1]


def test_sixteen_steps_keep_faint_detail() -> None:
    """Latents of a small sd, at which evenly spaced times lose more than half of the variance."""

    def exact(z: Tensor, times: Tensor) -> Tensor:
        alpha, sigma = at("cosine", times)
        return alpha * 0.01 / (alpha**2 * 0.01 + sigma**2) * z

    noise = torch.randn(1, 1, 100, 100, generator=torch.Generator().manual_seed(0))
    z = NoiseProcess("x0", "cosine", "dpm++").sample(exact, noise, steps=16)
    assert z.var() == pytest.approx(0.01, rel=0.15)


def drawn(solver: str, schedule: str, objective: str, steps: int) -> tuple[Tensor, Exact]:
    network, generators = Exact(schedule, objective), [image_generator(0, str(i)) for i in range(2)]
    noise = image_noise((1, 100, 100), [[(1.0, one)] for one in generators], "cpu")
    process = NoiseProcess(objective, schedule, solver)
    return process.sample(network, noise, steps=steps, generators=generators), network


@pytest.mark.parametrize(("solver", "schedule", "objective"), FITTING)
def test_every_solver_recovers_the_distribution_of_an_exact_network(solver: str, schedule: str, objective: str) -> None:
    steps = 400 if solver == "ddpm" else 100  # its variance is that of the smallest steps
    z, network = drawn(solver, schedule, objective, steps)
    assert z.mean() == pytest.approx(MEAN, abs=0.03)
    assert z.std() == pytest.approx(SD, abs=0.03)
    assert len(network.times) == steps
    assert network.times[0] == [999, 999]
    assert network.times == sorted(network.times, reverse=True)
    assert all(type(time) is int and 0 <= time <= 999 for times in network.times for time in times)


@pytest.mark.parametrize(("solver", "schedule", "objective"), FITTING)
def test_one_step_is_the_posterior_mean(solver: str, schedule: str, objective: str) -> None:
    if not OBJECTIVES[objective].one_step:
        with pytest.raises(OptionError, match="the option steps is 1: a model trained on epsilon gives no estimate"):
            drawn(solver, schedule, objective, 1)
        return
    z, network = drawn(solver, schedule, objective, 1)
    assert torch.allclose(z, torch.tensor(MEAN), atol=2e-3)
    assert network.times == [[999, 999]]


@pytest.mark.parametrize("objective", [name for name, one in OBJECTIVES.items() if one.one_step])
def test_one_step_is_that_of_diffusers_solver(objective: str) -> None:
    schedule, solver = ("flow", "euler") if objective == "flow" else ("cosine", "dpm++")
    noise, prediction = torch.randn(2, 3, 8, 8), torch.randn(2, 3, 8, 8)
    kind, settings = SOLVERS[solver]
    if solver == "euler":
        reference = getattr(diffusers, kind)(**settings)
        reference.set_timesteps(sigmas=[1.0])
    else:
        reference = getattr(diffusers, kind)(
            **settings, trained_betas=betas(schedule), rescale_betas_zero_snr=True,
            prediction_type=OBJECTIVES[objective].prediction_type,
        )  # fmt: skip
        reference.set_timesteps(timesteps=[999])
    wanted = reference.step(prediction, reference.timesteps[0], noise).prev_sample
    found = NoiseProcess(objective, schedule, solver).sample(lambda z, times: prediction, noise, steps=1)
    assert torch.allclose(found, wanted, atol=1e-3)  # diffusers' last alpha is 2^-12


def test_euler_tells_the_network_the_time_of_its_noise() -> None:
    """At sigma = 0.5 the time is the index at which training had that sigma."""
    _, network = drawn("euler", "flow", "flow", 2)
    assert [float(at("flow", torch.tensor(times))[1][0]) for times in network.times] == pytest.approx([1.0, 0.5])


@pytest.mark.parametrize(("solver", "schedule", "objective"), FITTING)
def test_latents_beyond_one_are_not_clipped(solver: str, schedule: str, objective: str) -> None:
    """The network says 5 everywhere; a solver made for images would stop at 1."""

    def five(z: Tensor, times: Tensor) -> Tensor:
        alpha, sigma = at(schedule, times, OBJECTIVES[objective].terminal)
        x = torch.full_like(z, 5.0)
        return OBJECTIVES[objective].target(x, (z - alpha * x) / sigma, alpha, sigma)

    z = NoiseProcess(objective, schedule, solver).sample(five, torch.randn(1, 1, 4, 4), steps=20)
    assert torch.allclose(z, torch.tensor(5.0), atol=0.1)


@pytest.mark.parametrize("solver", SOLVERS)
def test_an_image_alone_is_the_same_as_in_a_batch_in_any_order(solver: str) -> None:
    flow = "flow" if solver == "euler" else ""

    def result(ids: list[str]) -> Tensor:
        generators = [image_generator(7, name) for name in ids]
        noise = image_noise((2, 4, 4), [[(1.0, one)] for one in generators], "cpu")
        schedule, objective = flow or "cosine", flow or "x0"
        process, network = NoiseProcess(objective, schedule, "ddim"), Exact(schedule, objective)
        return process.sample(network, noise, steps=5, solver=solver, generators=generators)

    together, turned = result(["a", "b", "c"]), result(["c", "a"])
    assert torch.allclose(result(["b"])[0], together[1], atol=1e-6)
    assert torch.allclose(turned[0], together[2], atol=1e-6)
    assert torch.allclose(turned[1], together[0], atol=1e-6)
    assert not torch.allclose(together[0], together[1], atol=1e-2)


def test_seed_image_and_draw_each_decide_the_noise() -> None:
    def noise(*key: object) -> Tensor:
        return image_noise((64,), [[(1.0, image_generator(*key))]], "cpu")  # type: ignore[arg-type]

    assert torch.equal(noise(0, "a", 0), noise(0, "a", 0))
    others = [noise(1, "a", 0), noise(0, "b", 0), noise(0, "a", 1)]
    assert not any(torch.equal(noise(0, "a", 0), other) for other in others)
    before = torch.random.get_rng_state()
    noise(0, "a", 0)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize(
    ("solver", "schedule", "message"),
    [
        ("heun", "cosine", "solver 'heun': expected one of ddpm, ddim"),
        ("euler", "cosine", "does not fit a model trained on the cosine schedule: use ddpm, ddim"),
        ("ddim", "flow", "does not fit a model trained on the flow schedule: use euler"),
    ],
)
def test_solvers_that_do_not_fit_are_refused(solver: str, schedule: str, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        NoiseProcess("x0", schedule, "ddim").check(2, solver)
    with pytest.raises(OptionError, match=message):
        NoiseProcess("x0", schedule, solver).check(2)


@pytest.mark.parametrize("steps", [0, -1, 1001])
def test_steps_outside_the_schedule_are_refused(steps: int) -> None:
    with pytest.raises(OptionError, match=f"the option steps is {steps}: expected 1 to 1000"):
        drawn("ddim", "cosine", "x0", steps)


def test_non_finite_values_are_an_error_for_those_who_ask() -> None:
    drawn = NoiseProcess("x0", "cosine", "ddim").sample(lambda z, t: z * torch.nan, torch.randn(1, 1, 4, 4), steps=1)
    with pytest.raises(InputError, match="non-finite"):
        finite(drawn)
    assert finite(torch.ones(1)) == 1


def test_a_regression_is_one_evaluation_whatever_the_noise() -> None:
    estimate, process = torch.randn(2, 1, 4, 4), Regression()
    asked = []

    def network(z: Tensor, times: Tensor) -> Tensor:
        asked.append(times.tolist())
        return estimate

    assert torch.equal(process.sample(network, torch.randn(2, 1, 4, 4)), estimate)
    assert asked == [[999, 999]]
    assert (process.has_mean, process.has_samples) == (True, False)
    for options in ({"steps": 2}, {"steps": 1, "solver": "ddim"}):
        with pytest.raises(OptionError, match="draws no samples"):
            process.check(**options)
