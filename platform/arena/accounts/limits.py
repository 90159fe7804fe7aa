"""Rate limits for what a stranger may try: counters in the cache, in fixed windows."""

from __future__ import annotations

import hashlib
import time

from django.conf import settings
from django.core.cache import cache
from django.http import HttpRequest

from evaluator.errors import RedoubtError


class RateLimited(RedoubtError):
    """Too many tries. `seconds`: how long until the next one is allowed."""

    def __init__(self, what: str, *, seconds: int) -> None:
        super().__init__(what, help=f"Try again in {seconds} seconds.")
        self.seconds = seconds


def hit(*, rate: str, key: str) -> None:
    """Counts one try of `key` against the rate of that name in settings.REDOUBT_RATES. Raises RateLimited when over it."""
    limit, seconds = settings.REDOUBT_RATES[rate]
    window, passed = divmod(int(time.time()), seconds)
    name = f"rate:{hashlib.sha256(f'{rate}:{key}:{window}'.encode()).hexdigest()}"
    cache.add(name, 0, timeout=seconds)
    try:
        count = cache.incr(name)
    except ValueError:  # it expired between the two calls
        return
    if count > limit:
        raise RateLimited(f"That was tried more than {limit} times in a short while.", seconds=seconds - passed)


def client_address(request: HttpRequest) -> str:
    """The client's address; X-Forwarded-For is believed only as far as our own proxies wrote it."""
    proxies = int(str(settings.REST_FRAMEWORK["NUM_PROXIES"]))
    forwarded = [part.strip() for part in request.headers.get("X-Forwarded-For", "").split(",") if part.strip()]
    if proxies and forwarded:
        return forwarded[-min(proxies, len(forwarded))]
    return str(request.META.get("REMOTE_ADDR", ""))
