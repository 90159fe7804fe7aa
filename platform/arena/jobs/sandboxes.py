"""The sandbox of this machine's workers."""

from __future__ import annotations

from django.conf import settings

from sandbox import Sandbox, SandboxError, open_sandbox
from sandbox.none import NoSandbox


def configured_sandbox() -> Sandbox:
    """The sandbox that settings.REDOUBT_SANDBOX names, or one that refuses all code where there is none."""
    try:
        return open_sandbox(settings.REDOUBT_SANDBOX)
    except SandboxError as error:
        # One that the settings name is awaited; where any would do and there is none, entries with code are refused.
        return NoSandbox(str(error), awaited=settings.REDOUBT_SANDBOX not in (None, "auto"))
