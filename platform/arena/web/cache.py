"""The shared cache, and what stands in for it while Redis does not answer: pages and log-ins do not wait for a cache.

Rate limits are then counted in each process by itself: wider by the number of processes, and there.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from django.core.cache.backends.locmem import LocMemCache
from django.core.cache.backends.redis import RedisCache
from redis.exceptions import RedisError

logger = logging.getLogger(__name__)
_QUIET_SECONDS = 10.0  # without another question to a Redis that did not answer the last one


class SurvivingRedisCache(RedisCache):
    """Django's cache in Redis; this process's memory stands in for it for ten seconds after a failure."""

    def __init__(self, server: str, params: dict[str, Any]) -> None:
        super().__init__(server, params)
        self._memory = LocMemCache("while-redis-is-down", {**params, "OPTIONS": {}})

    def add(self, *args: Any, **options: Any) -> Any:
        return self._ask("add", args, options)

    def get(self, *args: Any, **options: Any) -> Any:
        return self._ask("get", args, options)

    def set(self, *args: Any, **options: Any) -> Any:
        return self._ask("set", args, options)

    def touch(self, *args: Any, **options: Any) -> Any:
        return self._ask("touch", args, options)

    def delete(self, *args: Any, **options: Any) -> Any:
        return self._ask("delete", args, options)

    def get_many(self, *args: Any, **options: Any) -> Any:
        return self._ask("get_many", args, options)

    def set_many(self, *args: Any, **options: Any) -> Any:
        return self._ask("set_many", args, options)

    def delete_many(self, *args: Any, **options: Any) -> Any:
        return self._ask("delete_many", args, options)

    def has_key(self, *args: Any, **options: Any) -> Any:
        return self._ask("has_key", args, options)

    def incr(self, *args: Any, **options: Any) -> Any:
        return self._ask("incr", args, options)

    def clear(self) -> Any:
        return self._ask("clear", (), {})

    def _ask(self, method: str, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        if time.monotonic() >= _Down.until:
            answer: Callable[..., Any] = getattr(super(), method)
            try:
                return answer(*args, **options)
            except (RedisError, OSError) as error:
                _Down.until = time.monotonic() + _QUIET_SECONDS
                logger.warning("Redis does not answer (%s); this process counts for itself meanwhile.", error)
        return getattr(self._memory, method)(*args, **options)


class _Down:
    """Shared by all threads, each of which has a cache object of its own."""

    until = 0.0
