"""The certificate that a defense asks for: computed here, never taken from the submission, and then attacked.

A certificate is a proof that can have a bug. One verified adversarial input inside the certified set refutes it: that
example's certificate is void, the entry is flagged, and the report names the witnesses.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scipy.stats import binom
from torch import Tensor, nn

from evaluator.adaptive.eot import EOT
from evaluator.adaptive.relentless import Relentless
from evaluator.attacks.base import Batch, Model
from evaluator.certify import METHODS, Certificates, certify
from evaluator.certify.noise import Noise, build_noise, normal
from evaluator.certify.smoothing_cohen import class_counts
from evaluator.data.tensors import Examples
from evaluator.draws import Draws
from evaluator.errors import InputError
from evaluator.report import CertificateRecord, Flag
from evaluator.spec import CertificateSpec
from evaluator.threats.base import Threat

_WITNESS_SAMPLES = 2000
_WITNESS_LEVEL = 1e-4  # chance that a sound certificate is called refuted
_ATTACK = Relentless(steps=20, loss="margin")
_PASSES = 8  # noisy passes averaged per step of the attack on a smoothed classifier


@dataclass(frozen=True)
class Certified:
    """bits: (n,) bool, proven at the challenge's epsilon and not refuted; flags: an alarm where a witness was found."""

    bits: Tensor
    record: CertificateRecord
    flags: list[Flag]


def require(spec: CertificateSpec, threat: Threat, model: nn.Module | None, shape: tuple[int, ...]) -> None:
    """Raises InputError, before any compute, where the certificate cannot be had.

    model: the network whose layers are read (None for smoothing, which reads none); shape: of one input.
    """
    method = METHODS[spec.method]
    if threat.kind not in method.threats:
        help_ = f"It certifies {', '.join(method.threats)}; ask for another method or leave [certificate] out."
        raise InputError(
            f'"{spec.method}" says nothing about {threat.kind} perturbations.', where="certificate.method", help=help_
        )
    if spec.method == "smoothing":
        build_noise(spec.noise or "gaussian", spec.sigma)
        return
    if model is None:
        raise InputError(
            f'"{spec.method}" reads the network\'s layers.', where="certificate.method", help="Submit safetensors."
        )
    quick = "lipschitz" if spec.method == "lipschitz" else "ibp"
    certify(model, torch.zeros(1, *shape), torch.zeros(1, dtype=torch.int64), threat, method=quick)


def certified(model: Model, examples: Examples, robust: Tensor, threat: Threat, spec: CertificateSpec, seed: int) -> Certified:
    """Certifies every example at `threat.epsilon` and attacks what was certified.

    model: deterministic; robust: (n,) bool, the examples that the search left standing, whose complement refutes
    certificates of the classifier itself; a smoothed classifier is another one and gets an attack of its own.
    seed: secret when the submission was made.
    """
    found = certify(model, examples.x, examples.y, threat, method=spec.method, seed=seed, ids=examples.ids, **spec.parameters())
    if spec.method == "smoothing":
        noise = build_noise(spec.noise or "gaussian", spec.sigma)
        refuted = _smoothed_witnesses(model, examples, found.certified, threat, noise, seed)
    else:
        refuted = found.certified & ~robust
    bits = found.certified & ~refuted
    return Certified(bits, _record(found, spec, threat, examples, bits, refuted), _alarm(examples, found, refuted))


def _smoothed_witnesses(model: Model, examples: Examples, claimed: Tensor, threat: Threat, noise: Noise, seed: int) -> Tensor:
    """(n,) bool: certified examples with a point in the ball to which the smoothed classifier verifiably gives another class.

    Climbs the mean logits over Gaussian noise (Salman et al. 2019, sec. 2.2), then counts answers under the certificate's own
    noise and tests that the true class is not the more frequent one (exact binomial, against the class that leads).
    """
    refuted = torch.zeros(len(examples), dtype=torch.bool)
    rows = claimed.nonzero().squeeze(1)
    if not len(rows):
        return refuted
    part = examples[rows]

    def noisy(x: Tensor, draws: Draws) -> Tensor:
        return x + noise.sigma * normal(draws, *x.shape[1:]).to(x.dtype)

    batch = Batch(part.x, part.y, Draws(seed, part.ids).fork("witness"))
    points = _ATTACK.run(EOT(model, _PASSES, transformation=noisy, seed=seed), batch, threat)
    points = (points * 255).round() / 255 if noise.name.startswith("quantized") else points
    inside = threat.contains(part.x, points)
    for row in inside.nonzero().squeeze(1).tolist():
        counts = class_counts(model, points[row], noise, seed ^ 0x57171E55, int(part.ids[row]), _WITNESS_SAMPLES, 500)
        own, label = int(counts[part.y[row]]), int(part.y[row])
        counts[label] = -1
        leader = int(counts.max())
        refuted[rows[row]] = bool(binom.cdf(own, own + leader, 0.5) < _WITNESS_LEVEL)
    return refuted


def _record(
    found: Certificates, spec: CertificateSpec, threat: Threat, examples: Examples, bits: Tensor, refuted: Tensor
) -> CertificateRecord:
    return CertificateRecord(
        method=spec.method,
        parameters=spec.parameters(),
        classifier="smoothed" if spec.method == "smoothing" else "itself",
        norm=found.norm,
        epsilon=threat.epsilon,
        accuracy=float(bits.double().mean()) if len(bits) else 0.0,
        average_radius=float(torch.where(bits, found.radius, 0.0).mean()) if len(bits) else 0.0,
        bits=bits.int().tolist(),
        undecided=int(found.abstained.sum()),
        refuted=examples.ids[refuted].tolist(),
        expected_false=found.expected_false,
        samples=int(found.samples.sum()),
        seconds=found.seconds,
    )


def _alarm(examples: Examples, found: Certificates, refuted: Tensor) -> list[Flag]:
    count = int(refuted.sum())
    if not count:
        return []
    first = ", ".join(str(number) for number in examples.ids[refuted].tolist()[:5])
    evidence = (
        f"{count} of {int(found.certified.sum())} certified examples have an adversarial input inside the certified set "
        f"(the first: {first}); their certificates are void."
    )
    return [Flag(check="certificate-refuted", severity="unverified", evidence=evidence)]
