"""EOT: its gradient is the expectation's, and the number of samples follows from the noise that is measured."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from evaluator.adaptive import EOT, choose_samples
from evaluator.adaptive.automatic import Automatic
from evaluator.adaptive.fixed_seeds import fixed_seeds
from evaluator.attacks.base import Batch
from evaluator.attacks.pgd import PGD
from evaluator.draws import Draws
from evaluator.errors import InputError
from evaluator.host.seeding import seeded
from evaluator.models.meter import Meter, MeteredModel
from evaluator.threats import Linf
from tests.evaluator.blackbox import Counted, Linear, images
from tests.evaluator.hosts import hosted, write_submission


class Noisy:
    """logits = W (x + sigma * noise)^2, fresh noise in every call: E = W (x^2 + sigma^2), E grad = 2 W x."""

    def __init__(self, weights: Tensor, sigma: float, seed: int = 0) -> None:
        self.weights, self.sigma = weights, sigma
        self.generator = torch.Generator().manual_seed(seed)

    def __call__(self, x: Tensor) -> Tensor:
        noise = torch.randn(x.shape, generator=self.generator)
        return (x + self.sigma * noise).square().flatten(1) @ self.weights.T


def gradient(model: Noisy | EOT, x: Tensor) -> Tensor:
    leaf = x.clone().requires_grad_(True)
    (answer,) = torch.autograd.grad(model(leaf)[:, 0].sum(), leaf)
    return answer


def test_the_gradient_approaches_the_analytic_expectation_as_one_over_root_k() -> None:
    weights, x = torch.randn(3, 10, generator=torch.Generator().manual_seed(1)), images(40, 10)
    expected = 2 * weights[0] * x
    errors = {}
    for samples in (1, 64):
        error = gradient(EOT(Noisy(weights, 0.3), samples), x) - expected
        errors[samples] = float(error.square().mean().sqrt())
    predicted = 2 * 0.3 * float(weights[0].square().mean().sqrt())
    assert errors[1] == pytest.approx(predicted, rel=0.15)
    assert errors[64] == pytest.approx(predicted / 8, rel=0.15)


def test_over_an_exhausted_distribution_the_gradient_is_exact() -> None:
    weights, x = torch.randn(2, 6, generator=torch.Generator().manual_seed(1)), images(5, 6)
    outcomes = iter([0.5, 1.0, 3.0])

    def model(z: Tensor) -> Tensor:
        return z * next(outcomes) @ weights.T

    leaf = x.clone().requires_grad_(True)
    (answer,) = torch.autograd.grad(EOT(model, 3)(leaf)[:, 0].sum(), leaf)
    assert torch.allclose(answer, weights[0].expand_as(x) * 1.5, atol=1e-6)


def test_the_mean_of_probabilities_is_a_soft_vote() -> None:
    answers = iter([torch.tensor([[2.0, 0.0]]), torch.tensor([[-1.0, 1.0]])])
    vote = EOT(lambda x: next(answers), 2, average="probabilities")(torch.zeros(1, 3))
    expected = (torch.tensor([2.0, 0.0]).softmax(0) + torch.tensor([-1.0, 1.0]).softmax(0)) / 2
    assert torch.allclose(vote.exp()[0], expected)


def test_every_sample_costs_one_row() -> None:
    counted = Counted(Linear(torch.eye(4)))
    EOT(counted, 7)(images(3, 4))
    assert counted.rows == 21


def brightness(x: Tensor, draws: Draws) -> Tensor:
    """A random gain in [0.6, 1.4]."""
    return (x * (0.6 + 0.8 * draws.uniform(*[1] * (x.dim() - 1)))).clamp(0, 1)


def test_transformations_are_drawn_anew_in_every_call_unless_they_are_fixed() -> None:
    model, x = Linear(torch.eye(4)), images(3, 4)
    fresh, fixed = EOT(model, 4, transformation=brightness), EOT(model, 4, transformation=brightness, fresh=False)
    assert not torch.equal(fresh(x), fresh(x))
    assert torch.equal(fixed(x), fixed(x))


def test_the_answer_does_not_depend_on_the_neighbours() -> None:
    model, x = Linear(torch.eye(4)), images(3, 4)
    together = EOT(model, 4, transformation=brightness, seed=3)(x)
    alone = EOT(model, 4, transformation=brightness, seed=3)(x[1:2])
    assert torch.equal(alone[0], together[1])


def test_an_attack_through_eot_survives_transformations_that_break_a_plain_one() -> None:
    # one feature says the class up to a random shift of the image by one position: the plain gradient sees position 0 only
    def shift(x: Tensor, draws: Draws) -> Tensor:
        return x.roll(int(draws.integers(4, 1)), dims=1)

    weights = torch.zeros(2, 4)
    weights[0, 0], weights[1, 0] = 1.0, -1.0
    bias = torch.tensor([-0.45, 0.45])
    model, threat = Linear(weights, bias), Linf(0.2)
    x, y = torch.full((10, 4), 0.6), torch.zeros(10, dtype=torch.long)

    def survives(points: Tensor) -> float:
        shifted = torch.stack([model(points.roll(step, dims=1)).argmax(dim=1) for step in range(4)])
        return float((shifted != y).float().mean())

    attack = PGD(steps=20, step_size=0.05, random_start=False)
    assert survives(attack(model, x, y, threat)) == 0.25
    assert survives(attack(EOT(model, 16, transformation=shift), x, y, threat)) == 1.0


def batch(x: Tensor, y: Tensor) -> Batch:
    return Batch(x, y, Draws(0, torch.arange(len(x))))


def test_a_deterministic_model_needs_one_sample() -> None:
    x = images(5, 4)
    chosen = choose_samples(Linear(torch.eye(4)), batch(x, x.argmax(dim=1)))
    assert (chosen.samples, chosen.enough) == (1, True)


def test_a_zero_gradient_is_no_reason_to_sample() -> None:
    x = images(5, 4)
    chosen = choose_samples(lambda z: z[:, :2] * 0, batch(x, torch.zeros(5, dtype=torch.long)))
    assert (chosen.samples, chosen.enough) == (1, True)


@pytest.mark.parametrize(("sigma", "fewest", "most"), [(0.05, 1, 1), (1.0, 4, 16), (2.0, 16, 64)])
def test_more_noise_asks_for_more_samples(sigma: float, fewest: int, most: int) -> None:
    weights = torch.randn(2, 50, generator=torch.Generator().manual_seed(1))
    x = images(20, 50)
    chosen = choose_samples(Noisy(weights, sigma), batch(x, torch.zeros(20, dtype=torch.long)))
    assert fewest <= chosen.samples <= most
    assert chosen.enough
    # per coordinate the gradient is 2 d (x + sigma n): signal-to-noise of the k-mean is sqrt(k) rms(x) / sigma
    assert chosen.signal_to_noise == pytest.approx(chosen.samples**0.5 * 0.53 / sigma, rel=0.35)


def test_hopeless_noise_is_reported_as_not_enough() -> None:
    weights = torch.randn(2, 50, generator=torch.Generator().manual_seed(1))
    x = images(20, 50)
    chosen = choose_samples(Noisy(weights, 50.0), batch(x, torch.zeros(20, dtype=torch.long)))
    assert (chosen.samples, chosen.enough) == (64, False)


def test_impossible_options_are_refused() -> None:
    with pytest.raises(InputError, match="samples"):
        EOT(Linear(torch.eye(2)), 0)
    with pytest.raises(InputError, match="logits"):
        EOT(Linear(torch.eye(2)), 1, average="logit")  # type: ignore[arg-type]


class Seeded:
    """`Noisy` whose noise starts from a seed in every pass, as a host does it."""

    def __init__(self, sigma: float, seed: int | None = None) -> None:
        self.weights, self.sigma, self.seed = torch.randn(2, 50, generator=torch.Generator().manual_seed(1)), sigma, seed

    def with_seed(self, seed: int) -> Seeded:
        return Seeded(self.sigma, seed)

    def __call__(self, x: Tensor) -> Tensor:
        with seeded(None if self.seed is None else str(self.seed)):
            noise = torch.randn(x.shape)
        return (x + self.sigma * noise).square().flatten(1) @ self.weights.T


def test_fixed_seeds_make_one_deterministic_mean_of_a_random_model_and_every_pass_is_charged() -> None:
    meter, x = Meter(), images(3, 50)
    model = MeteredModel(Seeded(0.5), meter, classes=2)
    mean = fixed_seeds(model, 5)
    assert mean is not None
    assert torch.equal(mean(x), mean(x))
    assert not torch.equal(model(x), model(x))
    assert meter.forward_rows == 2 * 5 * 3 + 2 * 3
    alone = torch.stack([Seeded(0.5, seed)(x) for seed in range(5)]).mean(dim=0)
    assert torch.equal(mean(x), alone)


def test_randomness_that_cannot_be_fixed_is_left_alone() -> None:
    weights = torch.randn(2, 50, generator=torch.Generator().manual_seed(1))
    assert fixed_seeds(MeteredModel(Noisy(weights, 1.0), Meter(), classes=2), 3) is None


def test_a_seeded_pass_leaves_the_generators_where_they_were() -> None:
    torch.manual_seed(5)
    random.seed(5)
    before = torch.random.get_rng_state(), random.getstate()
    with seeded("7"):
        first = torch.rand(3), random.random(), np.random.rand()
    assert torch.equal(torch.random.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    with seeded("7"):
        again = torch.rand(3), random.random(), np.random.rand()
    assert torch.equal(first[0], again[0])
    assert first[1:] == again[1:]


def test_a_host_repeats_itself_under_a_seed_and_differentiates_that_very_pass(tmp_path: Path) -> None:
    code = """
