"""gVisor and GPUs, which this machine need not have: what the engine would be asked for, and that no GPU has two tenants."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import docker
import pytest

from sandbox import Job, Limits, SandboxUnavailable, gpu_locks
from sandbox.docker.container import Template, create

ROOT = Path(gpu_locks.__file__).parent.parent


class Recorder(docker.APIClient):  # type: ignore[misc]  # the SDK ships no types
    """The SDK's own client, which keeps what it would send."""

    def __init__(self) -> None:
        super().__init__("unix:///nowhere/docker.sock", version="1.41")
        self.sent: dict[str, Any] = {}

    def create_container_from_config(self, config: dict[str, Any], *arguments: Any, **options: Any) -> dict[str, str]:
        self.sent = dict(config)
        return {"Id": "made"}


def asked(tmp_path: Path, *, runtime: str | None = None, gpus: tuple[str, ...] = ()) -> dict[str, Any]:
    client = Recorder()
    try:
        template = Template(f"sha256:{'0' * 64}", False, 4, runtime, gpus)
        create(client, template, Job(("/bin/true",), limits=Limits(memory_mb=100)), tmp_path, {})
    finally:
        client.close()
    host: dict[str, Any] = client.sent["HostConfig"]
    return host


def test_another_runtime_is_asked_for_by_its_name(tmp_path: Path) -> None:
    assert asked(tmp_path, runtime="runsc")["Runtime"] == "runsc"
    assert "Runtime" not in asked(tmp_path)


def test_gpus_are_asked_for_one_by_one_and_by_nothing_wider(tmp_path: Path) -> None:
    (request,) = asked(tmp_path, gpus=("GPU-1",))["DeviceRequests"]
    assert (request["DeviceIDs"], request["Count"]) == (["GPU-1"], 0)
    assert request["Capabilities"] == [["gpu", "compute", "utility"]]
    assert not asked(tmp_path)["DeviceRequests"]


@pytest.mark.parametrize("options", [{}, {"runtime": "runsc"}, {"gpus": ("GPU-1",)}])
def test_no_option_takes_anything_from_the_template(tmp_path: Path, options: dict[str, Any]) -> None:
    host = asked(tmp_path, **options)
    assert (host["NetworkMode"], host["ReadonlyRootfs"], host["CapDrop"]) == ("none", True, ["ALL"])
    assert host["Memory"] == host["MemorySwap"] == 100 << 20
    assert [option.partition("=")[0] for option in host["SecurityOpt"]] == ["no-new-privileges:true", "seccomp"]
    assert not host.get("Privileged")
    assert not host.get("Devices")


def test_a_gpu_has_one_tenant_at_a_time(tmp_path: Path) -> None:
    first = gpu_locks.hold(["GPU-1"], tmp_path)
    with pytest.raises(SandboxUnavailable, match="GPU-1"):
        gpu_locks.hold(["GPU-0", "GPU-1"], tmp_path)
    with gpu_locks.hold(["GPU-0"], tmp_path):  # not kept by the attempt that failed
        pass
    first.close()
    with gpu_locks.hold(["GPU-1"], tmp_path):
        pass


def test_a_gpu_is_free_again_when_its_holder_dies(tmp_path: Path) -> None:
    script = f"""
import os, signal
from pathlib import Path
from sandbox import gpu_locks
held = gpu_locks.hold(["0"], Path({str(tmp_path)!r}))
os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", script], cwd=ROOT)
    gpu_locks.hold(["0"], tmp_path).close()
