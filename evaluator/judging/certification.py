"""The certificate that a defense asks for: computed here, never taken from the submission, and then attacked.

A certificate is a proof that can have a bug. A verified adversarial input inside the certified set refutes it. That
example's certificate is void, the report keeps the witness, and the entry is flagged (see `certificate_record.alarm`).
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from evaluator.attacks.base import Model
from evaluator.attacks.pgd import PGD
from evaluator.certify import Certificates, certify, certify_at_radii
from evaluator.certify.at_radii import BALLS, NOTHING
from evaluator.certify.base import labels
from evaluator.certify.milp import check_encodable
from evaluator.certify.noise import build_noise
from evaluator.certify.strangers import Strangers
from evaluator.certify.tracing import trace
from evaluator.data.tensors import Examples
from evaluator.errors import InputError
from evaluator.judging.defense import OpenModel
from evaluator.judging.smoothed_classifier import SmoothedClassifier
from evaluator.manifests.certificate_specs import CertificateSpec, CertifiedSpec, check_request
from evaluator.records.certificate_record import MOST_WITNESSES, accuracies, alarm, average_radius, pack_radii, unpack_radii
from evaluator.records.report import CertificateRecord, Flag, Witness
from evaluator.threats.base import SLACK, Threat

_GROUPS = 16  # of radii, attacked one after the other
_ATTACK = PGD(steps=50, restarts=2, loss="margin")  # inside certified radii that the search has not looked at


@dataclass(frozen=True)
class Certified:
    """bits: (n,) bool, proven at the challenge's epsilon and not refuted; flags: an alarm where a witness was found."""

    bits: Tensor
    record: CertificateRecord
    flags: list[Flag]


@dataclass(frozen=True)
class Searched:
    """What the search found against the classifier itself, (n,) each. correct, robust: bool; points: of the threat."""

    correct: Tensor
    robust: Tensor
    points: Tensor


@dataclass(frozen=True)
class _Attacked:
    """(n,) bool each, of the certified classifier: right as it is, under attack, certificate refuted. points: the witnesses."""

    clean: Tensor
    empirical: Tensor
    refuted: Tensor
    points: Tensor


def require(
    spec: CertificateSpec,
    threat: Threat,
    model: nn.Module | None,
    shape: tuple[int, ...],
    board: CertifiedSpec | None = None,
) -> None:
    """Raises InputError, before any compute, where the certificate cannot be had.

    model: the network whose layers are read (None for smoothing, which reads none); shape: of one input.
    """
    check_request(spec, threat=threat.kind, board=board)
    if spec.method == "smoothing":
        build_noise(spec.noise or "gaussian", spec.sigma)
        return
    if model is None:
        raise InputError(
            f'"{spec.method}" reads the network\'s layers.', where="certificate.method", help="Submit safetensors."
        )
    if spec.method == "milp":
        check_encodable(trace(model, shape))
    quick = "lipschitz" if spec.method == "lipschitz" else "ibp"
    certify(model, torch.zeros(1, *shape), torch.zeros(1, dtype=torch.int64), threat, method=quick)


def certified(
    open_model: OpenModel,
    examples: Examples,
    searched: Searched,
    threat: Threat,
    spec: CertificateSpec,
    seed: int,
    board: CertifiedSpec | None = None,
) -> Certified:
    """Certifies every example at the board's radii (without a certified board: at epsilon) and attacks what was certified.

    open_model: opens a *fresh* copy of a deterministic model each time. A smoothed one is opened twice, the second copy to ask
    again what the first one said. searched: what refutes certificates of the classifier itself; a smoothed classifier is
    another one and gets an attack of its own. seed: secret when the submission was made.
    """
    request = check_request(spec, threat=threat.kind, board=board)
    radii = (threat.epsilon,) if board is None else board.radii
    strangers: Strangers | None = None
    with open_model() as opened:
        model = opened
        if request.method == "smoothing":
            model = strangers = Strangers(opened, seed)
        found = certify_at_radii(
            model, examples.x, examples.y, norm=threat.kind, radii=radii, request=request, seed=seed, ids=examples.ids
        )
        if strangers is not None:
            noise = build_noise(request.noise or "gaussian", request.sigma)
            against = _against_smoothed(SmoothedClassifier(model, noise, seed), examples, found.radius, threat)
        else:
            against = _against_itself(model, examples, found.radius, threat, searched)
    company = _doubts(strangers, open_model)
    if company:
        found = replace(found, radius=torch.full_like(found.radius, NOTHING))
    record = _record(found, request, threat, examples, radii, against)
    return Certified(torch.tensor(record.bits, dtype=torch.bool), record, [*alarm(record), *company])


def _doubts(strangers: Strangers | None, open_model: OpenModel) -> list[Flag]:
    if strangers is None:
        return []
    with open_model() as fresh:
        return strangers.doubts(fresh)


