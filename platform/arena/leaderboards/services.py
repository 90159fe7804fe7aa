"""What boards remember of each completed evaluation: its standing, and what was proven."""

from __future__ import annotations

from datetime import datetime

from arena.evaluations.models import Evaluation
from arena.leaderboards.models import Certificate, Standing
from evaluator.records.certificate_record import alarm
from evaluator.records.report import CertificateRecord


def record_standing(*, evaluation: Evaluation, robust_accuracy: float, at: datetime) -> Standing:
    """Writes the event of a completed evaluation; writing it twice leaves one."""
    submission = evaluation.submission
    earlier = Standing.objects.filter(submission=submission).exclude(evaluation=evaluation).exists()
    standing, _ = Standing.objects.get_or_create(
        evaluation=evaluation,
        defaults={
            "challenge": submission.challenge,
            "submission": submission,
            "robust_accuracy": robust_accuracy,
            "at": at,
            "cause": Standing.Cause.REEVALUATED if earlier else Standing.Cause.ENTERED,
        },
    )
    return standing


def record_certificate(*, evaluation: Evaluation, record: CertificateRecord | None) -> Certificate | None:
    """Writes what a completed evaluation proved; writing it twice leaves one. None where it asked for no certificate."""
    if record is None or not record.radius or record.clean_accuracy is None or record.empirical_accuracy is None:
        return None
    certificate, _ = Certificate.objects.update_or_create(
        evaluation=evaluation,
        defaults={
            "classifier": record.classifier,
            "method": _words(record),
            "norm": record.norm,
            "epsilon": record.epsilon,
            "radii": record.radii,
            "radius": record.radius,
            "clean_accuracy": record.clean_accuracy,
            "empirical_accuracy": record.empirical_accuracy,
            "undecided": record.undecided,
            "refuted": len(record.refuted),
            "expected_false": record.expected_false,
            "alarm": " ".join(flag.evidence for flag in alarm(record)),
        },
    )
    return certificate


def _words(record: CertificateRecord) -> str:
    """The method with its noise: "smoothing, sigma 0.5"."""
    sigma, noise = record.parameters.get("sigma"), record.parameters.get("noise", "gaussian")
    parts = [record.method, f"sigma {sigma:g}" if sigma is not None else "", "" if noise == "gaussian" else f"{noise} noise"]
    return ", ".join(part for part in parts if part)
