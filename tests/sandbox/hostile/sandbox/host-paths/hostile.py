import glob
import os
import sys

from attempts import BAIT, done, escaped

TOLD = sys.argv[1].encode()  # what it was told stands on its own command line
# mountinfo shows where a bind mount comes from: the kernel does not hide that (SECURITY.md).
FILES = ("cmdline", "environ", "mounts", "maps", "cgroup", "comm", "status", "auxv")


def content(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(1 << 20).replace(TOLD, b"")
    except OSError:
        return b""


def link(path: str) -> bytes:
    try:
        return os.readlink(path).encode()
    except OSError:
        return b""


for process in glob.glob("/proc/[0-9]*"):
    open_files = glob.glob(f"{process}/fd/*")
    seen = {f"{process}/{name}": content(f"{process}/{name}") for name in FILES}
    seen |= {f"{process}/{name}": link(f"{process}/{name}") for name in ("cwd", "exe", "root")}
    seen |= {path: link(path) for path in open_files}
    seen |= {f"what {path} holds": content(path) for path in open_files if b"memfd" in link(path)}
    for place, data in seen.items():
        for path in BAIT["host"]:
            if path.encode() in data:
                escaped(f"{place} names {path}")
done()
