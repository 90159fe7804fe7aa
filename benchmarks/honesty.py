"""Reference entries: what naive PGD-100 and AutoAttack believe of them, what we find, and which flags fire.

    python -m benchmarks.honesty [--quick] [--images N] [--only NAME ...] [--write]

MNIST at Linf 0.3 and CIFAR-10 at Linf 8/255, each entry behind the real model host. "claimed" is PGD-100 on the cross-entropy;
AutoAttack is pyautoattack's standard and rand version; "ours" is the official evaluation with its checks and adaptive
attack. They count images that stand. --quick: 8 images, fewer AutoAttack queries, and our ensemble without its full
fallback search. --write: each line goes to docs/honesty-benchmarks.md as soon as it is measured, in the place of the
entry's old one, under a heading for every size and number of images, so that entries can be measured one by one.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchmarks.pages import PAGE, provenance, write_section
from evaluator.attacks import PGD
from evaluator.checks import Honest
from evaluator.data import examples
from evaluator.data.tensors import Examples
from evaluator.defenses.reference.golden import GOLDEN, Golden
from evaluator.ensembles.standard import Standard
from evaluator.host.load import read_manifest
from evaluator.judging.defense import Defense
from evaluator.judging.evaluation import Verdict, evaluate
from evaluator.manifests.data_specs import DataSpec
from evaluator.models.access import scores
from evaluator.models.meter import Meter, MeteredModel
from evaluator.models.reading import ARGMAX, Reading, reading_of
from evaluator.threats import Linf
from tests.evaluator.hosts import hosted

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


def naive(model: nn.Module, part: Examples, threat: Linf, reading: Reading = ARGMAX) -> Tensor:
    """(n,) bool: stands after PGD-100 on the cross-entropy, which knows of no detector."""
    points = PGD(steps=100, loss="ce")(model, part.x, part.y, threat)
    return _stands(model, points, part, reading)


def autoattack(model: nn.Module, part: Examples, threat: Linf, version: str, *, quick: bool, reading: Reading) -> Tensor:
    """(n,) bool: stands after pyautoattack, which knows of no detector either."""
    from pyautoattack import AutoAttack

    attack = AutoAttack(model, norm="Linf", eps=threat.epsilon, version=version, device="cpu", seed=0)
    attack.verbose = False
    if quick:
        attack.square.n_queries, attack.apgd.n_iter, attack.apgd.eot_iter = 500, 50, min(attack.apgd.eot_iter, 5)
        attack.attacks_to_run = [name for name in attack.attacks_to_run if name != "fab-t"]
        attack.apgd_targeted.n_iter, attack.apgd_targeted.n_target_classes = 50, 3
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        points, _ = attack.run_standard_evaluation(part.x, part.y, batch_size=len(part))
    return _stands(model, points, part, reading)


def _stands(model: nn.Module, points: Tensor, part: Examples, reading: Reading) -> Tensor:
    """(n,) bool: classified correctly or rejected, by one answer."""
    labels = reading.labels(scores(model, points))
    return (labels == part.y) | (labels < 0)


def judge(golden: Golden, part: Examples, *, quick: bool) -> Verdict:
    """The official evaluation, behind the model host."""
    manifest = read_manifest(golden.folder)
    inner = Standard(fallback=()) if quick else Standard()
    ensemble = Honest(inner, bpda=manifest.bpda is not None)
    defense = Defense(lambda: hosted(golden.folder, classes=10, reply_seconds=REPLY_SECONDS), reading_of(manifest))
    return evaluate(defense, part, golden.threat, ensemble, seed=0)


@contextlib.contextmanager
def _fresh(golden: Golden, reading: Reading) -> Iterator[nn.Module]:
    with hosted(golden.folder, classes=10, reply_seconds=REPLY_SECONDS) as model:
        yield MeteredModel(model, Meter(), classes=10, reading=reading)


def measure(golden: Golden, part: Examples, *, quick: bool) -> Row:
    """One line of the table."""
    reading = reading_of(read_manifest(golden.folder))
    with _fresh(golden, reading) as model:
        clean = reading.labels(scores(model, part.x)) == part.y
        claimed = naive(model, part, golden.threat, reading) & clean
    believed = {}
    for version in ("standard", "rand"):
        with _fresh(golden, reading) as model:
            stands = autoattack(model, part, golden.threat, version, quick=quick, reading=reading)
        believed[version] = int((stands & clean).sum())
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
    count = options.images or (8 if options.quick else 64)
    intro = (
        f"{count} images each, MNIST at Linf 0.3, CIFAR-10 at Linf 8/255, behind the model host; counts that stand.\n\n{HEAD}"
    )
    print(intro, flush=True)
    heading = f"Reference entries, {'quick' if options.quick else 'full'} size, {count} images"
    for golden in GOLDEN:
        if options.only and golden.name not in options.only:
            continue
        start = time.perf_counter()
        part = examples(DataSpec(dataset=golden.dataset, split="test", examples=count))
        line = measure(golden, part, quick=options.quick).text
        print(line, f"<!-- {time.perf_counter() - start:.0f} s -->", flush=True)
        if options.write:
            page = PAGE.with_name("honesty-benchmarks.md")
            rows = {**_written(page.read_text(), heading), golden.name: line}
            known = "\n".join(rows[other.name] for other in GOLDEN if other.name in rows)
            write_section(heading, f"{_provenance()}\n\n{intro}\n{known}", page)


def _provenance() -> str:
    """One line for every entry of the table, whichever of them this run measures."""
    return re.sub(r" --only [^`]*`", " --only NAME`", provenance("pyautoattack"))


def _written(page: str, heading: str) -> dict[str, str]:
    """The lines of the section's table, by entry."""
    _, _, section = page.partition(f"## {heading}\n")
    names = {golden.name for golden in GOLDEN}
    rows = [line for line in section.partition("\n## ")[0].splitlines() if line.startswith("| ")]
    return {name: line for line in rows if (name := line.split("|")[1].strip()) in names}


if __name__ == "__main__":
    main()
