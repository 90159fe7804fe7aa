"""Certified boards: what is proven ranks, and a smoothed classifier is a row of its own beside the plain one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from arena.evaluations.models import Evaluation
from arena.leaderboards.models import Certificate
from arena.matrix.models import Survival
from arena.rankings.bits import unpack
from evaluator.records.certificate_record import accuracies, average_radius, unpack_radii
from evaluator.records.intervals import clopper_pearson

FALLEN = "{count} certified examples were broken by an attack inside their certified radius; their certificates are void."


@dataclass(frozen=True)
class CertifiedFigures:
    """What is proven of one classifier.

    classifier: the entry "itself" or its "smoothed" version. method: with its noise, for people. accuracies: shares proven
    at the board's radii. average_radius: 0 counts where nothing is proven. undecided, refuted: how many examples.
    expected_false: bound on the expected number of false certificates. alarm: why some certificates are void, or "".
    """

    classifier: str
    method: str
    norm: str
    radii: tuple[float, ...]
    accuracies: tuple[float, ...]
    average_radius: float
    accuracy: float
    clean_accuracy: float
    empirical_accuracy: float
    interval_low: float
    interval_high: float
    undecided: int
    refuted: int
    expected_false: float
    alarm: str = ""


def figures_of(evaluations: Iterable[Evaluation]) -> dict[int, CertifiedFigures]:
    """Evaluation id -> what is proven, for those that asked for a certificate; two queries however many there are.

    A certificate of the entry itself loses every example that an attack broke after the verdict (`Survival`).
    """
    ids = [evaluation.pk for evaluation in evaluations]
    certificates = list(Certificate.objects.filter(evaluation__in=ids))
    own = [item.evaluation_id for item in certificates if item.classifier == Certificate.Classifier.ITSELF]
    standing = dict(Survival.objects.filter(evaluation__in=own).values_list("evaluation_id", "robust")) if own else {}
    return {item.evaluation_id: _figures(item, standing.get(item.evaluation_id)) for item in certificates}


def _figures(certificate: Certificate, robust: bytes | memoryview[int] | None) -> CertifiedFigures:
    radius = unpack_radii(certificate.radius)
    empirical, alarm = certificate.empirical_accuracy, certificate.alarm
    if robust is not None:
        stands = unpack(bytes(robust), len(radius)).astype(bool)
        fallen = (radius >= np.float32(certificate.epsilon) * (1 - 1e-6)) & ~stands
        radius = np.where(fallen, np.float32(-1), radius)
        empirical = float(stands.mean())
        if fallen.any():
            alarm = FALLEN.format(count=int(fallen.sum()))
    low, high = clopper_pearson(round(empirical * len(radius)), len(radius))
    shares = accuracies(radius, [*certificate.radii, certificate.epsilon])
    return CertifiedFigures(
        classifier=certificate.classifier,
        method=certificate.method,
        norm=certificate.norm,
        radii=tuple(certificate.radii),
        accuracies=tuple(shares[:-1]),
        average_radius=average_radius(radius),
        accuracy=shares[-1],
        clean_accuracy=certificate.clean_accuracy,
        empirical_accuracy=empirical,
        interval_low=low,
        interval_high=high,
        undecided=certificate.undecided,
        refuted=certificate.refuted,
        expected_false=certificate.expected_false,
        alarm=alarm,
    )
