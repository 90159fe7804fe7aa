"""The standard ensemble beside AutoAttack: verdict, rows and wall time, on the same model, images and threads.

    python -m benchmarks.ensemble [--quick] [--images N] [--models NAME ...] [--ablate] [--write]

Peer: pyautoattack 0.2.0, version "standard". Rows are counted by the same wrapper for both; a backward row weighs two.
Seconds are the median of three runs of ours, and of the one run of the peer, which is long enough to be its own average.
Models: the shipped MNIST baselines, and the calibration networks where REDOUBT_SHARED_DATA (or ../shared/data) has them.
--ablate drops each round of ours in turn instead of running the peer. --write puts the table into docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import io
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from benchmarks.pages import provenance, write_section
from evaluator.data import Examples, examples
from evaluator.data.fetching import cache_folder
from evaluator.ensembles.standard import Standard
from evaluator.judging.defense import Defense
from evaluator.judging.evaluation import evaluate
from evaluator.manifests.data_specs import DataSpec
from evaluator.models.meter import Meter, MeteredModel
from evaluator.records.cost import cost
from evaluator.threats import L2, Linf
from evaluator.threats.base import Threat

ROOT = Path(__file__).resolve().parent.parent
REPEATS = 3
PEER_NORMS = {"linf": "Linf", "l2": "L2"}


@dataclass(frozen=True)
class Case:
    """One network and what it is judged on."""

    name: str
    model: nn.Module
    examples: Examples
    threat: Threat


@dataclass(frozen=True)
class Line:
    """One measured run. standing: examples correct under attack."""

    case: str
    who: str
    images: int
    standing: int
    forward: int
    backward: int
    seconds: float

    @property
    def weighted(self) -> int:
        return cost(self.forward, self.backward)


def calibration_cases(images: int) -> dict[str, Callable[[], Case]]:
    """The networks of the tests' calibration folder."""
    sys.path.insert(0, str(ROOT / "tests" / "evaluator"))
    import support

    def sdp(name: str, epsilon: float) -> Callable[[], Case]:
        def make() -> Case:
            x, y = support.sdp_images(name.split("_")[0])
            part = Examples(torch.arange(len(x)), x, y, 10)[: min(images, 200)]
            return Case(name, support.sdp_model(name), part, Linf(epsilon))

        return make

    return {
        "cifar_cnn_a_adv": sdp("cifar_cnn_a_adv", 2 / 255),
        "cifar_cnn_a_mix": sdp("cifar_cnn_a_mix", 2 / 255),
        "mnist_cnn_a_adv": sdp("mnist_cnn_a_adv", 0.3),
        "trades_smallcnn": lambda: Case("trades_smallcnn", support.trades_smallcnn(), _mnist(images), Linf(0.3)),
    }


def resnet18_case(images: int) -> dict[str, Callable[[], Case]]:
    """The PGD-trained CIFAR-10 ResNet-18 that comes with the peer: its pickle is read once, as data, into the cache."""

    def make() -> Case:
        import pyautoattack
        from pyautoattack.examples.resnet import ResNet18

        cached = cache_folder() / "benchmarks" / "pyautoattack-resnet18.safetensors"
        if not cached.exists():
            pickled = Path(pyautoattack.__file__).parent / "examples" / "model_test.pt"
            weights = torch.load(pickled, map_location="cpu", weights_only=True)
            cached.parent.mkdir(parents=True, exist_ok=True)
            save_file(weights, cached)
        network = ResNet18()
        network.load_state_dict(load_file(cached))
        data = examples(DataSpec(dataset="cifar10", examples=images))
        return Case("resnet18", network.eval().requires_grad_(False), data, Linf(8 / 255))

    return {"resnet18": make}


def baseline_cases(images: int) -> dict[str, Callable[[], Case]]:
    """The shipped baselines."""
    from evaluator.defenses.architectures import load_weights

    folder = ROOT / "evaluator" / "defenses" / "baselines"

    def baseline(name: str, threat: Threat) -> Callable[[], Case]:
        return lambda: Case(name, load_weights("mnist-cnn", folder / name / "weights.safetensors"), _mnist(images), threat)

    names = sorted(path.parent.name for path in folder.glob("mnist-*/defense.toml"))
    return {name: baseline(name, L2(2.0) if name.endswith("-l2") else Linf(0.3)) for name in names}


