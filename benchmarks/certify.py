"""What certificates cost: our smoothing beside a faithful Cohen loop, bounds as networks grow.

    python -m benchmarks.certify [--quick] [--write] [smoothing | logs | denoiser | bounds | cnn]

Peers run on the same model, images, alpha and threads; ratios are printed, ours against theirs. Seconds are wall time unless
called processor time, which a busy machine moves less. --write puts each table into docs/certify-benchmarks.md.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.pages import provenance, write_section
from evaluator.certify.aggregation import certified_accuracy
from evaluator.certify.binomial import clopper_pearson_lower
from evaluator.certify.crown import crown
from evaluator.certify.ibp import ibp
from evaluator.certify.noise import Gaussian
from evaluator.certify.simulation import BernoulliCounts, cohen_radii, read_log
from evaluator.certify.smoothing_sequential import SequentialTest, smoothing_sequential
from evaluator.data import load
from evaluator.defenses.architectures import load_weights
from evaluator.defenses.recipes import BASELINES
from evaluator.defenses.training.fit import Settings, fit
from evaluator.defenses.training.noise_training import NoiseTraining
from evaluator.manifests.challenge_packs import load_pack
from evaluator.manifests.spec import DefenseManifest, load_manifest
from tests.evaluator.support import sdp_images, sdp_model, shared_data

ALPHA, N = 0.001, 100_000
PAGE = Path(__file__).resolve().parent.parent / "docs" / "certify-benchmarks.md"


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


def smoothing(quick: bool) -> str:
    """Time and certified accuracy of both procedures on the same model and images."""
    sigma, radii = 0.5, (0.25, 0.5, 0.75, 1.0)
    model, x, y = noisy_model(sigma)
    count = 6 if quick else 40
    x, y = x[:count], y[:count]
    begun = time.process_time()
    ours = smoothing_sequential(model, x, y, sigma=sigma, radii=radii, seed=1, n=N, alpha=ALPHA)
    between = time.process_time()
    theirs = cohen_loop(model, x, y, sigma)
    ended = time.process_time()
    rows, spent, loop = float(ours.samples.double().mean()), between - begun, ended - between
    fixed = shares(theirs.radius, theirs.radius > 0, radii)
    table = table_of(
        ("procedure", *(f"certified at {radius:g}, %" for radius in radii), "samples an image", "wall s", "processor s"),
        [
            ("fixed n, one by one (Cohen et al.)", *fixed, f"{N + 100:,}", f"{theirs.seconds:.1f}", f"{loop:.1f}"),
            (
                "sequential test, batched (ours)",
                *shares(ours.radius, ours.certified, radii),
                f"{rows:,.0f}",
                f"{ours.seconds:.1f}",
                f"{spent:.1f}",
            ),
        ],
    )
    setting = f"{count} images, a small MNIST network trained under noise, sigma {sigma}, alpha {ALPHA}, n {N:,}, one thread."
    wall = theirs.seconds / ours.seconds
    return (
        f"{setting}\n\n{table}\n**{wall:.1f}x less wall time, {loop / spent:.1f}x less processor time, "
        f"{(N + 100) / rows:.1f}x fewer samples.** The expected number of false certificates is at most "
        f"{ours.expected_false:.3g} for both."
    )


def denoiser(quick: bool) -> str:
    """What a denoiser gives a frozen classifier: the shipped baselines on the images and radii of a certified board."""
    challenge, sigma = load_pack("mnist-certified").challenge, 0.5
    certified, data = challenge.certified, load("mnist", "test")
    assert certified is not None
    count = 10 if quick else challenge.data.examples
    x, y = data.images[:count].float() / 255, data.labels[:count]
    rows = []
    for label, name in (
        ("frozen classifier", "mnist-standard"),
        ("the same behind a denoiser", "mnist-denoised"),
        ("trained under the noise itself", "mnist-smooth"),
    ):
        manifest = load_manifest(BASELINES / name / "defense.toml", DefenseManifest)
        model = load_weights(str(manifest.architecture), BASELINES / name / str(manifest.weights)).requires_grad_(False)
        sampling: dict[str, Any] = {"radii": certified.radii, "n": certified.samples, "alpha": certified.alpha}
        begun = time.process_time()
        found = smoothing_sequential(model, x, y, sigma=sigma, seed=1, **sampling)
        spent = time.process_time() - begun
        cells = shares(found.radius, found.certified, certified.radii)
        rows.append((label, name, *cells, f"{float(found.radius.mean()):.3f}", f"{spent:.0f}"))
    head = ("base classifier", "baseline", *(f"at {radius:g}, %" for radius in certified.radii), "ACR", "processor s")
    return (
        f"The first {count} test images, smoothed with sigma {sigma}, alpha {certified.alpha:g}, at most {certified.samples:,} "
        f"samples an image.\n\n{table_of(head, rows).replace('|---|--:|', '|---|---|', 1)}"
    )


def shares(radius: Tensor, correct: Tensor, radii: tuple[float, ...]) -> list[str]:
    """Certified accuracies in percent, as cells."""
    return [f"{share:.1f}" for share in certified_accuracy(radius.numpy(), correct.numpy(), radii).percent()]


def table_of(head: tuple[str, ...], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table: the first column left, figures right."""
    lines = [f"| {' | '.join(head)} |", f"|---{'|--:' * (len(head) - 1)}|", *(f"| {' | '.join(row)} |" for row in rows)]
    return "\n".join(lines) + "\n"


