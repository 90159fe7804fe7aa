"""Machines that cannot do their work take none: no entry pays for a worker whose storage, data or sandbox is broken.

A machine is held back when a check of itself fails, or when it failed three times in a row at tasks that have no entry in
common. What it failed at goes back unspent. It takes work again once its self-check passes. Where only a challenge's data is
missing, only that challenge is left to others.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.db.models.functions import Now

from arena.challenges.models import Challenge
from arena.jobs import leases, self_check
from arena.jobs.judges import judge_named
from arena.jobs.leases import Lease
from arena.jobs.models import Misfortune, Quarantine
from evaluator.records.report import PlatformFailed

logger = logging.getLogger(__name__)
FAILURES = 3
CHECK_SECONDS = 30.0  # between two checks of a machine that is held back
_LONGEST_SECONDS = 600.0  # before the next try, when checks pass and work fails nevertheless
_LOST = timedelta(hours=1)  # a machine that did not check itself for so long is gone


@dataclass(frozen=True)
class Held:
    """What this machine must not take now: everything, or what belongs to these challenges."""

    everything: bool
    challenges: frozenset[int]


def held() -> Held:
    """What is held back on this machine; checks first whether that is over, when it is time to."""
    rows = Quarantine.objects.filter(machine=settings.REDOUBT_MACHINE)
    if rows.filter(check_after__lte=Now()).exists():
        _check_again()
    challenges = set(rows.values_list("challenge", flat=True))
    return Held(None in challenges, frozenset(pk for pk in challenges if pk is not None))


def check_at_start() -> None:
    """A machine that starts, perhaps mended, checks itself before it takes anything."""
    Quarantine.objects.filter(machine=settings.REDOUBT_MACHINE).update(check_after=Now())
    if why := self_check.places():
        _hold(None, why, seconds=CHECK_SECONDS)


def succeeded() -> None:
    """Something went as it should: what failed before was not this machine's fault."""
    Misfortune.objects.filter(machine=settings.REDOUBT_MACHINE).delete()


def is_ours(lease: Lease, failure: PlatformFailed) -> bool:
    """Whether this machine is to blame for a failure of the platform, and not the task; it is then held back."""
    if why := self_check.machine():
        _hold(None, why, seconds=CHECK_SECONDS)
        return True
    if failure.reason == "data":
        challenge = Challenge.objects.get(pk=lease.challenge_id)
        if why := self_check.data(challenge):
            _hold(challenge, why, seconds=CHECK_SECONDS)
            return True
    return _one_too_many(lease, failure)


def forget_lost_machines() -> None:
    """Removes what is known of machines that no longer check themselves."""
    Quarantine.objects.filter(check_after__lt=Now() - _LOST).delete()


def _one_too_many(lease: Lease, failure: PlatformFailed) -> bool:
    """Failures in a row, of whichever process, that no entry can be to blame for, since none is common to all of them."""
    machine = settings.REDOUBT_MACHINE
    Misfortune.objects.create(machine=machine, shard_id=lease.shard_id)
    failed = Misfortune.objects.filter(machine=machine).exclude(shard=None)
    recent = list(failed.select_related("shard__trial").order_by("-pk")[:FAILURES])
    if len(recent) < FAILURES or frozenset.intersection(*(_entries(each) for each in recent)):
        return False
    for shard in failed.exclude(shard=lease.shard_id).values_list("shard", flat=True):
        leases.refund(shard)
    failed.delete()
    spells = Misfortune.objects.filter(machine=machine, shard=None).count()
    Misfortune.objects.create(machine=machine)
    why = f"It failed {FAILURES} times in a row at entries that have nothing in common: {failure.detail}"
    _hold(None, why, seconds=min(_LONGEST_SECONDS, 2 * CHECK_SECONDS * 2**spells))
    return True


def _entries(failed: Misfortune) -> frozenset[int]:
    assert failed.shard is not None
    return judge_named(failed.shard.trial.judge).entries(failed.shard.trial_id)


def _hold(challenge: Challenge | None, why: str, *, seconds: float) -> None:
    what = challenge.slug if challenge else "anything"
    logger.error("machine %s takes nothing of %s until a check passes: %s", settings.REDOUBT_MACHINE, what, why)
    Quarantine.objects.update_or_create(
        machine=settings.REDOUBT_MACHINE,
        challenge=challenge,
        defaults={"reason": why, "check_after": Now() + timedelta(seconds=seconds)},
    )


def _check_again() -> None:
    for row in Quarantine.objects.filter(machine=settings.REDOUBT_MACHINE, check_after__lte=Now()).select_related("challenge"):
        mine = Quarantine.objects.filter(pk=row.pk, check_after__lte=Now())
        if not mine.update(check_after=Now() + timedelta(seconds=CHECK_SECONDS)):
            continue  # another process of this machine does it
        why = self_check.machine() if row.challenge is None else self_check.data(row.challenge)
        if why:
            Quarantine.objects.filter(pk=row.pk).update(reason=why)
            logger.error("machine %s is still held back: %s", row.machine, why)
        else:
            Quarantine.objects.filter(pk=row.pk).delete()
            logger.warning("machine %s takes work again: its self-check passed", row.machine)
