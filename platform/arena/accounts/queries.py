"""Reads about people, teams and tokens."""

from __future__ import annotations

from datetime import timedelta

from django.db.models import Count, Q, QuerySet
from django.utils import timezone

from arena.accounts.models import ApiToken, Team, User
from arena.accounts.services import digest_of

LAST_USED_STEP = timedelta(minutes=1)


def teams_of(user: User) -> QuerySet[Team]:
    """The person's teams, the personal one first."""
    return Team.objects.filter(members=user).order_by("-personal", "name")


def tokens_of(user: User) -> QuerySet[ApiToken]:
    """The person's API tokens, newest first."""
    return ApiToken.objects.filter(user=user)


def user_of_token(secret: str) -> User | None:
    """Whose token this is; None when it is unknown or the account is disabled. Notes the use, at most once a minute."""
    token = ApiToken.objects.select_related("user").filter(digest=digest_of(secret), user__is_active=True).first()
    if token is None:
        return None
    now = timezone.now()
    stale = Q(last_used=None) | Q(last_used__lt=now - LAST_USED_STEP)
    if token.last_used is None or token.last_used < now - LAST_USED_STEP:
        ApiToken.objects.filter(stale, pk=token.pk).update(last_used=now)
    return token.user


def with_counts() -> QuerySet[Team]:
    """Teams that entered something, with `entry_count` (published challenges, not withdrawn) and `member_count`."""
    shown = Q(submissions__withdrawn=None, submissions__challenge__published=True)
    return Team.objects.annotate(
        entry_count=Count("submissions", filter=shown, distinct=True), member_count=Count("members", distinct=True)
    ).filter(entry_count__gt=0)