def logs(quick: bool) -> str:
    """Samples and accuracy of the sequential test against fixed n, on probabilities recovered from the released logs."""
    radii = np.arange(0.25, 2.26, 0.25)
    used, rows = [], []
    for sigma in (0.12, 0.25, 0.5, 1.0):
        p = read_log(Path(shared_data()) / "logs" / "cohen-cifar10" / f"sigma_{sigma:.2f}.tsv.gz").probabilities(sigma)
        p, rng = p[:: 10 if quick else 1], np.random.default_rng(0)
        state = SequentialTest(Gaussian(sigma).threshold(radii, 3072)).run(BernoulliCounts(p, rng, 50), len(p), slots=2000)
        ours = np.concatenate([[0.0], radii])[state.proved]
        fixed = cohen_radii(p, sigma, rng)
        gaps = [100 * float((fixed >= r).mean() - (ours >= r).mean()) for r in radii]
        used.append(float(state.spent.mean()))
        rows.append(
            (f"{sigma:.2f}", f"{len(p):,}", f"{used[-1]:,.0f}", f"{N / used[-1]:.1f}x", f"{min(gaps):+.2f} to {max(gaps):+.2f}")
        )
    head = ("sigma", "images", "samples an image", "fewer than fixed n", "certified accuracy lost, points, over the radii")
    return (
        f"Success probabilities of the released CIFAR-10 logs, n {N:,}, alpha {ALPHA}, radii 0.25 to 2.25.\n\n"
        f"{table_of(head, rows)}\nAll four: {N / np.mean(used):.1f}x fewer samples. Losses hold the luck of two random runs."
    )


@dataclass(frozen=True)
class Cost:
    """Wall time and memory of one call."""

    seconds: float
    mebibytes: float


