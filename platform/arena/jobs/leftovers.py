"""Removes what crashed processes left behind: run by every worker when it starts and now and then."""

from __future__ import annotations

import logging

from arena.jobs.sandboxes import configured_sandbox
from arena.jobs.unnamed_files import sweep_unnamed
from sandbox import SandboxError

logger = logging.getLogger(__name__)


def sweep_leftovers() -> None:
    """This machine's leftovers and the site's. Safe at any time, beside any number of other workers.

    What cannot be removed now is logged and tried again next time.
    """
    sweep_machine()
    sweep_storage()


def sweep_machine() -> None:
    """What processes of this machine left: folders, control groups and, where this one may use the engine, containers."""
    from sandbox.docker.sandbox import DockerSettings
    from sandbox.sweeping import sweep

    engine = DockerSettings() if configured_sandbox().name == "docker" else None
    try:
        removed = sweep(engine)
    except (SandboxError, OSError):
        logger.exception("leftovers of crashed processes could not be removed")
    else:
        for what in removed:
            logger.warning("removed the %s of a process that crashed", what)


def sweep_storage() -> None:
    """The same for stored files, which are the whole site's and not one machine's."""
    try:
        removed = sweep_unnamed()
    except Exception:  # each storage has errors of its own; what matters is that the work goes on
        logger.exception("stored files that no row names could not be removed")
        return
    for name in removed:
        logger.warning("removed the stored file %s, which no row names", name)
