"""Gives what was computed just now the date that it has in the season."""

from __future__ import annotations

from datetime import datetime

from django.db import models, transaction
from django.db.models import F

from arena.challenges.models import Challenge
from arena.jobs.models import Shard, Trial
from arena.leaderboards.models import Standing
from arena.matrix.models import Fall
from arena.submissions.models import Submission

_STAMPS: tuple[tuple[type[models.Model], str, tuple[str, ...]], ...] = (
    (Submission, "challenge", ("created",)),
    (Standing, "challenge", ("at",)),
    (Trial, "challenge", ("created", "started", "finished")),
    (Shard, "trial__challenge", ("finished",)),
    (Fall, "challenge", ("at",)),
)


@transaction.atomic
def date_events(challenge: Challenge, *, since: datetime, to: datetime) -> None:
    """Moves every time of the challenge from `since` on, so that `since` becomes `to`; the order stays."""
    for model, path, columns in _STAMPS:
        for column in columns:
            rows = model._default_manager.filter(**{path: challenge, f"{column}__gte": since})
            rows.update(**{column: F(column) + (to - since)})