def timed(work: Callable[[], object]) -> Cost:
    """(seconds, MiB by which the process's peak resident memory exceeds its size before the work)."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak is that of this work, not of what ran before
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


def bounds(quick: bool) -> str:
    """Cost of IBP and CROWN per example as a dense network grows in width and depth."""
    count, rows = 8, []
    x, y = sdp_images("mnist")
    x, y = x[:count], y[:count]
    sizes = ((64, 2), (128, 2), (256, 2), (64, 4), (64, 8))
    for width, depth in sizes if quick else (*sizes, (512, 2), (1024, 2), (64, 16), (256, 8)):
        torch.manual_seed(0)
        layers: list[nn.Module] = [nn.Flatten(), nn.Linear(784, width), nn.ReLU()]
        for _ in range(depth - 1):
            layers += [nn.Linear(width, width), nn.ReLU()]
        net = nn.Sequential(*layers, nn.Linear(width, 10)).eval().requires_grad_(False)
        labels = net(x).argmax(dim=1)
        fast = timed(partial(ibp, net, x, labels, epsilon=0.01, norm="linf"))
        slow = timed(partial(crown, net, x, labels, epsilon=0.01, norm="linf", iterations=0))
        quick_ms, slow_ms = (1000 / count * cost.seconds for cost in (fast, slow))
        rows.append(
            (f"{width} x {depth}", f"{quick_ms:.2f}", f"{slow_ms:.2f}", f"{slow_ms / quick_ms:.1f}x", f"{slow.mebibytes:.0f}")
        )
    head = ("width x depth", "IBP, ms an example", "CROWN, ms an example", "ratio", "CROWN's peak memory, MiB above before")
    return (
        f"Dense ReLU networks on MNIST, Linf 0.01, {count} examples together, no slope optimisation.\n\n{table_of(head, rows)}"
    )


def cnn(quick: bool) -> str:
    """Cost and yield of every bound on the calibration networks, per example."""
    count, rows = (8 if quick else 32), []
    for name, images, epsilon in (("mnist_cnn_a_adv", "mnist", 0.3), ("cifar_cnn_a_adv", "cifar", 2 / 255)):
        model, (x, y) = sdp_model(name), sdp_images(images)
        x, y = x[:count], y[:count]
        works = {
            "IBP": partial(ibp, model, x, y, epsilon=epsilon, norm="linf"),
            "CROWN": partial(crown, model, x, y, epsilon=epsilon, norm="linf", iterations=0),
            "alpha-CROWN, 20 steps": partial(crown, model, x, y, epsilon=epsilon, norm="linf", iterations=20),
        }
        for label, work in works.items():
            begun = time.process_time()
            found = work()
            spent = 1000 * (time.process_time() - begun) / count
            rows.append((name, label, f"{100 * float(found.certified.double().mean()):.1f}", f"{spent:.1f}"))
    head = ("network", "bound", "certified, %", "processor ms an example")
    return f"The first {count} calibration images, MNIST at Linf 0.3, CIFAR-10 at 2/255.\n\n{table_of(head, rows)}"


@dataclass(frozen=True)
class Part:
    """One table of the page."""

    heading: str
    run: Callable[[bool], str]


PARTS = {
    "logs": Part("Samples, simulated on the released logs", logs),
    "smoothing": Part("Smoothing beside the published procedure", smoothing),
    "denoiser": Part("A frozen classifier behind a denoiser", denoiser),
    "bounds": Part("Bounds as networks grow", bounds),
    "cnn": Part("Bounds on convolutional networks", cnn),
}


def main() -> None:
    """Runs the parts named on the command line, all by default."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.certify", description="What certificates cost.")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"any of {', '.join(PARTS)}; default all")
    parser.add_argument("--quick", action="store_true", help="minutes instead of an hour")
    parser.add_argument("--write", action="store_true", help="put each table into docs/certify-benchmarks.md")
    arguments = parser.parse_args()
    unknown = [part for part in arguments.parts if part not in PARTS]
    if unknown:
        parser.error(f"unknown part {unknown[0]}; known: {', '.join(PARTS)}")
    torch.set_num_threads(1)
    for name in arguments.parts or PARTS:
        text = PARTS[name].run(arguments.quick)
        print(f"\n{PARTS[name].heading}\n\n{text}", flush=True)
        if arguments.write:
            write_section(PARTS[name].heading, f"{provenance()}\n\n{text}", page=PAGE)


if __name__ == "__main__":
    main()
