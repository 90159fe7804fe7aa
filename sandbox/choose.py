"""Opens the sandbox that a setting names."""

from __future__ import annotations

from sandbox.base import Sandbox, SandboxError
from sandbox.bubblewrap import BubblewrapSandbox

BACKENDS = ("bubblewrap", "docker")


def open_sandbox(preference: str | None = None) -> Sandbox:
    """The sandbox to use: "bubblewrap", "docker", or "auto" (None is the same) for the first one that works here.

    Raises SandboxError when the one named cannot run jobs here, or none can, saying for each what is missing.
    """
    chosen = preference or "auto"
    if chosen not in ("auto", *BACKENDS):
        raise SandboxError(f"There is no sandbox {chosen!r}: choose auto, {' or '.join(BACKENDS)}.")
    tried: list[str] = []
    for sandbox in all_sandboxes():
        if chosen not in ("auto", sandbox.name):
            continue
        capabilities = sandbox.capabilities()
        if capabilities.available:
            return sandbox
        tried.append(f"{sandbox.name}: {' '.join(capabilities.notes)}")
    raise SandboxError(f"No sandbox can run untrusted code here, so none is run. {' '.join(tried)}")


def all_sandboxes() -> tuple[Sandbox, ...]:
    """Every backend, in the order in which "auto" tries them."""
    from sandbox.docker import DockerSandbox  # the SDK takes a while to import; bubblewrap alone does without

    return BubblewrapSandbox(), DockerSandbox()
