"""Reference entries: what naive PGD-100 and AutoAttack believe of them, what we find, and which flags fire.

    python -m benchmarks.honesty [--quick] [--images N] [--only NAME ...] [--write]

MNIST, Linf 0.3, each entry behind the real model host. "claimed" is PGD-100 on the cross-entropy; AutoAttack is pyautoattack's
standard and rand version; "ours" is the official evaluation with its checks and adaptive attack. All are counts of images that
stand. --quick: 8 images, fewer AutoAttack queries, and our ensemble without its full fallback search. --write: the table goes
to docs/honesty-benchmarks.md, line by line, under a heading of its own for every size and number of images.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import time
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchmarks.pages import PAGE, provenance, write_section
from evaluator.adaptive.votes import Votes
from evaluator.attacks import PGD
from evaluator.checks import Honest
from evaluator.data import examples
from evaluator.data.tensors import Examples
from evaluator.defenses.reference.golden import GOLDEN, Golden
from evaluator.ensembles.standard import Standard
from evaluator.evaluation import Verdict, evaluate
from evaluator.host.load import read_manifest
from evaluator.spec import DataSpec
from evaluator.threats import Linf
from tests.evaluator.hosts import hosted

THREAT = Linf(0.3)
REPLY_SECONDS = 300.0


@dataclass(frozen=True)
class Row:
    """Counts of images that stand; verdict: of our evaluation."""

    golden: Golden
    clean: int
    claimed: int
    standard: int
    rand: int
    verdict: Verdict

    @property
    def text(self) -> str:
        ours = int(self.verdict.robust.sum())
        fired = {flag.check: flag.severity for flag in self.verdict.flags}
        shown = ", ".join(f"{check}{'' if severity == 'unverified' else ' (info)'}" for check, severity in fired.items())
        missing = [check for check in self.golden.flags if check not in fired]
        wrong = [f"missing {check}" for check in missing]
        if self.golden.falls and ours > min(self.claimed, self.standard, self.rand):
            wrong.append("ours is not the lowest")
        if self.golden.falls and ours > 0.02 * len(self.verdict.robust):
            wrong.append("ours is above 2 points")
        if ours and not self.golden.vouched and "unverified" not in fired.values():
            wrong.append("stands and nothing is unverified")
        cells = [self.golden.name, self.clean, self.claimed, self.standard, self.rand, ours, shown or "-"]
        return (
            "| " + " | ".join(map(str, [*cells, ", ".join(self.golden.flags) or "-", "; ".join(wrong) or "as expected"])) + " |"
        )


HEAD = (
    "| entry | clean | claimed (PGD-100) | AutoAttack standard | AutoAttack rand | ours | flags | expected flags | verdict |\n"
    + "|---" * 9
    + "|"
)


def naive(model: nn.Module, part: Examples) -> Tensor:
    """(n,) bool: classified correctly after PGD-100 on the cross-entropy."""
    points = PGD(steps=100, loss="ce")(model, part.x, part.y, THREAT)
    return _right(model, points, part.y)


def autoattack(model: nn.Module, part: Examples, version: str, *, quick: bool) -> Tensor:
    """(n,) bool: stands after pyautoattack."""
    from pyautoattack import AutoAttack

    attack = AutoAttack(model, norm="Linf", eps=THREAT.epsilon, version=version, device="cpu", seed=0)
    attack.verbose = False
    if quick:
        attack.square.n_queries, attack.apgd.n_iter, attack.apgd.eot_iter = 500, 50, min(attack.apgd.eot_iter, 5)
        attack.attacks_to_run = [name for name in attack.attacks_to_run if name != "fab-t"]
        attack.apgd_targeted.n_iter, attack.apgd_targeted.n_target_classes = 50, 3
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        points, _ = attack.run_standard_evaluation(part.x, part.y, batch_size=len(part))
    return _right(model, points, part.y)


def _right(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    with torch.no_grad():
        right: Tensor = model(x).argmax(dim=1) == y
    return right


def judge(golden: Golden, part: Examples, *, quick: bool) -> Verdict:
    """The official evaluation, behind the model host."""
    manifest = read_manifest(golden.folder)
    votes = Votes(manifest.votes)
    inner = Standard(fallback=()) if quick else Standard()
    ensemble = Honest(inner, manifest.randomized, votes, bpda=manifest.bpda is not None)
    scored = votes if manifest.randomized else None
    return evaluate(lambda: _fresh(golden), part, THREAT, ensemble, seed=0, votes=scored)


def _fresh(golden: Golden) -> contextlib.AbstractContextManager[nn.Module]:
    return hosted(golden.folder, classes=10, reply_seconds=REPLY_SECONDS)


def measure(golden: Golden, part: Examples, *, quick: bool) -> Row:
    """One line of the table."""
    with _fresh(golden) as model:
        clean = _right(model, part.x, part.y)
        claimed = naive(model, part) & clean
    believed = {}
    for version in ("standard", "rand"):
        with _fresh(golden) as model:
            believed[version] = int((autoattack(model, part, version, quick=quick) & clean).sum())
    verdict = judge(golden, part, quick=quick)
    return Row(golden, int(clean.sum()), int(claimed.sum()), believed["standard"], believed["rand"], verdict)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer images and queries")
    parser.add_argument("--images", type=int, help="how many (default: 64, quick 8)")
    parser.add_argument("--write", action="store_true", help="put the table into docs/honesty-benchmarks.md")
    parser.add_argument("--only", nargs="*", default=[], help="names of entries")
    options = parser.parse_args()
    torch.set_num_threads(1)
    part = examples(DataSpec(dataset="mnist", split="test", examples=options.images or (8 if options.quick else 64)))
    intro = f"{len(part)} images of MNIST, Linf 0.3, each entry behind the model host; counts of images that stand.\n\n{HEAD}"
    print(intro, flush=True)
    lines = [intro]
    for golden in GOLDEN:
        if options.only and golden.name not in options.only:
            continue
        start = time.perf_counter()
        lines.append(measure(golden, part, quick=options.quick).text)
        print(lines[-1], f"<!-- {time.perf_counter() - start:.0f} s -->", flush=True)
        if options.write:
            heading = f"Reference entries, {'quick' if options.quick else 'full'} size, {len(part)} images"
            text = f"{provenance('pyautoattack')}\n\n" + "\n".join(lines)
            write_section(heading, text, PAGE.with_name("honesty-benchmarks.md"))


if __name__ == "__main__":
    main()