def _mnist(images: int) -> Examples:
    return examples(DataSpec(dataset="mnist", examples=images))


def ours(case: Case, ensemble: Standard, label: str = "ours") -> Line:
    """The official evaluation, verification on a fresh model included."""
    took = []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        verdict = evaluate(Defense.of(case.model), case.examples, case.threat, ensemble, seed=0)
        took.append(time.perf_counter() - begun)
    seconds = statistics.median(took)
    return Line(
        case.name, label, len(case.examples), int(verdict.robust.sum()), verdict.forward_rows, verdict.backward_rows, seconds
    )


def peer(case: Case) -> Line:
    """pyautoattack's standard evaluation, its rows counted by our meter."""
    from pyautoattack import AutoAttack

    model = MeteredModel(case.model, Meter(), classes=case.examples.classes)
    x, y = case.examples.x, case.examples.y
    begun = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        attack = AutoAttack(model, norm=PEER_NORMS[case.threat.kind], eps=case.threat.epsilon, seed=0, version="standard")
        x_adv, _ = attack.run_standard_evaluation(x, y, batch_size=250)
    seconds = time.perf_counter() - begun
    spent = model.meter.forward_rows, model.meter.backward_rows
    with torch.no_grad():
        standing = int((case.model(x_adv).argmax(dim=1) == y).sum())
    return Line(case.name, "AutoAttack", len(x), standing, *spent, seconds)


def ablated(case: Case) -> list[Line]:
    """Ours whole, and without each of its parts in turn."""
    whole = Standard()
    lines = [ours(case, whole, "whole")]
    for index, round_ in enumerate(whole.rounds):
        left = whole.rounds[:index] + whole.rounds[index + 1 :]
        lines.append(ours(case, dataclasses.replace(whole, rounds=left), f"without {round_.name}"))
    lines.append(ours(case, dataclasses.replace(whole, boundary=False), "without FAB-T"))
    lines.append(ours(case, dataclasses.replace(whole, square=False), "without Square"))
    lines.append(ours(case, dataclasses.replace(whole, canary=False), "without the canary"))
    return lines


def row(line: Line, against: Line | None) -> str:
    share = 100 * line.standing / line.images
    ratios = "" if against is None else f"{against.weighted / line.weighted:.1f}x | {against.seconds / line.seconds:.1f}x"
    cells = f"{line.forward:,} | {line.backward:,} | {line.seconds:.1f} | {ratios or ' | '}"
    return f"| {line.case} | {line.who} | {line.images} | {share:.1f} | {cells} |"


HEAD = (
    "| model | who | images | robust % | forward rows | backward rows | seconds | fewer weighted rows | less wall time |\n"
    "|---|---|---:|---:|---:|---:|---:|---:|---:|"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few images and the small networks: minutes on two cores")
    parser.add_argument("--images", type=int)
    parser.add_argument("--models", nargs="*")
    parser.add_argument("--ablate", action="store_true")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--threads", type=int, default=1, help="of torch, for both")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    images = arguments.images or (50 if arguments.quick else 1000)
    cases = {**calibration_cases(images), **baseline_cases(images), **resnet18_case(images)}
    names = arguments.models or (
        ["cifar_cnn_a_adv", "cifar_cnn_a_mix", "mnist_cnn_a_adv", "mnist-standard"] if arguments.quick else list(cases)
    )
    print(HEAD, flush=True)
    written = []
    for name in names:
        case = cases[name]()
        if arguments.ablate:
            lines = [row(line, None) for line in ablated(case)]
        else:
            mine = ours(case, Standard())
            theirs = peer(case)
            lines = [row(theirs, None), row(mine, theirs)]
        for text in lines:
            print(text, flush=True)
        written += lines
    if arguments.write:
        heading = "What each round buys" if arguments.ablate else "The standard ensemble beside AutoAttack"
        write_section(heading, "\n".join([provenance("pyautoattack"), "", HEAD, *written]))


if __name__ == "__main__":
    main()
