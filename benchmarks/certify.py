"""What certificates cost: our smoothing beside a faithful Cohen loop, bounds as networks grow, calibration networks.

    python -m benchmarks.certify [--quick] [smoothing | logs | bounds | calibration]

Peers run on the same model, images, alpha and threads; ratios are printed, ours against theirs.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from evaluator.attacks import PGD
from evaluator.certify.aggregation import certified_accuracy
from evaluator.certify.binomial import clopper_pearson_lower
from evaluator.certify.branch_and_bound import branch_and_bound
from evaluator.certify.crown import crown
from evaluator.certify.ibp import ibp
from evaluator.certify.noise import Gaussian
from evaluator.certify.simulation import BernoulliCounts, cohen_radii, read_log
from evaluator.certify.smoothing_sequential import SequentialTest, smoothing_sequential
from evaluator.defenses.training.fit import Settings, fit
from evaluator.defenses.training.noise_training import NoiseTraining
from evaluator.threats import Linf
from tests.evaluator.support import sdp_images, sdp_model, shared_data

ALPHA, N = 0.001, 100_000


@dataclass(frozen=True)
class Loop:
    """What the reference loop found: (n,) radii, 0 where it abstains or is wrong, and its wall time."""

    radius: Tensor
    seconds: float


def cohen_loop(model: nn.Module, x: Tensor, y: Tensor, sigma: float) -> Loop:
    """CERTIFY as published: one image at a time, n0 = 100, n = 100,000, batches of 1,000, torch's own generator."""
    started, radii = time.perf_counter(), []

    def counts(image: Tensor, samples: int) -> Tensor:
        total = torch.zeros(10, dtype=torch.int64)
        for start in range(0, samples, 1000):
            size = min(1000, samples - start)
            batch = image.expand(size, *image.shape)
            labels = model(batch + sigma * torch.randn_like(batch)).argmax(dim=1)
            total += torch.bincount(labels, minlength=10)
        return total

    with torch.no_grad():
        for image, label in zip(x, y.tolist(), strict=True):
            guess = int(counts(image, 100).argmax())
            lower = clopper_pearson_lower(int(counts(image, N)[guess]), N, ALPHA)
            right = guess == label and float(lower) > 0.5
            radii.append(float(Gaussian(sigma).radius(lower, image.numel())) if right else 0.0)
    return Loop(torch.tensor(radii, dtype=torch.float64), time.perf_counter() - started)


def noisy_model(sigma: float) -> tuple[nn.Module, Tensor, Tensor]:
    """A small MNIST network trained with noise on calibration images 0..99 and their copies; images 100..199 to certify."""
    x, y = sdp_images("mnist")
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 16, 4, stride=2, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 4, stride=2, padding=1), nn.ReLU(), nn.Flatten(),
        nn.Linear(1568, 100), nn.ReLU(), nn.Linear(100, 10),
    )  # fmt: skip
    images = (x[:100] * 255).round().to(torch.uint8).repeat(20, 1, 1, 1)
    settings = Settings(epochs=2, batch_size=50, learning_rate=1e-3)
    fit(network, images, y[:100].repeat(20), NoiseTraining(sigma), settings, seed=0)
    return network.requires_grad_(False), x[100:], y[100:]


def smoothing(quick: bool) -> None:
    """Wall time and certified accuracy of both procedures on the same model and images."""
    sigma, radii = 0.5, (0.25, 0.5, 0.75, 1.0)
    model, x, y = noisy_model(sigma)
    count = 6 if quick else 40
    x, y = x[:count], y[:count]
    ours = smoothing_sequential(model, x, y, sigma=sigma, radii=radii, seed=1, n=N, alpha=ALPHA)
    theirs = cohen_loop(model, x, y, sigma)
    print(f"\nsmoothing, {count} images, sigma {sigma}, alpha {ALPHA}, n {N}, {torch.get_num_threads()} thread(s)")
    print(f"  certified accuracy at {radii}")
    print(f"  ours   {certified_accuracy(ours.radius.numpy(), ours.certified.numpy(), radii).percent()}")
    print(f"  Cohen  {certified_accuracy(theirs.radius.numpy(), (theirs.radius > 0).numpy(), radii).percent()}")
    rows = float(ours.samples.double().mean())
    print(f"  ours {ours.seconds:.1f} s, {rows:.0f} rows an image; Cohen {theirs.seconds:.1f} s, {N + 100} rows an image")
    print(f"  ratio: {theirs.seconds / ours.seconds:.1f}x less wall time, {(N + 100) / rows:.1f}x fewer samples")
    print(f"  {ours.summary().splitlines()[-1]}")


