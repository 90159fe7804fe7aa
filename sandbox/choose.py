"""Opens the sandbox that a setting names."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sandbox.base import Sandbox, SandboxError
from sandbox.bubblewrap.sandbox import BubblewrapSandbox
from sandbox.launcher.client import LauncherSandbox
from sandbox.none import NoSandbox


def _docker() -> Sandbox:
    # Only where it is asked for: the SDK takes a while to import, and bubblewrap does without it.
    try:
        from sandbox.docker.sandbox import DockerSandbox
    except ImportError as error:
        raise SandboxError(f"the Docker SDK is missing ({error}): pip install docker.") from error
    return DockerSandbox()


# In the order in which "auto" tries them.
BACKENDS: Mapping[str, Callable[[], Sandbox]] = {
    "bubblewrap": BubblewrapSandbox,
    "docker": _docker,
    "launcher": LauncherSandbox,
}


def open_sandbox(preference: str | None = None) -> Sandbox:
    """The sandbox to use: "bubblewrap", "docker", "launcher", or "auto" (None is the same) for the first one that works here.

    Raises SandboxError when the one named cannot run jobs here, or none can, saying for each what is missing.
    """
    chosen = preference or "auto"
    if chosen not in ("auto", *BACKENDS):
        raise SandboxError(f"There is no sandbox {chosen!r}: choose auto, {' or '.join(BACKENDS)}.")
    missing: list[str] = []
    for name, make in BACKENDS.items():
        if chosen in ("auto", name):
            try:
                sandbox = make()
                capabilities = sandbox.capabilities()
                if capabilities.available:
                    return sandbox
                missing.append(f"{name}: {' '.join(capabilities.notes)}")
            except SandboxError as error:
                missing.append(f"{name}: {error}")
    raise SandboxError(f"No sandbox can run untrusted code here, so none is run. {' '.join(missing)}")


def open_sandbox_or_none(preference: str | None, *, wait: bool = False) -> Sandbox:
    """As `open_sandbox`, but where "auto" finds none, one that refuses every job: entries that are weights alone need none.

    wait: one that is named and does not answer is waited for, instead of a SandboxError.
    """
    try:
        return open_sandbox(preference)
    except SandboxError as error:
        named = preference not in (None, "auto")
        if named and not wait:
            raise
        return NoSandbox(str(error), awaited=named)
