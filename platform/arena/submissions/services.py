"""Accepting and withdrawing submissions."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.core.files import File
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from arena.accounts.models import Team, User
from arena.accounts.rates import hit
from arena.challenges.models import Challenge
from arena.challenges.phases import check_open
from arena.challenges.services import bump
from arena.serving.body_limit import UPLOAD_RATE
from arena.submissions import events
from arena.submissions.architectures import check_architecture
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
    if inspection.kind == "defense":
        check_certificate(inspection.manifest, challenge.spec)
        check_architecture(inspection, challenge.spec)
    events.offered.send(Submission, challenge=challenge, kind=inspection.kind, manifest=inspection.manifest)
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
        events.entered.send(Submission, submission=submission)
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
        events.withdrawn.send(Submission, submission=submission)
        bump(submission.challenge_id)


def attempts_left(*, user: User, team: Team, challenge: Challenge) -> int:
    """How many submissions the person may still make for the team within a day: of the team, and of the person in all teams.

    Only those who enter are counted: anybody can be made a member of a team without being asked, and must lose nothing by it.
    The platform's own failures do not count, nor attacks that the first look refused.
    """
    counted = Submission.objects.filter(challenge=challenge, created__gt=timezone.now() - DAY)
    for free in events.answers(events.uncounted):
        counted = counted.exclude(pk__in=free)
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
    mine = Submission.objects.filter(
        Q(team=submission.team) | Q(user=submission.user),
        Q(contents=submission.contents) | Q(digest=submission.digest),
        challenge=submission.challenge,
    )
    judged = Q(pk__in=[])
    for keys in events.answers(events.judged):
        judged |= Q(pk__in=keys)
    earlier = mine.filter(judged).first()
    if earlier is not None:
        raise InputError(
            f"Exactly these files were entered before, as {earlier.public_id}.",
            where="archive",
            help="An entry is judged once; change it, or ask an organiser for a re-evaluation.",
        )
