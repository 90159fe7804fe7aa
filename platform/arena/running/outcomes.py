"""Outcomes of what nobody's entry is to blame for."""

from __future__ import annotations

import logging

from evaluator.errors import InputError, PlatformError
from evaluator.records.report import PlatformFailed
from sandbox import SandboxError, SandboxUnavailable

logger = logging.getLogger(__name__)

# The reason of a PlatformFailed whose cause passes by itself: the task waits, and the failure is not counted.
UNAVAILABLE = "sandbox-unavailable"


def platform_failed(error: Exception, what: str) -> PlatformFailed:
    """The outcome of a run that ended with what no submission can cause. what: the run, for the log."""
    match error:
        case PlatformError():
            return PlatformFailed(error.reason, str(error))
        case SandboxUnavailable():
            return PlatformFailed(UNAVAILABLE, str(error))
        case SandboxError():
            return PlatformFailed("sandbox", str(error))
        case InputError():
            return PlatformFailed("pack", str(error))
    logger.error("%s failed", what, exc_info=error)
    return PlatformFailed("internal", f"{type(error).__name__}: {error}")
