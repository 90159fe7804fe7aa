"""Our attacks beside adv-lib, torchattacks, foolbox, ART and pyautoattack: what stands, how far, and how long.

    python -m benchmarks.attacks [--quick] [--images N] [--rounds N] [--write]

Same weights, images, budget and threads in the same process; every pair runs in turns and the medians are compared, so a
ratio below 1 means that ours is faster. Seconds are the one thread's processor time: others on the machine do not count.
Robust accuracies are in percent, distances are means over examples that both broke. A second table has the optimality of
every minimal-norm attack (attackbenchlib's, Cina et al. 2025, eq. 5), all of them together being the reference, and rows spent.
--write puts the tables into docs/attack-benchmarks.md.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import importlib.metadata
import io
import platform
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.optimality import BEST, OPTIMALITY, optimality
from benchmarks.peers import EPSILON, Run, of_art, of_autoattack, of_foolbox, ours, torchattack
from evaluator.attacks.norms import NORMS
from evaluator.threats import L1, L2, Linf, Threat
from tests.evaluator.support import sdp_images, sdp_model

PEERS = ("torchattacks", "foolbox", "adversarial-robustness-toolbox", "pyautoattack", "adv-lib", "attackbenchlib")
_LEAST, _MOST = 1.0, 15  # processor seconds of the peer that a short pair is repeated for, and how often at most


@dataclass(frozen=True)
class Pair:
    """Ours and a peer's attack of the same name and budget. minimal: distances are compared, not robust accuracies."""

    label: str
    peer: str
    threat: Threat
    ours: Run
    theirs: Run
    minimal: bool = False


@dataclass(frozen=True)
class Result:
    """ours, theirs: percent standing or mean distance; seconds of each (medians); ratio: ours over theirs."""

    pair: Pair
    ours: float
    theirs: float
    our_seconds: float
    their_seconds: float

    @property
    def row(self) -> str:
        unit = "mean distance" if self.pair.minimal else "standing, %"
        shown = (f"{value:.4f}" if self.pair.minimal else f"{value:.1f}" for value in (self.ours, self.theirs))
        ratio = self.our_seconds / self.their_seconds
        cells = [self.pair.label, self.pair.threat.kind, self.pair.peer, unit, *shown]
        return "| " + " | ".join([*cells, f"{self.our_seconds:.3f}", f"{self.their_seconds:.3f}", f"{ratio:.2f}"]) + " |"


HEAD = "| attack | norm | peer | measured | ours | peer's | our s | peer's s | ours / peer |\n" + "|---" * 9 + "|"


def pairs(*, quick: bool) -> list[Pair]:
    """The table. quick: fewer steps everywhere, the same on both sides."""
    steps, few = (20, 50) if quick else (100, 100)
    queries = 5000
    at, ball, l1 = Linf(EPSILON), L2(0.25), L1(4.0)
    linf_pgd = {"steps": 40, "step_size": EPSILON / 10}
    cw = {"steps": few, "searches": 5, "initial_c": 0.1}
    their_cw = {"steps": few, "binary_search_steps": 5, "initial_const": 0.1, "stepsize": 0.01}
    art_cw = {"max_iter": few, "binary_search_steps": 5, "initial_const": 0.1, "learning_rate": 0.01, "batch_size": 64}
    aa = of_autoattack
    fool = of_foolbox
    ce, apgd_t = f"APGD-CE-{steps}", ours("apgd_t", at, steps=steps)
    fab_t, fab_l2 = ours("fab_t", at, steps=steps, stop_within=True), ours("fab", ball, steps=steps)
    fab_peer = aa("fab", "Linf", EPSILON, n_iter=steps, targeted=True)
    square_l1 = ours("square", l1, queries=1000)
    square_l1_peer = aa("square", "L1", 4.0, n_queries=1000)
    l1_peer = aa("apgd", "L1", 4.0, n_iter=steps, use_largereps=True)
    torch_pgd = torchattack("PGD", eps=EPSILON, alpha=EPSILON / 10, steps=40)
    square, square_peer = ours("square", at, queries=queries), aa("square", "Linf", EPSILON, n_queries=queries)
    cw_l2, cw_name, fmn = ours("cw_l2", ball, **cw), f"CW-L2 5 x {few}", f"FMN-{steps}"
    fool_cw, fool_fool = fool("L2CarliniWagnerAttack", **their_cw), "DeepFool-50"
    return [
        Pair("FGSM", "torchattacks", at, ours("fgsm", at), torchattack("FGSM", eps=EPSILON)),
        Pair("PGD-40", "torchattacks", at, ours("pgd", at, **linf_pgd), torch_pgd),
        Pair("PGD-40", "foolbox", at, ours("pgd", at, **linf_pgd), _foolbox_pgd(at)),
        Pair(ce, "pyautoattack", at, ours("apgd", at, steps=steps), aa("apgd", "Linf", EPSILON, n_iter=steps)),
        Pair(ce, "pyautoattack", ball, ours("apgd", ball, steps=steps), aa("apgd", "L2", 0.25, n_iter=steps)),
        Pair(ce, "pyautoattack", l1, ours("apgd", l1, steps=steps), l1_peer),
        Pair(f"APGD-T-{steps}", "pyautoattack", at, apgd_t, aa("apgd_t", "Linf", EPSILON, n_iter=steps)),
        Pair(f"FAB-T-{steps}", "pyautoattack", at, fab_t, fab_peer),
        Pair(f"FAB-{steps}", "pyautoattack", ball, fab_l2, aa("fab", "L2", 10.0, n_iter=steps), minimal=True),
        Pair(f"Square-{queries}", "pyautoattack", at, square, square_peer),
        Pair("Square-1000", "pyautoattack", l1, square_l1, square_l1_peer),
        Pair(cw_name, "foolbox", ball, cw_l2, fool_cw, minimal=True),
        Pair(cw_name, "ART", ball, cw_l2, of_art("CarliniL2Method", **art_cw), minimal=True),
        Pair(fool_fool, "foolbox", ball, ours("deepfool", ball), fool("L2DeepFoolAttack", steps=50), minimal=True),
        Pair(fool_fool, "foolbox", at, ours("deepfool", at), fool("LinfDeepFoolAttack", steps=50), minimal=True),
        Pair(fmn, "foolbox", at, ours("fmn", at, steps=steps), fool("LInfFMNAttack", steps=steps), minimal=True),
        Pair(fmn, "foolbox", ball, ours("fmn", ball, steps=steps), fool("L2FMNAttack", steps=steps), minimal=True),
        Pair(fmn, "foolbox", l1, ours("fmn", l1, steps=steps), fool("L1FMNAttack", steps=steps), minimal=True),
    ]