import torch
from torch import nn

class Noise(nn.Module):
    def forward(self, x):
        return (x.flatten(1) * torch.randn(36))[:, :3]

def load(directory):
    return Noise()
"""
    x = torch.rand(2, 1, 6, 6) + 0.1
    with hosted(write_submission(tmp_path / "noise", code)) as model:
        fixed = model.with_seed(3)
        assert torch.equal(fixed(x), fixed(x))
        assert not torch.equal(model(x), model(x))
        assert not torch.equal(fixed(x), model.with_seed(4)(x))
        leaf = x.clone().requires_grad_(True)
        kept = [fixed(leaf) for _ in range(12)]  # more graphs than the host keeps: the first is computed again
        (slope,) = torch.autograd.grad(kept[0].sum(), leaf)
        assert torch.allclose(slope.flatten(1)[:, :3] * x.flatten(1)[:, :3], fixed(x), atol=1e-6)


@pytest.mark.parametrize(("sigma", "many"), [(0.2, False), (2.5, True)])
def test_a_random_model_is_asked_as_often_as_its_noise_needs_on_fixed_seeds_too(sigma: float, many: bool) -> None:
    x = images(20, 50)
    asked = batch(x, torch.zeros(20, dtype=torch.long))
    model = MeteredModel(Seeded(sigma), Meter(), classes=2)
    torch.manual_seed(0)
    names = [name for name, _, _ in Automatic(random=True, steps=1)._ways(model, asked, Linf(0.1))]
    assert "own backward, fixed seeds" in names
    assert any(name in ("own backward, 32 passes", "own backward, 64 passes") for name in names) == many
