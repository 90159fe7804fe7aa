"""Settings of worker processes in tests: the embedded installation with a judge that needs no torch."""

from __future__ import annotations

from arena.settings.embedded import *  # noqa: F403

REDOUBT_RUNNER = "tests.web.backend_support.slow_fake_judge"
