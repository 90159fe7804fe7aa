"""Attacks that carry something from elsewhere: a substitute's gradient, stored inputs, one perturbation for all images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from evaluator.attacks.base import Batch
from evaluator.attacks.square import Square
from evaluator.attacks.stored_inputs import StoredInputs
from evaluator.attacks.substitute import Substitute
from evaluator.attacks.universal import Universal, apply_perturbation
from evaluator.data.tensors import examples
from evaluator.defenses.architectures import load_weights
from evaluator.defenses.recipes import BASELINES
from evaluator.draws import Draws
from evaluator.errors import InputError
from evaluator.manifests.spec import DataSpec
from evaluator.models.access import LabelOracle
from evaluator.threats import L2, Linf
from tests.evaluator.blackbox import Constant, Counted, Linear, images
from tests.evaluator.support import network_and_images, subjects


def batch(x: Tensor, y: Tensor) -> Batch:
    return Batch(x, y, Draws(0, torch.arange(len(x))))


def bright_halves(count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Four classes of 8x8 images: noise, brighter at the top, bottom, left or right."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(count) % 4
    x = 0.45 + 0.08 * torch.randn(count, 1, 8, 8, generator=generator)
    x[y == 0, :, :4] += 0.12
    x[y == 1, :, 4:] += 0.12
    x[y == 2, :, :, :4] += 0.12
    x[y == 3, :, :, 4:] += 0.12
    return x.clamp(0, 1), y


def victim() -> nn.Module:
    """A convolutional net trained on `bright_halves` in the ordinary way."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 4))
    x, y = bright_halves(400, seed=1)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(60):
        optimizer.zero_grad()
        torch.autograd.backward(nn.functional.cross_entropy(network(x), y))
        optimizer.step()
    return network.eval().requires_grad_(False)


def accuracy(model: nn.Module, x: Tensor, y: Tensor) -> float:
    return float((model(x).argmax(dim=1) == y).float().mean())


def test_what_fools_the_substitute_fools_the_victim() -> None:
    model, threat = victim(), Linf(0.1)
    x, y = bright_halves(40)
    counted = Counted(LabelOracle(model))
    points = Substitute(rounds=3)(counted, x, y, threat)
    noise = threat.project(x, x + 0.1 * Draws(0, torch.arange(40)).signs(1, 8, 8))
    assert accuracy(model, x, y) > 0.9
    assert accuracy(model, noise, y) > 0.8  # noise of the same size does not
    assert accuracy(model, points, y) < 0.3
    assert 40 * 2**3 < counted.rows <= 40 * (2**3 + 2)


def test_the_substitute_agrees_with_the_victim_on_new_images() -> None:
    model = victim()
    x, y = bright_halves(40)
    substitute = Substitute(rounds=3).train(LabelOracle(model), batch(x, y))
    new, _ = bright_halves(100, seed=7)
    agreement = (substitute(new).argmax(dim=1) == model(new).argmax(dim=1)).float().mean()
    assert float(agreement) > 0.8


def test_the_set_grows_by_steps_along_the_substitutes_own_jacobian_forth_and_back() -> None:
    weights = torch.zeros(2, 64)
    weights[0, :32], weights[1, 32:] = 1.0, 1.0
    asked: list[Tensor] = []

    def model(x: Tensor) -> Tensor:
        asked.append(x.clone())
        return x.flatten(1) @ weights.T

    x, y = images(40, 1, 8, 8), torch.zeros(40, dtype=torch.long)
    Substitute(rounds=2, augmentation=0.1, epochs=20).train(model, batch(x, y))
    assert [len(part) for part in asked] == [40, 40, 80]
    first, second = asked[1] - x, asked[2] - torch.cat([x, asked[1]])
    for step in (first, second):
        size = step.abs()
        assert torch.allclose(size[size > 0], torch.tensor(0.1), atol=1e-6)
        assert float((size > 0).float().mean()) > 0.9
    answer = (x.flatten(1) @ weights.T).argmax(dim=1)
    towards = torch.where(answer == 0, 1.0, -1.0)[:, None] * (weights[0] - weights[1])
    agreement = (first.flatten(1).sign() * towards).mean()
    assert float(agreement) > 0.2, "the first step raises the logit of the label"
    back = (second[:40].flatten(1).sign() * towards).mean()
    assert float(back) < -0.2, "the second lowers it"


def test_training_a_substitute_leaves_the_global_random_state_alone() -> None:
    x, y = bright_halves(8)
    before = torch.random.get_rng_state()
    Substitute(rounds=1, epochs=1).train(LabelOracle(Constant()), batch(x, y))
    assert torch.equal(torch.random.get_rng_state(), before)


@subjects("mnist-pgd", "mnist_cnn_a_adv")
def test_stored_inputs_are_found_by_their_image_and_cost_nothing(subject: str) -> None:
    (model, x, y), threat = network_and_images(subject, 20), Linf(0.3)
    stored = Square(queries=100)(model, x, y, threat)
    order = torch.tensor([7, 3, 15, 0])
    counted = Counted(model)
    replayed = StoredInputs(x, stored)(counted, x[order], y[order], threat)
    assert torch.equal(replayed, stored[order])
    assert counted.rows == 0


