"""A sandbox that is named and does not answer: the command line says so, a worker waits for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandbox import SandboxError
from sandbox.choose import open_sandbox_or_none


def test_a_named_sandbox_that_does_not_answer_is_an_error_or_waited_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no-engine.sock")
    with pytest.raises(SandboxError, match="docker"):
        open_sandbox_or_none("docker")
    waited_for = open_sandbox_or_none("docker", wait=True)
    assert not waited_for.ready()
    assert not waited_for.capabilities().available
