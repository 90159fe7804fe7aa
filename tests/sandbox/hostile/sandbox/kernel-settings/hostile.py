import glob

from attempts import attempt, done


def write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


NAMES = ("kernel/core_pattern", "kernel/modprobe", "vm/overcommit_memory", "fs/binfmt_misc/register", "kernel/hostname")
OTHERS = ("/proc/sysrq-trigger", "/proc/1/oom_score_adj", "/sys/kernel/uevent_helper")
for path in (*(f"/proc/sys/{name}" for name in NAMES), *OTHERS):
    attempt(path, lambda path=path: write(path, "|/tmp/x"))
for name in ("release_agent", "cgroup.procs", "memory.limit_in_bytes", "memory.max", "pids.max"):
    for path in glob.glob(f"/sys/fs/cgroup/**/{name}", recursive=True):
        attempt(path, lambda path=path: write(path, "0"))
done()