def test_an_image_that_is_not_stored_stays_clean() -> None:
    x = images(4, 1, 3, 3)
    points = StoredInputs(x[:2], x[:2] + 0.05)(Constant(), x, torch.zeros(4, dtype=torch.long), Linf(0.1))
    assert torch.equal(points[2:], x[2:])
    assert not torch.equal(points[:2], x[:2])


def test_a_stored_input_of_a_bigger_budget_is_projected() -> None:
    x = torch.full((1, 1, 2, 2), 0.5)
    points = StoredInputs(x, x + 0.4)(Constant(), x, torch.zeros(1, dtype=torch.long), Linf(0.1))
    assert points.flatten().tolist() == pytest.approx([0.6] * 4)
    assert bool(Linf(0.1).contains(x, points, slack=0).all())


def test_stored_inputs_are_read_from_a_file_without_pickles(tmp_path: Path) -> None:
    x = images(3, 1, 2, 2)
    np.savez(tmp_path / "out.npz", x=x.numpy(), x_adv=(x + 0.05).numpy())
    points = StoredInputs.load(tmp_path / "out.npz")(Constant(), x, torch.zeros(3, dtype=torch.long), Linf(0.1))
    assert torch.equal(points, x + 0.05)
    np.savez(tmp_path / "objects.npz", x=np.array([{}], dtype=object), x_adv=np.array([{}], dtype=object))
    np.savez(tmp_path / "other.npz", images=x.numpy())
    for name in ("objects.npz", "other.npz", "missing.npz"):
        with pytest.raises(InputError, match=name):
            StoredInputs.load(tmp_path / name)


def test_arrays_that_do_not_fit_are_refused() -> None:
    x = images(3, 4)
    with pytest.raises(InputError, match="differ"):
        StoredInputs(x, x[:2])
    with pytest.raises(InputError, match="finite"):
        StoredInputs(x, x / 0)


@pytest.mark.parametrize("threat", [Linf(0.1), L2(0.8)], ids=str)
def test_one_perturbation_fools_images_it_was_not_made_for(threat: Linf | L2) -> None:
    model = victim()
    x, y = bright_halves(40)
    v = Universal().perturbation(model, batch(x, y), threat)
    new, labels = bright_halves(100, seed=7)
    points = apply_perturbation(new, v, threat)
    assert float(threat.distance(torch.zeros(1, 1, 8, 8), v[None])) <= threat.epsilon + 1e-6
    assert bool(threat.contains(new, points, slack=0).all())
    assert accuracy(model, new, labels) > 0.9
    assert accuracy(model, points, labels) < 0.7  # a quarter of the images at least


def test_every_image_keeps_its_own_box() -> None:
    x = torch.stack([torch.zeros(1, 8, 8), torch.ones(1, 8, 8), torch.full((1, 8, 8), 0.5)])
    points = apply_perturbation(x, torch.full((1, 8, 8), 0.2), Linf(0.2))
    assert points[:, 0, 0, 0].tolist() == pytest.approx([0.2, 1.0, 0.7])


def test_on_a_linear_model_one_direction_takes_a_class() -> None:
    weights = torch.zeros(2, 9)
    weights[1, 4] = 1.0
    model, x = (
        Linear(weights, torch.tensor([0.5, 0.0])),
        torch.rand(30, 9, generator=torch.Generator().manual_seed(0)) * 0.09 + 0.4,
    )
    y = model(x).argmax(dim=1)
    v = Universal().perturbation(model, batch(x, y), L2(0.2))
    assert y.tolist() == [0] * 30
    assert bool((model(apply_perturbation(x, v, L2(0.2))).argmax(dim=1) == 1).float().mean() >= 0.95)
    assert float(v[4]) > 0.99 * float(v.norm())


@pytest.mark.parametrize("build", [
    lambda: Substitute(rounds=-1), lambda: Substitute(attempts=0),
    lambda: Universal(passes=0), lambda: Universal(fooling_rate=0),
])  # fmt: skip
def test_impossible_options_are_refused(build: object) -> None:
    with pytest.raises(InputError):
        build()  # type: ignore[operator]


def test_a_universal_perturbation_fools_more_held_out_images_of_a_standard_network_than_a_loop() -> None:
    model = load_weights("mnist-cnn", BASELINES / "mnist-standard" / "weights.safetensors").eval().requires_grad_(False)
    part, threat = examples(DataSpec(dataset="mnist", examples=200)), Linf(0.2)
    v = Universal().perturbation(model, batch(part.x[:100], part.y[:100]), threat)
    held_out, labels = part.x[100:], part.y[100:]
    assert accuracy(model, held_out, labels) > 0.95
    assert accuracy(model, apply_perturbation(held_out, v, threat), labels) < 0.65  # a loop of sign steps fools 35 %
