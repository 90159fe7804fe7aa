"""Removes what crashed processes of this machine left behind: run by every worker when it starts and now and then."""

from __future__ import annotations

import logging

from arena.evaluations.judging import configured_sandbox
from sandbox import SandboxError

logger = logging.getLogger(__name__)


def tidy() -> None:
    """Safe at any time, beside any number of other workers. What cannot be removed now is logged and tried again next time."""
    from sandbox.docker import DockerSettings
    from sandbox.janitor import janitor

    engine = DockerSettings() if configured_sandbox().name == "docker" else None
    try:
        removed = janitor(engine)
    except (SandboxError, OSError):
        logger.exception("leftovers of crashed processes could not be removed")
        return
    for what in removed:
        logger.warning("removed the %s of a process that crashed", what)
