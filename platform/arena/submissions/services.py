"""Accepting and withdrawing submissions."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.core.files import File
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from arena.accounts.limits import hit
from arena.accounts.models import Team, User
from arena.challenges.models import Challenge
from arena.challenges.phases import check_open
from arena.challenges.services import bump
from arena.evaluations.models import Evaluation
from arena.evaluations.services import cancel, enqueue
from arena.matrix import services as matrix
from arena.matrix.models import Trial
from arena.submissions.body_limit import UPLOAD_RATE
from arena.submissions.certificates import check_certificate
from arena.submissions.intake import inspect
from arena.submissions.models import Submission
from evaluator.errors import InputError

DAY = timedelta(days=1)


def submit(*, user: User, team: Team, challenge: Challenge, archive: File[bytes], at_any_time: bool = False) -> Submission:
    """Checks an uploaded .zip or .tar.gz, stores it and queues its evaluation, or the first look at an attack.

    Nothing is unpacked here. at_any_time: for what the site itself enters, which waits for no phase.
    Raises InputError saying what is wrong with the archive, its manifest or the attempt.
    """
    if not at_any_time:
        hit(rate=UPLOAD_RATE, key=str(user.pk))
        check_open(challenge.season)
    _check_quota(team=team, challenge=challenge)
    inspection = inspect(archive)
    attack = inspection.kind == "attack"
    if not attack:
        check_certificate(inspection.manifest, challenge.spec)
    target = matrix.target_of(challenge, inspection.manifest.get("target")) if attack else None
    _check_new(team=team, challenge=challenge, digest=inspection.digest)
    archive.seek(0)
    with transaction.atomic():
        submission = Submission(
            challenge=challenge,
            team=team,
            user=user,
            kind=inspection.kind,
            name=inspection.name,
            manifest=inspection.manifest,
            digest=inspection.digest,
            size=inspection.size,
        )
        submission.archive.save(f"archive{inspection.suffix}", archive, save=False)
        submission.save()
        if target is None:
            enqueue(submission=submission)
        else:
            matrix.receive(submission=submission, target=target)
    return submission


def withdraw(*, submission: Submission) -> None:
    """Takes an entry off the board and stops its evaluation; its results stay on record."""
    with transaction.atomic():
        withdrawn = Submission.objects.filter(pk=submission.pk, withdrawn=None).update(withdrawn=timezone.now())
        if not withdrawn:
            raise InputError("This entry is withdrawn already.", where=submission.public_id)
        for evaluation in submission.evaluations.filter(state__in=Evaluation.UNFINISHED):
            cancel(evaluation=evaluation)
        matrix.cancel_cells(submission=submission)
        bump(submission.challenge_id)


def attempts_left(*, team: Team, challenge: Challenge) -> int:
    """How many submissions the team may still make within a day.

    The platform's own failures do not count, nor attacks that the first look refused.
    """
    ours = Evaluation.objects.filter(current=True, state=Evaluation.State.PLATFORM_FAILED)
    recent = Submission.objects.filter(team=team, challenge=challenge, created__gt=timezone.now() - DAY)
    per_day: int = settings.REDOUBT_SUBMISSIONS_PER_DAY
    free = (Trial.Verdict.REFUSED, Trial.Verdict.PLATFORM_FAILED)
    counted = recent.exclude(pk__in=ours.values("submission")).exclude(
        pk__in=Trial.objects.filter(verdict__in=free).values("submission")
    )
    return max(0, per_day - counted.count())


def _check_quota(*, team: Team, challenge: Challenge) -> None:
    if attempts_left(team=team, challenge=challenge) == 0:
        raise InputError(
            f"Your team made {settings.REDOUBT_SUBMISSIONS_PER_DAY} submissions to this challenge within a day.",
            where="team",
            help="Try again later; failures of the platform do not count.",
        )


def _check_new(*, team: Team, challenge: Challenge, digest: str) -> None:
    """An archive is judged once: a second try with another seed would only be fishing for luck."""
    judged = (*Evaluation.UNFINISHED, Evaluation.State.COMPLETED)
    mine = Submission.objects.filter(team=team, challenge=challenge, digest=digest)
    played = Q(trial__verdict__in=["", Trial.Verdict.ACCEPTED])
    earlier = mine.filter(Q(evaluations__current=True, evaluations__state__in=judged) | played).first()
    if earlier is not None:
        raise InputError(
            f"Your team entered exactly this archive before, as {earlier.public_id}.",
            where="archive",
            help="An entry is judged once; change it, or ask an organiser for a re-evaluation.",
        )
