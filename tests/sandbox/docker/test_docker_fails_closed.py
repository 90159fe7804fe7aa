"""A second kernel or a GPU that the settings name and the engine lacks: nothing is run without it."""

from __future__ import annotations

import pytest

from sandbox import Job, SandboxError
from sandbox.docker.sandbox import DockerSandbox, DockerSettings
from sandbox.owner import Owner
from tests.sandbox.engine import owned_containers, reachable_engine

_ABSENT = {"a runtime": DockerSettings(runtime="absent-runsc"), "a GPU": DockerSettings(gpus=("absent-gpu",))}


@pytest.mark.docker
@pytest.mark.parametrize("settings", _ABSENT.values(), ids=_ABSENT)
def test_what_the_engine_lacks_is_never_done_without(settings: DockerSettings) -> None:
    reachable_engine()
    sandbox = DockerSandbox(settings)
    assert not sandbox.capabilities().available
    assert any("absent" in note or "driver" in note for note in sandbox.capabilities().notes)
    with pytest.raises(SandboxError):
        sandbox.start(Job(("/bin/true",)))
    assert owned_containers(Owner.current()) == []
