"""This process's own interpreter and packages run inside a sandbox."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import sandbox as package
from sandbox import Exit, Job, Sandbox, SandboxError
from sandbox.bubblewrap.sandbox import BubblewrapSandbox
from sandbox.python_env import python_mounts
from tests.sandbox.engine import reachable_engine

_TRAIN = """
import torch
layer = torch.nn.Conv2d(1, 4, 3)
x = torch.rand(2, 1, 8, 8, requires_grad=True)
layer(x).square().sum().backward()
assert x.grad.shape == x.shape and torch.linalg.svd(torch.rand(5, 5)).S.shape == (5,)
import sandbox, sys
print(sys.version, sandbox.__file__, sep="\\n", end="")
"""


def _run(backend: Sandbox, script: str) -> str:
    mounts, interpreter, env = python_mounts(extra=[Path(package.__file__).parent])
    with backend.start(Job((interpreter, "-c", f"import os; os.dup2(2, 1)\n{script}"), mounts=mounts, env=env)) as running:
        ending = running.wait(timeout=120)
        output = running.log()[0].decode()
    assert ending == Exit("exited", 0), f"{ending}: {output}"
    return output


def test_torch_runs_in_bubblewrap() -> None:
    assert _run(BubblewrapSandbox(), _TRAIN) == f"{sys.version}\n/app/sandbox/__init__.py"


@pytest.mark.docker
def test_torch_runs_in_docker() -> None:
    assert _run(reachable_engine(), _TRAIN) == f"{sys.version}\n/app/sandbox/__init__.py"


def test_a_file_in_the_working_folder_shadows_no_package() -> None:
    script = "open('/tmp/colorsys.py', 'w').close(); import colorsys; print(colorsys.__file__, end='')"
    assert _run(BubblewrapSandbox(), script) == f"/py/lib/python{sys.version_info[0]}.{sys.version_info[1]}/colorsys.py"


def test_a_missing_or_doubled_extra_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match="missing"):
        python_mounts(extra=[tmp_path / "nowhere"])
    (tmp_path / "a" / "same").mkdir(parents=True)
    (tmp_path / "b" / "same").mkdir(parents=True)
    with pytest.raises(SandboxError, match="second 'same'"):
        python_mounts(extra=[tmp_path / "a" / "same", tmp_path / "b" / "same"])
