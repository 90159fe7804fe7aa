"""A search that takes a defense as its manifest declares it: randomness is averaged over, gradients follow the stand-ins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from evaluator.adaptive.automatic import rewired
from evaluator.attacks.base import Batch
from evaluator.checks.honest import MOST_SAMPLES, Averaged
from evaluator.ensembles.base import Ensemble, Search, Step
from evaluator.manifests.spec import DefenseManifest
from evaluator.models.meter import MeteredModel
from evaluator.threats.base import Threat


@dataclass(frozen=True)
class Declared:
    """`inner` against a defense as declared; no checks and no adaptive attack (those are `evaluator.checks.honest.Honest`'s).

    How answers are read, and whether they are random, is the batch's affair (`Batch.reading`).
    """

    inner: Ensemble
    manifest: DefenseManifest

    @property
    def name(self) -> str:
        """The inner ensemble's."""
        return self.inner.name

    def run(self, model: MeteredModel, batch: Batch, threat: Threat, observe: Callable[[Step], None]) -> Search:
        asked = (rewired(model, "declared") if self.manifest.bpda is not None else None) or model
        if batch.reading.random:
            asked = Averaged(asked, MOST_SAMPLES)
        return self.inner.run(asked, batch, threat, observe)


def declarations(manifest: DefenseManifest) -> list[str]:
    """What the manifest declares that changes how the defense is asked or scored, in words."""
    said = []
    if manifest.randomized:
        said.append(f"random answers, the majority of {manifest.votes} counts" if manifest.votes > 1 else "random answers")
    if manifest.bpda is not None:
        said.append("stand-ins for the backward pass")
    if manifest.detector:
        said.append("a detector, whose refusals are no breaks")
    if manifest.certificate is not None and manifest.certificate.method == "smoothing":
        said.append("a certificate of the smoothed classifier; this is the plain one")
    return said
