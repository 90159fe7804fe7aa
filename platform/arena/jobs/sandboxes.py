"""The sandbox of this machine's workers."""

from __future__ import annotations

from django.conf import settings

from sandbox import Sandbox
from sandbox.choose import open_sandbox_or_none


def configured_sandbox() -> Sandbox:
    """The sandbox that settings.REDOUBT_SANDBOX names, or one that refuses all code where there is none."""
    return open_sandbox_or_none(settings.REDOUBT_SANDBOX, wait=True)
