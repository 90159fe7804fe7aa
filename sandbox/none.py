"""Where nothing can run untrusted code: entries that are weights alone need no sandbox, all others are refused."""

from __future__ import annotations

from sandbox.base import Capabilities, Job, Running, Sandbox, SandboxError, SandboxUnavailable


class NoSandbox(Sandbox):
    """Refuses every job. why: what is missing; awaited: whether the one that is missing was named and may come back."""

    name = "none"

    def __init__(self, why: str, *, awaited: bool = False) -> None:
        self._why, self._awaited = why, awaited

    def capabilities(self) -> Capabilities:
        return Capabilities(backend=self.name, available=False, promises={}, notes=(self._why,))

    def start(self, job: Job) -> Running:
        raise (SandboxUnavailable if self._awaited else SandboxError)(self._why)

    def ready(self) -> bool:
        return not self._awaited
