"""The image that a job runs on when no production image is named: empty folders, over which the host's /usr is bound.

It takes a fraction of a second to make and needs no registry and no build.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path
from typing import Any

_REPOSITORY = "sandbox-base"
# /sbin is no link into /usr: the engine puts its init program there, where /usr, bound afterwards, would hide it.
_FOLDERS = ("dev", "etc", "proc", "run", "sbin", "sys", "tmp", "usr")
SYSTEM_FOLDERS = ("bin", "lib", "lib32", "lib64")
EMPTY_FILES = ("etc/hosts", "etc/hostname", "etc/resolv.conf")


def base_image(api: Any) -> str:
    """The identifier of the base image, made on first use. api: a docker.APIClient."""
    content = _tar()
    tag = hashlib.sha256(content).hexdigest()[:16]
    known = api.images(name=f"{_REPOSITORY}:{tag}")
    if not known:
        api.import_image_from_data(content, repository=_REPOSITORY, tag=tag)
        known = api.images(name=f"{_REPOSITORY}:{tag}")
    return str(known[0]["Id"])


def _tar() -> bytes:
    """Folders, and the links by which this system's /bin and /lib lead into /usr. The same bytes each time."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name in _FOLDERS:
            archive.addfile(_entry(name, tarfile.DIRTYPE))
        for name in SYSTEM_FOLDERS:
            folder = Path("/", name)
            if folder.is_symlink():
                archive.addfile(_entry(name, tarfile.SYMTYPE, str(folder.readlink())))
            elif folder.is_dir():
                archive.addfile(_entry(name, tarfile.DIRTYPE))
        for name in EMPTY_FILES:
            archive.addfile(_entry(name, tarfile.REGTYPE))
    return stream.getvalue()


def _entry(name: str, kind: bytes, link: str = "") -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, link
    # A file system in memory takes over the mode of the folder that it is mounted on.
    entry.mode = 0o1777 if name == "tmp" else 0o644 if kind == tarfile.REGTYPE else 0o755
    return entry
