"""One container, watched and removed through the engine."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from typing import Any

import docker.errors
import requests.exceptions

from sandbox.base import SandboxError, SandboxUnavailable
from sandbox.running import Tree

# What the SDK raises when an answer does not come within the time allowed.
_NO_ANSWER_YET = (requests.exceptions.ReadTimeout, requests.exceptions.ConnectionError)
_GONE = (404, 409)


class DockerTree(Tree):
    """A container from its making to its removal. The engine's clock is ours: it is on this machine."""

    watch_seconds = 1.0

    def __init__(self, api: Any, container: str, held: ExitStack | None = None) -> None:
        """api: a docker.APIClient. container: its identifier. held: closed once the container is gone."""
        self._held = held or ExitStack()
        self._api, self._container = api, container
        self._started = f"{time.time():.9f}"
        self._lock = threading.Lock()
        self._removed = False

    def start(self) -> None:
        """Raises what the SDK raises."""
        self._api.start(self._container)

    def poll(self, timeout: float) -> int | None:
        asked = time.monotonic()
        try:
            return int(self._api.wait(self._container, timeout=max(timeout, 0.001))["StatusCode"])
        except _NO_ANSWER_YET as error:
            # The same exception says "not yet" and "no engine"; only the first takes its time.
            if time.monotonic() - asked < timeout / 2 and not self._engine_answers():
                raise SandboxUnavailable(f"The Docker engine is gone: {error}.") from error
            return None

    def out_of_memory(self) -> bool:
        """The state of a container tells only once it has ended; before, the engine's events do."""
        state = self._api.inspect_container(self._container)["State"]
        if not state["Running"]:
            return bool(state["OOMKilled"])
        # A window that reaches into the future would be waited for.
        window = {"since": self._started, "until": f"{time.time():.9f}"}
        events = self._api.events(**window, filters={"container": self._container, "event": "oom"}, decode=True)
        return any(True for _ in events)

    def kill(self) -> None:
        with self._lock:
            if not self._removed:
                _unless_gone(self._api.kill, self._container)

    def remove(self) -> None:
        with self._lock:
            self._removed = True
            try:
                remove_container(self._api, self._container)
            except SandboxError:
                _owed[self._container] = self._held
                raise
            self._held.close()

    def _engine_answers(self) -> bool:
        try:
            return bool(self._api.ping())
        except (*_NO_ANSWER_YET, docker.errors.DockerException):
            return False


# Containers that an engine did not remove when asked (it was down and may have them still when it is back), and what they hold.
_owed: dict[str, ExitStack] = {}


def remove_container(api: Any, container: str) -> bool:
    """Kills and removes a container; whether there was one. Raises SandboxError when the engine refuses."""
    return _unless_gone(api.remove_container, container, force=True, v=True)


def remove_owed(api: Any) -> None:
    """Removes the containers of this process that an engine's failure left. Raises SandboxError when it fails again."""
    for container in tuple(_owed):
        remove_container(api, container)
        _owed.pop(container, ExitStack()).close()


def _unless_gone(call: Any, container: str, **options: Any) -> bool:
    try:
        call(container, **options)
        return True
    except docker.errors.APIError as error:
        if error.status_code not in _GONE:
            raise SandboxError(f"The Docker engine refused: {error.explanation or error}.") from error
        return False
    except _NO_ANSWER_YET as error:
        raise SandboxUnavailable(f"The Docker engine does not answer: {error}.") from error
