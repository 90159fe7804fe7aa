"""Certified boards as pages: columns of radii, the figure of all curves, and the table behind it."""

from __future__ import annotations

from dataclasses import dataclass
from string import ascii_uppercase

from django.utils.safestring import SafeString

from arena.evaluations.models import Evaluation
from arena.leaderboards.certified import figures_of
from arena.leaderboards.queries import Board, Row
from arena.web import svg
from arena.web.svg import Bracket, ProofCurve
from evaluator.manifests.certificate_specs import CertifiedSpec
from evaluator.manifests.threat_specs import threat_kinds
from evaluator.records.certificate_record import alarm as alarm_of
from evaluator.records.report import CertificateRecord

MOST_LINES = 6  # entries in the figure; the table has them all


@dataclass(frozen=True)
class ProofFigure:
    """The drawing, its radii, and one line of the table per curve: key, name, whether published, shares or None."""

    picture: SafeString
    radii: tuple[float, ...]
    rows: list[tuple[str, str, bool, list[float | None]]]


def proof_figure(board: Board, spec: CertifiedSpec, norm: str) -> ProofFigure:
    """Certified accuracy against radius for the best entries, numbered by rank, and for published curves, lettered."""
    lines = [_of(row) for row in board.ranked[:MOST_LINES] if row.certificate is not None]
    for letter, reference in zip(ascii_uppercase, spec.references, strict=False):
        points = tuple((radius, share / 100) for radius, share in zip(reference.radii, reference.accuracy, strict=True))
        lines.append(ProofCurve(letter, reference.title, points, published=True))
    radii = tuple(sorted({radius for line in lines for radius, _ in line.points}))
    rows = [(line.key, line.name, line.published, [dict(line.points).get(radius) for radius in radii]) for line in lines]
    return ProofFigure(svg.proof_curves(lines, norm=norm), radii, rows)


@dataclass(frozen=True)
class ProofSection:
    """What an entry's page says of its certificate. shares: (radius, share proven) pairs; picture: their curve."""

    record: CertificateRecord
    bracket: Bracket | None
    shares: list[tuple[float, float]]
    picture: SafeString
    alarm: str
    method: str

    @property
    def norm(self) -> str:
        """The norm as people write it."""
        return threat_kinds()[self.record.norm].norm


def proof_section(evaluation: Evaluation) -> ProofSection | None:
    """The certificate of a completed evaluation; None where none was asked for."""
    table = (evaluation.report or {}).get("certificate")
    if table is None:
        return None
    record = CertificateRecord.model_validate(table)
    figures = figures_of([evaluation]).get(evaluation.pk)
    if figures is None:  # a report from before every radius was kept
        alarm, method = " ".join(flag.evidence for flag in alarm_of(record)), record.method
        return ProofSection(record, None, [(record.epsilon, record.accuracy)], SafeString(""), alarm, method)
    shares = list(zip(figures.radii, figures.accuracies, strict=True))
    bracket = Bracket(
        figures.empirical_accuracy,
        (figures.interval_low, figures.interval_high),
        figures.clean_accuracy,
        figures.accuracy,
    )
    curve = ProofCurve("", figures.method, tuple(shares))
    picture = svg.proof_curves([curve], norm=threat_kinds()[record.norm].norm)
    return ProofSection(record, bracket, shares, picture, figures.alarm, figures.method)


def _of(row: Row) -> ProofCurve:
    assert row.certificate is not None
    points = tuple(zip(row.certificate.radii, row.certificate.accuracies, strict=True))
    return ProofCurve(str(row.rank), f"{row.name} ({row.certificate.method})", points)
