"""A season for looking at pages: entries in every state, on a database of tests. The figures are made up; no product code
uses them.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.core.files.base import ContentFile
from django.utils import timezone

from arena.accounts.models import Team, User
from arena.accounts.services import make_team
from arena.challenges.models import Challenge
from arena.challenges.services import bump, publish
from arena.evaluations.models import Evaluation
from arena.jobs.models import Shard
from arena.leaderboards.services import record_standing
from arena.submissions.models import Submission
from evaluator.manifests.spec import Challenge as Manifest
from evaluator.manifests.spec import Pack
from evaluator.records.intervals import clopper_pearson
from evaluator.records.report import AttackRecord, Digests, Environment, Flag, Report

PASSWORD = "correct horse battery"
ATTACKS = ("FGSM", "PGD-20, cross-entropy", "PGD-40, margin", "PGD-100, margin, 2 restarts")
README = """# MNIST, Linf 0.3

Perturb each pixel by at most **0.3**. The images are the first 1,000 of the test set.

## What counts

1. The defense is asked for logits, and for nothing else.
2. Every adversarial input is checked in float64 and shown to a fresh copy.

| split | images |
|---|--:|
| test | 1,000 |

<script>alert("raw HTML is shown as text")</script> and [a bad link](javascript:alert(1)).
"""


@dataclass(frozen=True)
class Made:
    """One entry with the evaluation that stands for it."""

    submission: Submission
    evaluation: Evaluation


def make_challenge(slug: str = "mnist-linf", *, examples: int = 1000, **changes: Any) -> Challenge:
    """Publishes a challenge; `changes` replace tables of its manifest."""
    table = {
        "title": "MNIST, L∞ 0.3",
        "summary": "White-box attacks on digit classifiers, at the radius of the MNIST challenge of Madry et al.",
        "data": {"dataset": "mnist", "examples": examples},
        "threat": {"kind": "linf", "epsilon": 0.3},
        "published": {
            "title": "Madry et al., MNIST challenge, secret model",
            "url": "https://github.com/MadryLab/mnist_challenge",
            "rows": [
                {"attack": "Guided local attack", "by": "Siyuan Yi", "accuracy": 88.00, "date": "2021-08-30"},
                {"attack": "100-step PGD, cross-entropy", "accuracy": 92.52},
            ],
        },
    }
    challenge = publish(pack=Pack(slug=slug, folder=None, challenge=Manifest.model_validate(table | changes), digest="c" * 64))
    Challenge.objects.filter(pk=challenge.challenge.pk).update(readme=README)
    challenge.challenge.refresh_from_db()
    return challenge.challenge


def make_user(name: str = "alice", *, staff: bool = False) -> User:
    """A person with a personal team and the password PASSWORD."""
    user = User.objects.create_user(name, f"{name}@example.org", PASSWORD, is_staff=staff)
    make_team(user=user, name=name, personal=True)
    return user


def make_entry(challenge: Challenge, team: Team, name: str, *, state: str = "queued", **fields: Any) -> Made:
    """An entry in any state but completed; `fields` are those of its evaluation."""
    submission = Submission(
        challenge=challenge,
        team=team,
        name=name,
        manifest={"name": name, "format": "python", "entry": "defense.py"},
        digest=random.Random(name).randbytes(32).hex(),
        size=1000,
    )
    submission.archive.save("archive.zip", ContentFile(b"not read by pages"), save=False)
    submission.save()
    evaluation = Evaluation.objects.create(
        judge=Evaluation.JUDGE,
        challenge=challenge,
        team=team,
        submission=submission,
        pack=challenge.pack.model_dump(mode="json"),
        rules_digest=challenge.rules_digest,
        state=state,
        examples=challenge.spec.data.examples,
        **fields,
    )
    Shard.objects.create(trial=evaluation, index=0, start=0, stop=evaluation.examples)
    return Made(submission, evaluation)


def run(made: Made, **progress: Any) -> Made:
    """Puts a worker on a queued entry, `progress` far."""
    defaults = {"stage": "attacking", "attack": ATTACKS[2], "done": 0, "total": made.evaluation.examples, "survivors": 0}
    Evaluation.objects.filter(pk=made.evaluation.pk).update(state="running", started=timezone.now() - timedelta(seconds=40))
    made.evaluation.shards.update(state="leased", lease_owner="w", progress=defaults | progress)
    made.evaluation.refresh_from_db()
    return made


def complete(made: Made, *, clean: float, left: tuple[float, ...], certified: float | None = None, flags: Any = ()) -> Made:
    """Gives a queued entry its verdict. left: accuracy after each of ATTACKS."""
    report = _report(made, clean, left, certified, [Flag.model_validate(flag) for flag in flags])
    now = timezone.now()
    evaluation = made.evaluation
    evaluation.state, evaluation.report, evaluation.finished = Evaluation.State.COMPLETED, report.model_dump(mode="json"), now
    evaluation.interval_low, evaluation.interval_high = report.robust_interval
    evaluation.flags = [flag.model_dump() for flag in report.flags]
    for name in (
        "clean_accuracy",
        "robust_accuracy",
        "certified_accuracy",
        "verified",
        "forward_rows",
        "backward_rows",
        "seconds",
    ):
        setattr(evaluation, name, getattr(report, name))
    evaluation.save()
    evaluation.shards.update(state="done", log="loaded 1,663,370 parameters\n")
    record_standing(evaluation=evaluation, robust_accuracy=report.robust_accuracy, at=now)
    return made


def _report(made: Made, clean: float, left: tuple[float, ...], certified: float | None, flags: list[Flag]) -> Report:
    n = made.evaluation.examples
    counts = [round(share * n) for share in (clean, *left)]
    attacks = [
        AttackRecord(
            name=name,
            tried=before,
            broken=before - after,
            survivors=after,
            forward_rows=(40 * index + 2) * before,
            backward_rows=40 * index * before,
            seconds=2.5 * index + 0.4,
        )
        for index, (name, before, after) in enumerate(zip(ATTACKS, counts, counts[1:], strict=False))
    ]
    bits = [int(index < counts[-1]) for index in range(n)]
    return Report(
        challenge=made.submission.challenge.slug,
        submission=made.submission.name,
        examples=n,
        ids=list(range(n)),
        clean_accuracy=counts[0] / n,
        robust_accuracy=counts[-1] / n,
        robust_interval=clopper_pearson(counts[-1], n),
        certified_accuracy=certified,
        correct_bits=[int(index < counts[0]) for index in range(n)],
        robust_bits=bits,
        certified_bits=[int(index < round((certified or 0) * n)) for index in range(n)],
        broken_by=[-1] * n,
        attacks=attacks,
        flags=flags,
        verified=not any(flag.severity == "unverified" for flag in flags),
        seed=made.evaluation.seed,
        forward_rows=sum(item.forward_rows for item in attacks),
        backward_rows=sum(item.backward_rows for item in attacks),
        seconds=sum(item.seconds for item in attacks),
        digests=Digests(submission=made.submission.digest, pack="c" * 64, data="d" * 64),
        environment=Environment(
            evaluator="0.1.0", torch="2.13.0", python="3.11", device="cpu", threads=1, lane="host", sandbox="bubblewrap",
            enforced=["network", "filesystem"],
        ),
    )  # fmt: skip


def make_season() -> dict[str, Made]:
    """Two challenges and entries in every state, by name."""
    linf = make_challenge()
    make_challenge("mnist-l2", title="MNIST, L2 2.0", summary="", threat={"kind": "l2", "epsilon": 2.0}, published=None)
    alice = make_user("alice")
    own = alice.teams.get()
    alpine = make_team(user=alice, name="Alpine Robust")
    prague = make_team(user=make_user("bob"), name="Prague Verify")
    made = {
        "trades": complete(make_entry(linf, alpine, "Wide CNN, TRADES"), clean=0.995, left=(0.968, 0.94, 0.931, 0.926)),
        "ibp": complete(
            make_entry(linf, prague, "IBP small"), clean=0.971, left=(0.92, 0.901, 0.894, 0.89), certified=0.864
        ),
        "pgd": complete(make_entry(linf, own, "PGD-40 CNN"), clean=0.984, left=(0.95, 0.92, 0.899, 0.893)),
        "standard": complete(make_entry(linf, own, "Standard CNN"), clean=0.992, left=(0.064, 0.0, 0.0, 0.0)),
        "thermometer": complete(
            make_entry(linf, prague, "Thermometer-16"),
            clean=0.99,
            left=(0.8, 0.7, 0.6, 0.52),
            flags=[
                {
                    "check": "gradient agreement",
                    "severity": "unverified",
                    "evidence": "Gradients are zero on 97 % of the images, and finite differences are not.",
                },
                {"check": "determinism", "severity": "info", "evidence": "Logits agree over 5 repeats."},
            ],
        ),
        "running": run(make_entry(linf, alpine, "Deep ensemble v3"), done=620, survivors=812, seconds_left=41.0),
        "queued": make_entry(linf, prague, "Adversarial vertex mixup"),
        "waiting": make_entry(linf, own, "Patience"),
        "failed": make_entry(
            linf,
            own,
            "NaN at the corners",
            state="submission_failed",
            reason="not-finite",
            detail="logits of batch 3 hold 12 NaN values.",
            finished=timezone.now(),
        ),
        "broken": make_entry(
            linf, own, "Unlucky", state="platform_failed", reason="sandbox", detail="bwrap did not start.",
            finished=timezone.now(),
        ),
        "cancelled": make_entry(linf, own, "Second thoughts", state="cancelled", finished=timezone.now()),
    }  # fmt: skip
    made["failed"].evaluation.shards.update(log="warming up\n<script>alert('logs are text')</script>\n")
    Challenge.objects.filter(pk=linf.pk).update(revision=20)
    return made


def fall(name: str, share: float) -> None:
    """Lowers the robust accuracy of an entry of "mnist-linf", as a new attack will."""
    here = Evaluation.objects.select_related("submission").filter(submission__challenge__slug="mnist-linf", current=True)
    evaluation = here.get(submission__name=name)
    evaluation.robust_accuracy = share
    evaluation.interval_low, evaluation.interval_high = clopper_pearson(round(share * evaluation.examples), evaluation.examples)
    evaluation.save()
    bump(evaluation.submission.challenge_id)
