"""Black-box attacks beside their peers at equal queries, and Square's wall time beside pyautoattack's.

    python -m benchmarks.blackbox_cases [--images N] [--queries N]

The peer runs first and its model rows are counted; ours then gets that many rows per image. `square_wall_ratio` is what
`benchmarks.attacks` may call for the time alone.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from evaluator.attacks.base import Attack
from evaluator.attacks.boundary import Boundary
from evaluator.attacks.hopskipjump import HopSkipJump
from evaluator.attacks.opt_attack import OptAttack
from evaluator.attacks.square import Square
from evaluator.attacks.zoo import ZOO
from evaluator.threats import L2, Linf
from tests.evaluator.blackbox import Counted
from tests.evaluator.support import sdp_images, sdp_model

Peer = Callable[[Counted, Tensor, Tensor], Tensor]
HEAD = (
    "| attack | peer | rows per image | our median L2 | peer's | our failures | peer's | our s | peer's s |\n"
    + "|---" * 9
    + "|"
)


@dataclass(frozen=True)
class Case:
    """A peer's minimal-norm attack and ours, built for a number of rows per image."""

    label: str
    peer: str
    theirs: Peer
    ours: Callable[[int], Attack]


def cases() -> list[Case]:
    """L2 from labels or scores, MNIST."""
    hop, walk = _foolbox("HopSkipJumpAttack", steps=8, max_gradient_eval_steps=1000), _foolbox("BoundaryAttack", steps=1500)
    art_hop = _art("HopSkipJump", norm=2, max_iter=8, init_eval=100, max_eval=1000)
    zoo = {"max_iter": 15, "binary_search_steps": 2, "initial_const": 10.0, "nb_parallel": 128, "variable_h": 1e-3}
    plain = {"learning_rate": 0.1, "abort_early": False, "use_resize": False, "use_importance": False, "batch_size": 1}
    return [
        Case("HopSkipJump", "foolbox", hop, lambda rows: HopSkipJump(queries=rows)),
        Case("HopSkipJump", "ART", art_hop, lambda rows: HopSkipJump(queries=rows)),
        Case("Boundary", "foolbox", walk, lambda rows: Boundary(queries=rows)),
        Case("Sign-OPT, beside HopSkipJump", "foolbox", hop, lambda rows: OptAttack(queries=rows)),
        Case("ZOO", "ART", _art("ZooAttack", **zoo, **plain), lambda rows: ZOO(queries=rows)),
    ]


def square_wall_ratio(model: nn.Module, x: Tensor, y: Tensor, *, epsilon: float, queries: int, rounds: int = 3) -> float:
    """Seconds of our Square over those of pyautoattack's (Linf, same queries), median of runs in turns; below 1 is faster."""
    from pyautoattack.square import SquareAttack

    seconds: dict[str, list[float]] = {"ours": [], "theirs": []}
    for _ in range(rounds):
        start = time.perf_counter()
        Square(queries=queries)(model, x, y, Linf(epsilon))
        middle = time.perf_counter()
        SquareAttack(model, norm="Linf", n_queries=queries, eps=epsilon, device="cpu").perturb(x, y)
        seconds["ours"].append(middle - start)
        seconds["theirs"].append(time.perf_counter() - middle)
    return statistics.median(seconds["ours"]) / statistics.median(seconds["theirs"])


def measure(case: Case, model: nn.Module, x: Tensor, y: Tensor) -> str:
    """One row of the table."""
    counted = Counted(model)
    start = time.perf_counter()
    theirs = case.theirs(counted, x, y)
    middle = time.perf_counter()
    rows = counted.rows // len(x)
    ours = case.ours(rows)(model, x, y, L2(1.0))
    ours_seconds, their_seconds = time.perf_counter() - middle, middle - start
    cells = [case.label, case.peer, str(rows)]
    fell = [model(points).argmax(dim=1) != y for points in (ours, theirs)]
    for points, broken in zip((ours, theirs), fell, strict=True):
        distance = L2(1.0).distance(x, points)[broken]
        cells.append(f"{float(distance.median()):.3f}" if len(distance) else "-")
    cells += [str(int((~broken).sum())) for broken in fell]
    return "| " + " | ".join([*cells, f"{ours_seconds:.1f}", f"{their_seconds:.1f}"]) + " |"


def _foolbox(name: str, **options: Any) -> Peer:
    import foolbox

    class Asked(nn.Module):
        def __init__(self, counted: Counted) -> None:
            super().__init__()
            self.counted = counted

        def forward(self, x: Tensor) -> Tensor:
            return self.counted(x)

    def run(counted: Counted, x: Tensor, y: Tensor) -> Tensor:
        torch.manual_seed(0)
        wrapped = foolbox.PyTorchModel(Asked(counted).eval(), bounds=(0, 1), device="cpu")
        points: Tensor = getattr(foolbox.attacks, name)(**options)(wrapped, x, y, epsilons=None)[1]
        return points

    return run


def _art(name: str, **options: Any) -> Peer:
    from art.attacks import evasion
    from art.estimators.classification import BlackBoxClassifier

    def run(counted: Counted, x: Tensor, y: Tensor) -> Tensor:
        def predict(images: Any) -> Any:
            with torch.no_grad():
                return counted(torch.as_tensor(images, dtype=torch.float32).clamp(0, 1)).numpy()

        np.random.seed(0)
        wrapped = BlackBoxClassifier(predict, tuple(x.shape[1:]), 10, clip_values=(0, 1))
        attack = getattr(evasion, name)(wrapped, verbose=False, **options)
        return torch.from_numpy(attack.generate(x.numpy(), y=np.eye(10)[y.numpy()]))

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10, help="images for the table of distances")
    parser.add_argument("--queries", type=int, default=5000, help="queries of the timed Square")
    options = parser.parse_args()
    torch.set_num_threads(1)
    model, (x, y) = sdp_model("mnist_cnn_a_adv"), sdp_images("mnist")
    right = model(x).argmax(dim=1) == y
    print(HEAD, flush=True)
    for case in cases():
        print(measure(case, model, x[right][: options.images], y[right][: options.images]), flush=True)
    for name, data, epsilon in (("mnist_cnn_a_adv", "mnist", 0.3), ("cifar_cnn_a_adv", "cifar", 2 / 255)):
        model, (x, y) = sdp_model(name), sdp_images(data)
        right = model(x).argmax(dim=1) == y
        ratio = square_wall_ratio(model, x[right][:60], y[right][:60], epsilon=epsilon, queries=options.queries, rounds=1)
        print(f"Square-{options.queries}, {data}, Linf {epsilon:.4f}: {ratio:.2f} of pyautoattack's time", flush=True)


if __name__ == "__main__":
    main()