def _against_itself(model: Model, examples: Examples, radius: Tensor, threat: Threat, searched: Searched) -> _Attacked:
    """The search's own points first; radii other than epsilon are attacked here, each example inside its own."""
    broken = searched.correct & ~searched.robust
    distance = threat.distance(examples.x, searched.points)
    refuted = broken & (distance <= radius + SLACK)
    points = searched.points.clone()
    for rows, ball in _by_radius(radius, threat, (radius > 0) & (radius != threat.epsilon) & ~refuted):
        part = examples[rows]
        tried = _ATTACK(model, part.x, part.y, ball, ids=part.ids)
        with torch.no_grad():
            fell = (labels(model(tried)).cpu() != part.y) & ball.contains(part.x, tried)
        points[rows[fell]], refuted[rows[fell]] = tried[fell], True
    return _Attacked(searched.correct, searched.robust, refuted, points)


def _against_smoothed(smoothed: SmoothedClassifier, examples: Examples, radius: Tensor, threat: Threat) -> _Attacked:
    """Every example is attacked inside the larger of epsilon and its certified radius, and inside the radius if smaller."""
    clean = ~smoothed.wrong(examples.x, examples.y, examples.ids)
    empirical, refuted = clean.clone(), (radius >= 0) & ~clean
    points = examples.x.clone()
    outer = torch.where(clean, radius.clamp_min(threat.epsilon), 0.0)
    inner = torch.where(clean & (radius < threat.epsilon), radius, 0.0)
    for wanted in (outer, inner):
        for rows, ball in _by_radius(wanted, threat, (wanted > 0) & ~refuted):
            part = examples[rows]
            tried = smoothed.attacked(part, ball)
            fell = smoothed.wrong(tried, part.y, part.ids) & ball.contains(part.x, tried)
            distance = threat.distance(part.x, tried)
            empirical[rows[fell & (distance <= threat.epsilon + SLACK)]] = False
            witness = fell & (distance <= radius[rows] + SLACK)
            points[rows[witness]], refuted[rows[witness]] = tried[witness], True
    return _Attacked(clean, empirical, refuted, points)


def _by_radius(radius: Tensor, threat: Threat, wanted: Tensor) -> list[tuple[Tensor, Threat]]:
    """Rows of the wanted examples in groups of like radius, each with the ball of the smallest radius among them."""
    cell = radius if len(radius[wanted].unique()) <= _GROUPS else (radius * (_GROUPS / float(radius.max()))).floor()
    groups: list[tuple[Tensor, Threat]] = []
    for value in cell[wanted].unique().tolist():
        rows = (wanted & (cell == value)).nonzero().squeeze(1)
        groups.append((rows, BALLS[threat.kind](float(radius[rows].min()))))
    return groups


def _record(
    found: Certificates,
    request: CertificateSpec,
    threat: Threat,
    examples: Examples,
    radii: tuple[float, ...],
    against: _Attacked,
) -> CertificateRecord:
    left = torch.where(against.refuted, NOTHING, found.radius)
    packed = pack_radii(left.numpy())
    kept = unpack_radii(packed)
    bits = left >= threat.epsilon
    return CertificateRecord(
        method=request.method,
        parameters=request.parameters(),
        classifier="smoothed" if request.method == "smoothing" else "itself",
        norm=found.norm,
        epsilon=threat.epsilon,
        accuracy=float(bits.double().mean()) if len(bits) else 0.0,
        average_radius=average_radius(kept),
        bits=bits.int().tolist(),
        radii=list(radii),
        accuracies=accuracies(kept, radii),
        radius=packed,
        clean_accuracy=_share(against.clean),
        clean_bits=against.clean.int().tolist(),
        empirical_accuracy=_share(against.empirical),
        empirical_bits=against.empirical.int().tolist(),
        undecided=int((found.abstained & ~against.refuted).sum()),
        refuted=examples.ids[against.refuted].tolist(),
        witnesses=_witnesses(examples, threat, against),
        expected_false=found.expected_false,
        samples=int(found.samples.sum()),
        seconds=found.seconds,
    )


def _witnesses(examples: Examples, threat: Threat, against: _Attacked) -> list[Witness]:
    """The first few inputs that refute a certificate, as they were judged."""
    kept = []
    for row in against.refuted.nonzero().squeeze(1).tolist()[:MOST_WITNESSES]:
        point = against.points[row]
        distance = float(threat.distance(examples.x[row : row + 1], point[None]))
        data = base64.b64encode(point.cpu().numpy().astype("<f4").tobytes()).decode("ascii")
        kept.append(Witness(example=int(examples.ids[row]), distance=distance, points=data))
    return kept


def _share(bits: Tensor) -> float:
    return float(bits.double().mean()) if len(bits) else 0.0
