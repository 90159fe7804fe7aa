"""One of the evaluator's own attacks against one defense, verified: what `redoubt attack` runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from arena.running.bench import bench
from arena.running.lanes import once_more
from arena.running.listening import SILENT, Listener
from evaluator.attacks.base import Attack
from evaluator.checks.declared import Declared
from evaluator.data import Examples
from evaluator.ensembles import Sequence, Stage
from evaluator.judging.evaluation import Verdict
from evaluator.judging.verification import read
from evaluator.manifests.spec import DefenseManifest, Pack
from evaluator.models.meter import Meter, MeteredModel
from sandbox import Sandbox

_SLICE = 50


@dataclass(frozen=True)
class Found:
    """What came of it.

    rendered: the points as images; answers: (n,) labels the verified model gave to them, by its declared votes, -1 where its
    detector refused; distance: (n,) float64.
    """

    manifest: DefenseManifest
    examples: Examples
    verdict: Verdict
    rendered: Tensor
    answers: Tensor
    distance: Tensor

    @property
    def broken(self) -> Tensor:
        return self.verdict.unbroken & ~self.verdict.robust


def run_search(
    pack: Pack,
    defense: Path,
    name: str,
    attack: Attack,
    *,
    seed: int,
    examples: int,
    sandbox: Sandbox,
    listener: Listener = SILENT,
) -> Found:
    """Runs `attack` under the pack's threat on the first `examples` images.

    Raises SubmissionError for a defense that fails, SandboxError where code cannot be run, and Cancelled.
    """

    def search() -> Found:
        with bench(pack, defense, sandbox=sandbox, listener=listener, examples=examples, seed=seed) as ready:
            part, threat, manifest = ready.examples, ready.threat, ready.manifest
            ensemble = ready.goal.pursued(Sequence(name, (Stage(name, attack),), slice_examples=_SLICE))
            verdict = ready.search(part, Declared(ensemble, manifest), seed=seed)
            rendered = threat.apply(part.x, verdict.points).detach()
            with ready.defense.open() as model:
                reading = ready.defense.reading
                asked = MeteredModel(model, Meter(), classes=part.classes, reading=reading)
                answers = read(asked, rendered, part.wanted, part.classes, reading).labels
        return Found(manifest, part, verdict, rendered, answers, threat.distance(part.x, verdict.points))

    return once_more(search)
