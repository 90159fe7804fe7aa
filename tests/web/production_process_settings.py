"""Settings of production processes in tests: PostgreSQL, Redis and Celery for real, a judge that needs no torch."""

from __future__ import annotations

from arena.settings.production import *  # noqa: F403
from arena.settings.production import env

REDOUBT_RUNNER = "tests.web.backend_support.slow_fake_judge"
REDOUBT_QUEUE = env.str("REDOUBT_TEST_QUEUE", default="celery")
CELERY_BROKER_URL = env.str("REDOUBT_TEST_BROKER", default=env.str("REDIS_URL"))
