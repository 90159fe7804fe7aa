"""The work behind `redoubt attack`: opens the defense in its lane, runs one attack, verifies, and writes what it found."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from arena.cli.folders import inspected_defense
from arena.cli.waiting import shown
from arena.running.lanes import Lane, choose, settled_threads
from arena.running.staging import staged
from evaluator.attacks.base import Attack
from evaluator.checks.declared import Declared, declarations, votes_of
from evaluator.data import Examples
from evaluator.data import examples as ranked_examples
from evaluator.ensembles import Sequence, Stage
from evaluator.host.load import read_manifest
from evaluator.judging.evaluation import Verdict, evaluate
from evaluator.judging.verification import classify, count
from evaluator.manifests.spec import Pack
from evaluator.records.gallery import Exhibit, gallery
from evaluator.records.report import Progress as Step
from evaluator.threats.base import Threat
from sandbox.choose import open_sandbox_or_none

_SLICE = 50
_EXHIBITS = 60


@dataclass(frozen=True)
class Order:
    """What to do: which attack under which threat against which folder, on how many images of the pack."""

    name: str
    attack: Attack
    threat: Threat
    pack: Pack
    defense: Path
    examples: int
    seed: int
    sandbox: str


@dataclass(frozen=True)
class Done:
    """What came of it.

    answers: (n,) labels the verified model gave to the rendered points, by its declared votes, -1 where its detector refused;
    distance: (n,) float64; declared: what of the manifest was heeded, in words.
    """

    order: Order
    examples: Examples
    verdict: Verdict
    rendered: Tensor
    answers: Tensor
    distance: Tensor
    declared: tuple[str, ...]

    @property
    def broken(self) -> Tensor:
        return self.verdict.correct & ~self.verdict.robust

    def rows(self) -> list[tuple[str, str]]:
        """The result table."""
        verdict, n = self.verdict, len(self.examples)
        rows = [
            ("images", f"{n:,}"),
            ("clean accuracy", f"{int(verdict.correct.sum()) / n:.2%}"),
            ("accuracy under attack", f"{int(verdict.robust.sum()) / n:.2%}"),
            ("broken, verified", f"{int(self.broken.sum()):,}"),
        ]
        if bool(self.broken.any()):
            rows.append(("median distance of those", f"{float(self.distance[self.broken].median()):.4g}"))
        rows += [("forward rows", f"{verdict.forward_rows:,}"), ("backward rows", f"{verdict.backward_rows:,}")]
        rows += [("seconds", f"{verdict.seconds:.1f}"), *(("declared", words) for words in self.declared)]
        return [*rows, *(("flag", flag.evidence) for flag in verdict.flags)]


def carry_out(order: Order) -> Done:
    """Runs and verifies the attack and says on stderr how far it is. Raises InputError for a defense that cannot enter."""
    limits = order.pack.challenge.limits
    data = order.pack.challenge.data
    inspected_defense(order.defense, order.pack.challenge)
    threads = settled_threads(limits)
    ensemble = Sequence(order.name, (Stage(order.name, order.attack),), slice_examples=_SLICE)
    with staged(order.defense) as copy, shown(f"{order.name}: getting the images and starting") as waiting:
        part = ranked_examples(data.model_copy(update={"examples": min(order.examples, data.examples)}))
        manifest = read_manifest(copy.folder)
        votes, sandbox = votes_of(manifest), open_sandbox_or_none(order.sandbox)
        lane = Lane(choose("auto", manifest), copy.folder, manifest, limits, sandbox, threads, lambda text: None)

        def tell(step: Step) -> None:
            waiting(f"{order.name}: {step.stage} · {step.survivors} still standing", step.done, step.total)

        verdict = evaluate(
            lambda: lane.open(part.classes),
            part,
            order.threat,
            Declared(ensemble, manifest),
            seed=order.seed,
            votes=votes,
            rejects=manifest.detector,
            on_progress=tell,
        )
        rendered = order.threat.apply(part.x, verdict.points).detach()
        with lane.open(part.classes) as model, torch.no_grad():
            if votes is None:
                answers = classify(model, rendered, rejects=manifest.detector)
            else:
                answers = count(model, rendered, part.classes, votes).argmax(dim=1)
    distance = order.threat.distance(part.x, verdict.points)
    return Done(order, part, verdict, rendered, answers, distance, tuple(declarations(manifest)))


def write_array(path: Path, done: Done) -> None:
    """x_adv (n, C, H, W) float32: the adversarial input where broken, else the clean one; loads with allow_pickle=False."""
    broken = done.broken
    x_adv = torch.where(broken.reshape(-1, 1, 1, 1), done.rendered, done.examples.x)
    with path.open("wb") as stream:
        np.savez_compressed(
            stream,
            x_adv=x_adv.numpy(),
            y=done.examples.y.numpy(),
            ids=done.examples.ids.numpy(),
            broken=broken.numpy(),
            distance=torch.where(broken, done.distance, 0.0).numpy(),
        )


def write_gallery(path: Path, done: Done, *, title: str) -> None:
    """A page with the first broken images."""
    rows = done.broken.nonzero().squeeze(1).tolist()[:_EXHIBITS]
    exhibits = [
        Exhibit(
            int(done.examples.ids[row]), done.examples.x[row], done.rendered[row],
            int(done.examples.y[row]), int(done.answers[row]), float(done.distance[row]),
        )
        for row in rows
    ]  # fmt: skip
    path.write_text(gallery(title, exhibits, unit=done.order.threat.kind), encoding="utf-8")
