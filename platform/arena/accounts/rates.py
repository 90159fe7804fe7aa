"""Rate limits for what a stranger may try: counters in the cache, in fixed windows, by the address that asks."""

from __future__ import annotations

import hashlib
import time
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from django.conf import settings
from django.core.cache import cache
from django.http import HttpRequest

from evaluator.errors import RedoubtError

Address = IPv4Address | IPv6Address
WRONG_TOKENS = "wrong tokens from one address"
_SITE_BITS = 64  # of an IPv6 address: one subscriber has all that follows


class RateLimited(RedoubtError):
    """Too many tries. `seconds`: how long until the next one is allowed."""

    def __init__(self, what: str, *, seconds: int) -> None:
        super().__init__(what, help=f"Try again in {seconds} seconds.")
        self.seconds = seconds


def hit(*, rate: str, key: str) -> None:
    """Counts one try of `key` against the rate of that name in settings.REDOUBT_RATES. Raises RateLimited when over it."""
    limit, seconds = settings.REDOUBT_RATES[rate]
    name, left = _window(rate, key, seconds)
    cache.add(name, 0, timeout=seconds)
    try:
        count = cache.incr(name)
    except ValueError:  # it expired between the two calls
        return
    if count > limit:
        raise _limited(limit, left)


def check(*, rate: str, key: str) -> None:
    """Raises RateLimited when the next `hit` would; counts nothing."""
    limit, seconds = settings.REDOUBT_RATES[rate]
    name, left = _window(rate, key, seconds)
    if cache.get(name, 0) >= limit:
        raise _limited(limit, left)


def _window(rate: str, key: str, seconds: int) -> tuple[str, int]:
    """The counter's name in the cache, and the seconds until its window ends."""
    window, passed = divmod(int(time.time()), seconds)
    return f"rate:{hashlib.sha256(f'{rate}:{key}:{window}'.encode()).hexdigest()}", seconds - passed


def _limited(limit: int, left: int) -> RateLimited:
    return RateLimited(f"That was tried more than {limit} times in a short while.", seconds=left)


def client_address(request: HttpRequest) -> str:
    """Who asks, for rate limits: an IPv4 address, or the first 64 bits of an IPv6 address.

    X-Forwarded-For is believed only where the connection comes from one of settings.REDOUBT_PROXIES (networks. All of them
    when it is None), and only its last settings.REST_FRAMEWORK["NUM_PROXIES"] entries, which our own proxies wrote: whatever
    a client sends stands before those. With fewer entries than proxies the connection's own address counts.
    """
    peer = str(request.META.get("REMOTE_ADDR", ""))
    proxies = int(str(settings.REST_FRAMEWORK["NUM_PROXIES"]))
    if proxies and _is_proxy(peer):
        forwarded = request.headers.get("X-Forwarded-For", "").split(",")
        if len(forwarded) >= proxies and (known := _parsed(forwarded[-proxies])) is not None:
            return _shown(known)
    direct = _parsed(peer)
    return peer if direct is None else _shown(direct)


def _is_proxy(peer: str) -> bool:
    networks: list[str] | None = settings.REDOUBT_PROXIES
    if networks is None:
        return True
    address = _parsed(peer)
    return address is not None and any(address in ip_network(network) for network in networks)


def _parsed(text: str) -> Address | None:
    """An address as proxies write it: some add a port, some put IPv6 in brackets."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _shown(address: Address) -> str:
    if isinstance(address, IPv4Address):
        return str(address)
    return str(ip_network((address, _SITE_BITS), strict=False))
