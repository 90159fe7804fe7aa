"""The bubblewrap command line of a job: what it sees, and as whom it runs."""

from __future__ import annotations

import math
import os
import secrets
from pathlib import Path, PurePosixPath

from sandbox import launch
from sandbox.base import Job, Limits, Mount

_MIB = 1 << 20
_SYSTEM_FOLDERS = ("bin", "sbin", "lib", "lib32", "lib64")
# The loader's list of libraries, and what numerical libraries read to count cores and caches.
_SHOWN = ("/etc/ld.so.cache", "/sys/devices/system/cpu", "/sys/devices/system/node")
# Programs that an administrator installed, with whatever they carry, are not part of the base system.
_LOCAL = "/usr/local"
# Readable by anybody in proc(5), of no use to a job, and telling about the host.
_HIDDEN = ("/proc/kcore", "/proc/keys", "/proc/key-users", "/proc/kmsg", "/proc/sysrq-trigger", "/proc/timer_list")


def bwrap_options(job: Job, *, seccomp: int, info: int) -> list[str]:
    """Everything but the command. seccomp, info: descriptors of the program and for the first process's number."""
    as_root = os.geteuid() == 0
    return [*_isolation(as_root=as_root), *_file_system(job), "--seccomp", str(seccomp), "--info-fd", str(info)]


def inner_command(job: Job, *, bounded: frozenset[str]) -> list[str]:
    """The command inside. bounded: the cgroup controllers that bound the job; rlimits make up for the others."""
    return [*(_drop_root() if os.geteuid() == 0 else []), *_rlimits(job.limits, bounded), *launch.become(job)]


def on_some_cores(cpus: float, *, bounded: frozenset[str]) -> list[str]:
    """The prefix that keeps a command on whole cores where no control group bounds its share of CPU."""
    if "cpu" in bounded:
        return []
    usable = sorted(os.sched_getaffinity(0))
    count = min(len(usable), max(1, math.ceil(cpus)))
    # At random, so that jobs do not all crowd onto the first cores.
    cores = secrets.SystemRandom().sample(usable, count)
    return [launch.tool("taskset"), "--cpu-list", ",".join(map(str, cores))]


def _isolation(*, as_root: bool) -> list[str]:
    options = ["--unshare-net", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]
    options += ["--hostname", "sandbox", "--die-with-parent", "--new-session", "--clearenv"]
    if as_root:
        # No user namespace: in one, the job's root-owned files and processes would still be the host's root outside.
        return [
            *options,
            "--cap-drop",
            "ALL",
            *(f for cap in ("SETUID", "SETGID", "SETPCAP") for f in ("--cap-add", f"CAP_{cap}")),
        ]
    return [*options, "--unshare-user", "--disable-userns", "--uid", str(launch.UID), "--gid", str(launch.UID)]


def _file_system(job: Job) -> list[str]:
    options = ["--ro-bind", "/usr", "/usr"]
    if Path(_LOCAL).is_dir():
        options += ["--tmpfs", _LOCAL, "--remount-ro", _LOCAL]
    for name in _SYSTEM_FOLDERS:
        folder = Path("/", name)
        if folder.is_symlink():
            options += ["--symlink", str(folder.readlink()), str(folder)]
        elif folder.is_dir():
            options += ["--ro-bind", str(folder), str(folder)]
    shown = [*(Mount(Path(path), PurePosixPath(path)) for path in _SHOWN if Path(path).exists()), *job.mounts]
    for above in sorted({parent for mount in shown for parent in mount.target.parents} - {PurePosixPath("/")}):
        # Left to itself bubblewrap makes them accessible to their owner only, who is root.
        options += ["--perms", "0755", "--dir", str(above)]
    for mount in shown:
        options += ["--ro-bind", str(mount.source), str(mount.target)]
    for hidden in job.hidden:
        options += ["--size", "4096", "--perms", "0755", "--tmpfs", str(hidden), "--remount-ro", str(hidden)]
    options += ["--proc", "/proc"]
    for path in _HIDDEN:
        options += ["--ro-bind", "/dev/null", path] if Path(path).exists() else []
    options += ["--remount-ro", "/proc"]  # what can be written there would last with a process that outlives another
    options += ["--dev", "/dev", *_tmpfs("/dev/shm", job.limits.shm_mb), "--remount-ro", "/dev"]  # noqa: S108
    return [*options, *_tmpfs("/tmp", job.limits.tmp_mb), "--chdir", "/tmp", "--remount-ro", "/"]  # noqa: S108


def _tmpfs(path: str, size_mb: int) -> list[str]:
    return ["--size", str(size_mb * _MIB), "--perms", "1777", "--tmpfs", path]


def _drop_root() -> list[str]:
    user = [f"--reuid={launch.UID}", f"--regid={launch.UID}", "--clear-groups"]
    return [launch.tool("setpriv"), *user, "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs", "--"]


def _rlimits(limits: Limits, bounded: frozenset[str]) -> list[str]:
    values = {"core": 0, "fsize": limits.file_mb * _MIB, "nofile": limits.open_files, "memlock": 1 * _MIB}
    if "memory" not in bounded:
        values["data"] = limits.memory_mb * _MIB
    if "pids" not in bounded:
        # Counted within the job's user namespace (Linux 5.14), where bubblewrap's own first process lives as well.
        values["nproc"] = limits.processes + 1
    return [launch.tool("prlimit"), *(f"--{name}={value}:{value}" for name, value in values.items()), "--"]
