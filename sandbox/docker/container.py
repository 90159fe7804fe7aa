"""The one template from which every container is made: a job decides on its command, inputs and limits only."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker.types

from sandbox import launch
from sandbox.base import Job, Limits
from sandbox.docker.image import EMPTY_FILES, SYSTEM_FOLDERS
from sandbox.fifos import CONNECT, INSIDE
from sandbox.kernel.seccomp import docker_json

_MIB = 1 << 20
_INODES = 16384
_SHOWN = ("/etc/ld.so.cache",)
# Programs that an administrator installed, with whatever they carry, are not part of the base system.
_LOCAL = "/usr/local"
_OWN_PROCESSES = 1  # the engine's init


@dataclass(frozen=True)
class Template:
    """What is the same for all containers of one backend.

    host_system: whether the image is the empty one, onto which the host's /usr is bound. cores: how many the machine has.
    """

    image: str
    host_system: bool
    cores: int
    runtime: str | None
    gpus: tuple[str, ...]


def create(api: Any, template: Template, job: Job, pipes: Path, labels: dict[str, str]) -> str:
    """Makes the container and returns its identifier. pipes: the folder that `fifos` made. Raises what the SDK raises."""
    host_config = api.create_host_config(
        network_mode="none",
        ipc_mode="private",
        read_only=True,
        cap_drop=["ALL"],
        security_opt=["no-new-privileges:true", f"seccomp={json.dumps(docker_json())}"],
        mounts=_mounts(template, job, pipes),
        tmpfs=_tmpfs(template, job),
        shm_size=job.limits.shm_mb * _MIB,
        mem_limit=job.limits.memory_mb * _MIB,
        memswap_limit=job.limits.memory_mb * _MIB,
        pids_limit=job.limits.processes + _OWN_PROCESSES,
        nano_cpus=int(min(job.limits.cpus, template.cores) * 1e9),
        ulimits=_ulimits(job.limits),
        log_config=docker.types.LogConfig(type="none"),
        init=True,
        runtime=template.runtime,
        device_requests=_gpus(template.gpus),
    )
    made = api.create_container(
        template.image,
        entrypoint=["/bin/sh", "-c", CONNECT, "connect"],
        command=launch.become(job),
        user=f"{launch.UID}:{launch.UID}",
        working_dir="/tmp",  # noqa: S108
        hostname="sandbox",
        labels=labels,
        use_config_proxy=False,
        host_config=host_config,
    )
    return str(made["Id"])


def _mounts(template: Template, job: Job, pipes: Path) -> list[docker.types.Mount]:
    # The engine would fill these in with the host's name servers and names.
    mounts = [_bind(pipes, INSIDE), *(_bind(pipes / "empty", f"/{name}") for name in EMPTY_FILES)]
    if template.host_system:
        folders = [Path("/usr"), *(Path("/", name) for name in SYSTEM_FOLDERS if not Path("/", name).is_symlink())]
        mounts += [_bind(path, str(path)) for path in (*folders, *map(Path, _SHOWN)) if path.exists()]
    return mounts + [_bind(mount.source, str(mount.target)) for mount in job.mounts]


def _bind(source: Path, target: str) -> docker.types.Mount:
    mount = docker.types.Mount(target, str(source), type="bind", read_only=True, propagation="rprivate")
    # Mounts below the source would stay writable: "read-only" does not reach them in every engine.
    mount["BindOptions"]["NonRecursive"] = True
    return mount


def _tmpfs(template: Template, job: Job) -> dict[str, str]:
    mounts = {"/tmp": f"rw,nosuid,nodev,noexec,mode=1777,size={job.limits.tmp_mb * _MIB},nr_inodes={_INODES}"}  # noqa: S108
    nothing = [str(path) for path in job.hidden]
    if template.host_system and Path(_LOCAL).is_dir():
        nothing.append(_LOCAL)
    return mounts | dict.fromkeys(nothing, "ro,nosuid,nodev,noexec,mode=755,size=4096")


def _ulimits(limits: Limits) -> list[docker.types.Ulimit]:
    values = {
        "core": 0,
        "fsize": limits.file_mb * _MIB,
        "nofile": limits.open_files,
        "memlock": _MIB,
        "msgqueue": 0,
    }
    return [docker.types.Ulimit(name=name, soft=value, hard=value) for name, value in values.items()]


def _gpus(devices: tuple[str, ...]) -> list[docker.types.DeviceRequest]:
    if not devices:
        return []
    return [docker.types.DeviceRequest(driver="nvidia", device_ids=list(devices), capabilities=[["gpu", "compute", "utility"]])]