def _foolbox_pgd(threat: Threat) -> Run:
    import foolbox

    def run(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        wrapped = foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu")
        attack = foolbox.attacks.LinfPGD(abs_stepsize=threat.epsilon / 10, steps=40)
        points: Tensor = attack(wrapped, x, y, epsilons=threat.epsilon)[1]
        return points

    return run


def measure(pair: Pair, model: nn.Module, x: Tensor, y: Tensor, *, rounds: int) -> Result:
    """Runs both sides in turns, more often when they are short; the peer's prints are swallowed."""
    seconds: dict[Run, list[float]] = {pair.ours: [], pair.theirs: []}
    points = {}
    while len(seconds[pair.theirs]) < rounds or (sum(seconds[pair.theirs]) < _LEAST and len(seconds[pair.theirs]) < _MOST):
        for run in (pair.ours, pair.theirs):
            start = time.process_time()
            with contextlib.redirect_stdout(io.StringIO()):
                points[run] = run(model, x, y)
            seconds[run].append(time.process_time() - start)
    fell = {run: model(found).argmax(dim=1) != y for run, found in points.items()}
    if pair.minimal:
        both = fell[pair.ours] & fell[pair.theirs]
        size = NORMS[pair.threat.kind].size
        measured = [float(size(points[run] - x)[both].mean()) for run in (pair.ours, pair.theirs)]
    else:
        inside = {run: pair.threat.contains(x, found, slack=1e-5) for run, found in points.items()}
        measured = [100 * float((~(fell[run] & inside[run])).float().mean()) for run in (pair.ours, pair.theirs)]
    return Result(pair, *measured, *(statistics.median(seconds[run]) for run in (pair.ours, pair.theirs)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer images, steps and rounds")
    parser.add_argument("--images", type=int, help="how many images (24 with --quick, else 60)")
    parser.add_argument("--rounds", type=int, help="how often each pair runs at least (1 with --quick, else 3)")
    parser.add_argument("--write", action="store_true", help="write docs/attack-benchmarks.md")
    options = parser.parse_args()
    torch.set_num_threads(1)
    model, (x, y) = sdp_model("cifar_cnn_a_adv"), sdp_images("cifar")
    correct = model(x).argmax(dim=1) == y
    count, rounds = options.images or (24 if options.quick else 60), options.rounds or (1 if options.quick else 3)
    x, y = x[correct][:count], y[correct][:count]
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("torch", *PEERS))
    material = f"{len(x)} correctly classified images, sdp_cifar_cnn_a_adv, one thread, {platform.machine()}"
    about = f"{datetime.date.today()}; {material}; {versions}."
    print(about, "\n\n", HEAD, sep="", flush=True)
    rows = []
    for pair in pairs(quick=options.quick):
        rows.append(measure(pair, model, x, y, rounds=rounds).row)
        print(rows[-1], flush=True)
    few = min(len(x), 8 if options.quick else 24)
    print(f"\nthe first {few} of them\n\n{BEST}", flush=True)
    best = optimality(model, x[:few], y[:few], quick=options.quick)
    if options.write:
        text = "# Attacks beside their peers\n\nWritten by `python -m benchmarks.attacks --write`.\n\n"
        page = (
            text
            + about
            + "\n\n"
            + "\n".join([HEAD, *rows])
            + "\n\n## Optimality\n\n"
            + OPTIMALITY.format(few=few)
            + "\n".join([BEST, *best])
            + "\n"
        )
        (Path(__file__).resolve().parents[1] / "docs" / "attack-benchmarks.md").write_text(page)


if __name__ == "__main__":
    main()
