"""The Docker engine that tests use: the one of DOCKER_HOST, or of Docker's usual place."""

from __future__ import annotations

from typing import Any

from docker.errors import NotFound

from sandbox.docker.sandbox import OWNER_LABEL, DockerSandbox, DockerSettings, connect
from tests.needs import DOCKER


def reachable_engine() -> DockerSandbox:
    """The backend, or a skip that nobody can overlook."""
    docker = DockerSandbox()
    if not docker.capabilities().available:
        DOCKER.skip()
    return docker


def owned_containers(owner: object = "", *, host: str | None = None) -> list[dict[str, Any]]:
    """The containers of an engine, in any state, whose owner's name contains `owner`. host: as in DockerSettings.

    The engine's list is a view beside its store: one that was removed while it ended can stay listed, and is found nowhere.
    """
    api = connect(DockerSettings(host=host))
    listed = api.containers(all=True, filters={"label": [OWNER_LABEL]})
    return [each for each in listed if str(owner) in each["Labels"][OWNER_LABEL] and _exists(api, each["Id"])]


def _exists(api: Any, container: str) -> bool:
    try:
        return bool(api.inspect_container(container))
    except NotFound:
        return False
