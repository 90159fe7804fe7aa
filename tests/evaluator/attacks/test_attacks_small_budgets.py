"""With few steps or queries an attack is no weaker than the loop that anybody writes in ten lines."""

from __future__ import annotations

import functools

import torch
from torch import Tensor, nn

from evaluator.attacks.base import Batch
from evaluator.attacks.registry import create
from evaluator.attacks.universal import Universal
from evaluator.draws import Draws
from evaluator.threats import L0, L2, Linf
from tests.evaluator.attack_support import Counting
from tests.evaluator.support import mnist_test, shipped


@functools.cache
def material(count: int) -> tuple[nn.Module, Tensor, Tensor]:
    """The standard network and the first images that it classifies correctly."""
    network, (x, y) = shipped("mnist-standard"), mnist_test(count + 10)
    right = network(x).argmax(dim=1) == y
    return network, x[right][:count], y[right][:count]


def slope(network: nn.Module, z: Tensor, y: Tensor) -> Tensor:
    leaf = z.detach().requires_grad_(True)
    logits = network(leaf)
    lead = logits.scatter(1, y[:, None], -1e9).amax(dim=1) - logits.gather(1, y[:, None])[:, 0]
    (gradient,) = torch.autograd.grad(lead.sum(), leaf)
    return gradient


def wrong(network: nn.Module, z: Tensor, y: Tensor) -> Tensor:
    return network(z).argmax(dim=1) != y


def test_a_universal_perturbation_fools_as_many_unseen_images_as_signed_steps_up_the_mean_margin() -> None:
    network, x, y = material(120)
    seen, unseen, labels = x[:50], x[50:], y[50:]
    v = torch.zeros_like(x[0])
    for _ in range(60):
        v = (v + 0.02 * slope(network, (seen + v).clamp(0, 1), y[:50]).mean(dim=0).sign()).clamp(-0.2, 0.2)
    ours = Universal().perturbation(network, Batch(seen, y[:50], Draws(0, torch.arange(50))), Linf(0.2))
    fooled = [int(wrong(network, (unseen + u).clamp(0, 1), labels).sum()) for u in (ours, v)]
    assert float(ours.abs().max()) <= 0.2 + 1e-6
    assert fooled[0] >= fooled[1] - 2, fooled


def test_carlini_wagner_l2_with_a_hundred_steps_comes_as_near_as_projected_steps_in_a_bisected_ball() -> None:
    network, x, y = material(8)
    counting = Counting(network)
    ours = create("cw_l2", steps=20, searches=5)(counting, x, y, L2(1.0))
    low, high = torch.zeros(len(x)), torch.full((len(x),), 4.0)
    for _ in range(6):
        radius, z, fell = (low + high) / 2, x, torch.zeros(len(x), dtype=torch.bool)
        for _ in range(20):
            ahead = slope(network, z, y)
            z = z + (radius / 5 / ahead.flatten(1).norm(dim=1).clamp_min(1e-9)).reshape(-1, 1, 1, 1) * ahead
            size = (z - x).flatten(1).norm(dim=1).clamp_min(1e-9)
            z = (x + (z - x) * (radius / size).clamp_max(1).reshape(-1, 1, 1, 1)).clamp(0, 1)
            fell |= wrong(network, z, y)
        low, high = torch.where(fell, low, radius), torch.where(fell, radius, high)
    assert counting.backward_rows <= 6 * 20 * len(x)
    assert bool(wrong(network, ours, y).all())
    assert float(L2(1.0).distance(x, ours).median()) <= 1.1 * float(high.median())


def test_carlini_wagner_l0_with_few_steps_breaks_all_with_few_times_the_pixels_of_setting_the_steepest_again_and_again() -> (
    None
):
    network, x, y = material(8)
    ours = create("cw_l0", steps=20, rounds=40)(network, x, y, L0(10))
    z, needed = x.clone(), torch.full((len(x),), 784)
    for count in range(1, 60):
        gain = slope(network, z, y)
        gain = torch.where(z == x, gain * torch.where(gain > 0, 1 - z, -z), -1.0).flatten(1)
        best = gain.argmax(dim=1, keepdim=True)
        up = slope(network, z, y).flatten(1).gather(1, best) > 0
        z = z.flatten(1).scatter(1, best, up.float()).reshape(x.shape)
        needed = torch.where(wrong(network, z, y) & (needed == 784), count, needed)
    assert bool(wrong(network, ours, y).all())
    assert float(L0(1).distance(x, ours).median()) <= 2.5 * float(needed.double().median())


def test_zoo_comes_as_near_as_random_single_pixels_moved_one_after_the_other() -> None:
    network, x, y = material(4)
    ours, far = create("zoo", queries=2400)(network, x, y, L2(1.0)), torch.full((len(x),), torch.inf)
    generator = torch.Generator().manual_seed(0)
    z, best = x.clone(), torch.full((len(x),), -torch.inf)
    for _ in range(2400):
        tried = z.flatten(1).clone()
        at = torch.randint(784, (len(x), 1), generator=generator)
        tried.scatter_add_(1, at, 0.4 * (2 * torch.randint(2, at.shape, generator=generator) - 1).float())
        tried = tried.clamp(0, 1).reshape(x.shape)
        with torch.no_grad():
            logits = network(tried)
        lead = logits.scatter(1, y[:, None], -1e9).amax(dim=1) - logits.gather(1, y[:, None])[:, 0]
        z = torch.where((lead > best).reshape(-1, 1, 1, 1), tried, z)
        best = torch.maximum(lead, best)
        fell = (lead > 0) & far.isinf()
        far = torch.where(fell, (tried - x).flatten(1).norm(dim=1), far)
    distance = torch.where(wrong(network, ours, y), L2(1.0).distance(x, ours), torch.inf)
    assert int(distance.isfinite().sum()) >= int(far.isfinite().sum())
    assert float(distance.median()) <= float(far.median())
