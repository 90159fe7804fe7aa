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
from arena.submissions.architectures import check_architecture
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
    if challenge.gone:
        help = "The board stays as it is; an organiser can bring the pack back."
        raise InputError("This challenge takes no entries: its pack is no longer on this site.", where="challenge", help=help)
    if not at_any_time:
        hit(rate=UPLOAD_RATE, key=str(user.pk))
        check_open(challenge.season)
    _check_quota(user=user, team=team, challenge=challenge)  # before the work of looking at it
    inspection = inspect(archive)
    attack = inspection.kind == "attack"
    if not attack:
        check_certificate(inspection.manifest, challenge.spec)
        check_architecture(inspection, challenge.spec)
    target = matrix.target_of(challenge, inspection.manifest.get("target")) if attack else None
    submission = Submission(
        challenge=challenge,
        team=team,
        user=user,
        kind=inspection.kind,
        name=inspection.name,
        manifest=inspection.manifest,
        digest=inspection.digest,
        contents=inspection.contents,
        size=inspection.size,
    )
    archive.seek(0)
    with transaction.atomic():
        _one_after_the_other(user, team)
        _check_quota(user=user, team=team, challenge=challenge)
        _check_new(submission)
        submission.archive.save(f"archive{inspection.suffix}", archive, save=False)
        submission.save()
        if target is None:
            enqueue(submission=submission)
        else:
            matrix.receive(submission=submission, target=target)
    return submission


def _one_after_the_other(user: User, team: Team) -> None:
    """Makes entries of one person, and those of one team, wait for each other until the transaction ends.

    Always in this order, so that no two wait for each other for good. SQLite has one writer at a time anyway.
    """
    User.objects.select_for_update(no_key=True).get(pk=user.pk)
    Team.objects.select_for_update(no_key=True).get(pk=team.pk)


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


def attempts_left(*, user: User, team: Team, challenge: Challenge) -> int:
    """How many submissions the person may still make for the team within a day: of the team, and of the person in all teams.

    Only those who enter are counted: anybody can be made a member of a team without being asked, and must lose nothing by it.
    The platform's own failures do not count, nor attacks that the first look refused.
    """
    ours = Evaluation.objects.filter(current=True, state=Evaluation.State.PLATFORM_FAILED)
    free = Trial.objects.filter(verdict__in=(Trial.Verdict.REFUSED, Trial.Verdict.PLATFORM_FAILED))
    free = free.exclude(reason=matrix.WITHDRAWN)
    recent = Submission.objects.filter(challenge=challenge, created__gt=timezone.now() - DAY)
    counted = recent.exclude(pk__in=ours.values("submission")).exclude(pk__in=free.values("submission"))
    made = max(counted.filter(team=team).count(), counted.filter(user=user).count())
    per_day: int = settings.REDOUBT_SUBMISSIONS_PER_DAY
    return max(0, per_day - made)


def _check_quota(*, user: User, team: Team, challenge: Challenge) -> None:
    if attempts_left(user=user, team=team, challenge=challenge) == 0:
        raise InputError(
            f"You or your team made {settings.REDOUBT_SUBMISSIONS_PER_DAY} submissions to this challenge within a day.",
            where="team",
            help="Try again later; failures of the platform do not count, but entries for your other teams do.",
        )


def _check_new(submission: Submission) -> None:
    """The same files are judged once, however they are packed and for whichever team one enters them."""
    judged = (*Evaluation.UNFINISHED, Evaluation.State.COMPLETED)
    mine = Submission.objects.filter(
        Q(team=submission.team) | Q(user=submission.user),
        Q(contents=submission.contents) | Q(digest=submission.digest),
        challenge=submission.challenge,
    )
    played = Q(trial__verdict__in=["", Trial.Verdict.ACCEPTED])
    earlier = mine.filter(Q(evaluations__current=True, evaluations__state__in=judged) | played).first()
    if earlier is not None:
        raise InputError(
            f"Exactly these files were entered before, as {earlier.public_id}.",
            where="archive",
            help="An entry is judged once; change it, or ask an organiser for a re-evaluation.",
        )
