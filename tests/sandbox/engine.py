"""The Docker engine that tests use: the one of DOCKER_HOST, or of Docker's usual place."""

from __future__ import annotations

import pytest

from sandbox.docker import DockerSandbox


def reachable_engine() -> DockerSandbox:
    """The backend, or a skip that nobody can overlook."""
    docker = DockerSandbox()
    capabilities = docker.capabilities()
    if not capabilities.available:
        pytest.skip(
            f"DOCKER WAS NOT CHECKED: {' '.join(capabilities.notes)} "
            'To have an engine: eval "$(deploy/dev/docker-engine start DIR)"; export DOCKER_HOST'
        )
    return docker
