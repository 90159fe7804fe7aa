"""A certified challenge for looking at pages: what is proven of a few classifiers. The figures are made up."""

from __future__ import annotations

from arena.accounts.models import Team
from arena.challenges.models import Challenge
from arena.leaderboards.services import record_certificate
from arena.matrix import survival
from evaluator.records.certificate_record import accuracies, average_radius, pack_radii, unpack_radii
from evaluator.records.report import CertificateRecord, Report, Witness
from tests.e2e.season import Made, complete, make_challenge, make_entry, make_user, run

RADII = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25)
SLUG = "mnist-certified"


def make_certified_challenge(*, examples: int = 100) -> Challenge:
    """An L2 challenge that ranks by what is proven at 0.5."""
    reference = {"title": "Cohen et al. 2019", "radii": RADII[1:], "accuracy": (61.0, 43.0, 32.0, 22.0, 17.0)}
    return make_challenge(
        SLUG,
        title="MNIST, certified L2",
        examples=examples,
        threat={"kind": "l2", "epsilon": 0.5},
        published=None,
        certified={"radii": RADII, "samples": 2000, "references": (reference,)},
    )


def prove(made: Made, *shares: float, empirical: float, sigma: float | None = 0.5, refuted: int = 0) -> Made:
    """Gives a completed entry a certificate with these shares at RADII; with a sigma it speaks for the smoothed version."""
    n = made.evaluation.examples
    counts = [round(share * n) for share in shares]
    radius = [max((r for r, count in zip(RADII, counts, strict=True) if row < count), default=-1.0) for row in range(n)]
    kept = unpack_radii(pack_radii(radius))
    smoothed = sigma is not None
    record = CertificateRecord(
        method="smoothing" if smoothed else "lipschitz",
        parameters={"sigma": sigma} if sigma is not None else {},
        classifier="smoothed" if smoothed else "itself",
        norm="l2",
        epsilon=0.5,
        accuracy=shares[2],
        average_radius=average_radius(kept),
        bits=[1 if r >= 0.5 else 0 for r in radius],
        radii=list(RADII),
        accuracies=accuracies(kept, RADII),
        radius=pack_radii(radius),
        clean_accuracy=shares[0],
        clean_bits=[1 if row < counts[0] else 0 for row in range(n)],
        empirical_accuracy=empirical,
        empirical_bits=[1 if row < round(empirical * n) else 0 for row in range(n)],
        undecided=n - counts[1],
        refuted=list(range(n - refuted, n)),
        witnesses=[Witness(example=n - 1, distance=0.4, points="")] if refuted else [],
        expected_false=0.001 * n if smoothed else 0.0,
        samples=1500 * n if smoothed else 0,
        seconds=12.0,
    )
    report = Report.model_validate(made.evaluation.report).model_copy(update={"certificate": record})
    made.evaluation.report = report.model_dump(mode="json")
    made.evaluation.save()
    survival.open_survival(made.evaluation, report)
    record_certificate(evaluation=made.evaluation, record=record)
    return made


def make_certified_season(teams: tuple[Team, Team] | None = None) -> dict[str, Made]:
    """Entries with and without certificates, one of them refuted, one in the queue."""
    challenge = make_certified_challenge()
    first, second = teams or (make_user("ada").teams.get(), make_user("bea").teams.get())
    entries = [
        (first, "CNN, trained under noise of 0.5", (0.99, 0.97, 0.95, 0.91, 0.83, 0.62), 0.96, 0.5),
        (second, "CNN, SmoothAdv at 1.0", (0.98, 0.97, 0.95, 0.92, 0.87, 0.74), 0.97, 0.5),
        (second, "1-Lipschitz network of almost-orthogonal layers", (0.97, 0.91, 0.82, 0.66, 0.48, 0.3), 0.9, None),
        (first, "Standard CNN under noise of 0.12", (0.94, 0.71, 0.05, 0.0, 0.0, 0.0), 0.6, 0.12),
    ]
    made = {}
    for team, name, shares, empirical, sigma in entries:
        left = (empirical, empirical, empirical, empirical)
        entry = complete(make_entry(challenge, team, name), clean=shares[0], left=left)
        made[name] = prove(entry, *shares, empirical=empirical, sigma=sigma)
    made["plain"] = complete(make_entry(challenge, first, "PGD-trained CNN"), clean=0.99, left=(0.97, 0.95, 0.94, 0.94))
    refuted = complete(make_entry(challenge, second, "A proof with a bug"), clean=0.98, left=(0.9, 0.8, 0.7, 0.7))
    made["refuted"] = prove(refuted, 0.9, 0.6, 0.6, 0.3, 0.2, 0.1, empirical=0.7, sigma=0.25, refuted=1)
    made["running"] = run(make_entry(challenge, first, "ResNet under noise"), done=40, survivors=70, seconds_left=30.0)
    return made
