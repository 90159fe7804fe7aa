"""What every worker does with a lease, whatever the task is."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from django.conf import settings
from django.db import DatabaseError, connection

from arena.evaluations import leases, quarantine
from arena.evaluations.keeper import Keeper
from arena.evaluations.leases import Lease
from arena.running.outcomes import UNAVAILABLE
from arena.submissions.intake import sha256, unpack
from arena.submissions.models import Submission
from evaluator.errors import Cancelled, InputError, PlatformError, SubmissionError
from evaluator.records.report import PlatformFailed, SubmissionReason

logger = logging.getLogger(__name__)
Outcome = TypeVar("Outcome")


def carry_out(
    lease: Lease,
    *,
    work: Callable[[Keeper], Outcome],
    finish: Callable[[Outcome, str], bool],
    settle: Callable[[], object],
) -> None:
    """Does the work of a lease and stores what came of it.

    work: may raise Cancelled, after which the task is given back, as it is when the database fails; any other error of our own
    is the platform's failure, which is tried again later and counts against the task unless this machine is to blame. finish:
    given the outcome and the log, False when the lease is lost. settle: called once the outcome is stored.
    """
    outcome: Outcome | PlatformFailed | None
    with Keeper(lease) as keeper:
        try:
            outcome = work(keeper)
        except Cancelled:
            outcome = None
        except DatabaseError:
            logger.exception("the database failed during %s", lease)
            connection.close()
            outcome = None
        except PlatformError as error:
            outcome = PlatformFailed(error.reason, str(error))
        except Exception as error:
            logger.exception("working on %s failed", lease)
            outcome = PlatformFailed("internal", f"{type(error).__name__}: {error}")
    if isinstance(outcome, PlatformFailed) and outcome.reason == UNAVAILABLE:
        logger.warning("%s waits until its sandbox answers: %s", lease, outcome.detail)
        outcome = None
    if outcome is None:
        leases.give_back(lease)
        return
    if isinstance(outcome, PlatformFailed):
        if quarantine.is_ours(lease, outcome):
            logger.error("%s is returned and costs no attempt, since this machine was at fault: %s", lease, outcome.detail)
            leases.give_back_later(lease, seconds=settings.REDOUBT_RETRY_SECONDS)
            return
        held = leases.retry_later(lease, outcome, log=keeper.log)
    else:
        quarantine.succeeded()
        held = finish(outcome, keeper.log)
    if held:
        settle()
    else:
        logger.warning("the outcome of %s came after its lease was lost; it is dropped", lease)


def unpack_submission(submission: Submission, folder: Path) -> None:
    """Writes a stored submission's files to the empty `folder`.

    Raises PlatformError for a damaged archive and SubmissionError for one that today's limits refuse.
    """
    with submission.archive.open("rb") as archive:
        if sha256(archive) != submission.digest:
            raise PlatformError("storage", "The stored archive is not the one that was submitted.")
        try:
            unpack(archive, folder)
        except InputError as error:  # accepted under older, wider limits
            raise SubmissionError(SubmissionReason.MANIFEST, str(error)) from error
