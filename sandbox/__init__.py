"""Runs an untrusted command with limits, read-only inputs, no network and one duplex byte stream.

Knows no torch, no Django and nothing of Redoubt; it could serve another project as it is.
"""

from sandbox.base import (
    Capabilities,
    Enforcement,
    Exit,
    Job,
    Limits,
    Mount,
    Running,
    Sandbox,
    SandboxError,
    SandboxUnavailable,
    Stream,
    StreamClosed,
    StreamTimeout,
)
from sandbox.choose import open_sandbox

__all__ = [
    "Capabilities",
    "Enforcement",
    "Exit",
    "Job",
    "Limits",
    "Mount",
    "Running",
    "Sandbox",
    "SandboxError",
    "SandboxUnavailable",
    "Stream",
    "StreamClosed",
    "StreamTimeout",
    "open_sandbox",
]