def logs(quick: bool) -> None:
    """Samples and accuracy of the sequential test against fixed n, on probabilities recovered from the released logs."""
    radii = np.arange(0.25, 2.26, 0.25)
    print(f"\nsimulated on the released CIFAR-10 logs, radii {radii.tolist()}")
    used = []
    for sigma in (0.12, 0.25, 0.5, 1.0):
        p = read_log(Path(shared_data()) / "logs" / "cohen-cifar10" / f"sigma_{sigma:.2f}.tsv.gz").probabilities(sigma)
        p, rng = p[:: 10 if quick else 1], np.random.default_rng(0)
        state = SequentialTest(Gaussian(sigma).threshold(radii, 3072)).run(BernoulliCounts(p, rng, 50), len(p), slots=2000)
        ours = np.concatenate([[0.0], radii])[state.proved]
        fixed = cohen_radii(p, sigma, rng)
        gaps = [100 * float((fixed >= r).mean() - (ours >= r).mean()) for r in radii]
        used.append(float(state.spent.mean()))
        print(
            f"  sigma {sigma:.2f}: {used[-1]:7.0f} samples an image, {N / used[-1]:5.1f}x fewer; "
            f"certified accuracy lost, in points: {min(gaps):+.2f} .. {max(gaps):+.2f}"
        )
    print(f"  all four: {N / np.mean(used):.1f}x fewer samples")


@dataclass(frozen=True)
class Cost:
    """Wall time and memory of one call."""

    seconds: float
    mebibytes: float


def timed(work: Callable[[], object]) -> Cost:
    """(seconds, MiB by which the process's peak resident memory exceeds its size before the work)."""
    before = _resident()
    started = time.perf_counter()
    work()
    return Cost(time.perf_counter() - started, max(0.0, _peak() - before))


def _resident() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


def _peak() -> float:
    line = next(row for row in Path("/proc/self/status").read_text().splitlines() if row.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def bounds(quick: bool) -> None:
    """Cost of IBP and CROWN per example as a dense network grows in width and depth."""
    count = 8
    x, y = sdp_images("mnist")
    x, y = x[:count], y[:count]
    print(
        "\nbounds at Linf 0.01, per example: ms of IBP, ms of CROWN (no slope optimisation), ratio; memory is the peak's growth"
    )
    for width, depth in ((64, 2), (128, 2), (256, 2), (64, 4), (64, 8)) if quick else ((64, 2), (512, 2), (64, 16), (512, 8)):
        torch.manual_seed(0)
        layers: list[nn.Module] = [nn.Flatten(), nn.Linear(784, width), nn.ReLU()]
        for _ in range(depth - 1):
            layers += [nn.Linear(width, width), nn.ReLU()]
        net = nn.Sequential(*layers, nn.Linear(width, 10)).eval().requires_grad_(False)
        labels = net(x).argmax(dim=1)
        fast = timed(lambda net=net, labels=labels: ibp(net, x, labels, epsilon=0.01, norm="linf"))
        slow = timed(lambda net=net, labels=labels: crown(net, x, labels, epsilon=0.01, norm="linf", iterations=0))
        quick_ms, slow_ms = (1000 / count * cost.seconds for cost in (fast, slow))
        ratio = f"{slow_ms / quick_ms:6.1f}x {slow.mebibytes:8.1f} MiB"
        print(f"  width {width:4d} depth {depth:2d}: {quick_ms:8.2f} {slow_ms:8.2f} {ratio}")


def calibration(quick: bool) -> None:
    """Share of the 200 calibration images that complete verification certifies, beside the attack's upper bound."""
    count, seconds = (10, 5.0) if quick else (200, 60.0)
    print(f"\ncalibration, first {count} images, at most {seconds:.0f} s an image")
    for name, images, epsilon, best in (
        ("mnist_cnn_a_adv", "mnist", 0.3, "76.0 of 76.5"),
        ("cifar_cnn_a_adv", "cifar", 2 / 255, "48.5 of 50.0"),
        ("cifar_cnn_a_mix", "cifar", 2 / 255, "48.0 of 53.0"),
    ):
        model, (x, y) = sdp_model(name), sdp_images(images)
        x, y = x[:count], y[:count]
        points = PGD(steps=100, restarts=3, loss="margin")(model, x, y, Linf(epsilon))
        survives = model(points).argmax(dim=1) == y
        found = branch_and_bound(model, x[survives], y[survives], epsilon=epsilon, seconds=seconds)
        proved, upper = int(found.certified.sum()) / count, float(survives.double().mean())
        print(f"  {name}: verified {proved:.1%}, attack's bound {upper:.1%}, {found.seconds:.0f} s (published on all: {best})")


PARTS: dict[str, Callable[[bool], None]] = {"logs": logs, "smoothing": smoothing, "bounds": bounds, "calibration": calibration}


def main() -> None:
    """Runs the parts named on the command line, all by default."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.certify", description="What certificates cost.")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"any of {', '.join(PARTS)}; default all")
    parser.add_argument("--quick", action="store_true", help="minutes instead of an hour")
    arguments = parser.parse_args()
    unknown = [part for part in arguments.parts if part not in PARTS]
    if unknown:
        parser.error(f"unknown part {unknown[0]}; known: {', '.join(PARTS)}")
    torch.set_num_threads(1)
    for part in arguments.parts or PARTS:
        PARTS[part](arguments.quick)


if __name__ == "__main__":
    main()
