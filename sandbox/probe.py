"""Finds out what a backend really enforces on this machine, by running jobs that try to overstep it."""

from __future__ import annotations

import platform
import tempfile
from collections.abc import Callable

from sandbox.base import Capabilities, Enforcement, Exit, Job, Limits, Running, SandboxError

_SECONDS = 15.0
_LIMITS = Limits(memory_mb=32, processes=8, cpus=1.0, seconds=_SECONDS, tmp_mb=1, shm_mb=1, file_mb=1)
PROMISES = ("filesystem", "network", "pids", "memory", "processes", "cpus", "landlock")

# Prints one line for each breach, given the path of a file of the host.
_LOOK_AROUND = """
[ -e "$1" ] && echo filesystem
for folder in / /usr /dev; do ( : > "$folder/trial" ) 2>/dev/null && echo filesystem; done
[ "$(id -u)" = 65534 ] || echo filesystem
while read -r name rest; do case "$name" in lo:|Inter-*|face|*face*) ;; *) echo network;; esac; done < /proc/net/dev
seen=0; for process in /proc/[0-9]*; do seen=$((seen+1)); done
[ "$seen" -le 8 ] || echo pids
echo looked
"""
_HOARD = "head -c 200000000 /dev/zero | tail -n 1 > /dev/null && echo unbounded"
_MULTIPLY = "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 30 & done && echo unbounded"


def on_linux_only(backend: str) -> Capabilities | None:
    """Says so, where this is another system; None on Linux."""
    if platform.system() == "Linux":
        return None
    note = f"{backend} needs the Linux kernel: entries with code can be judged on Linux only, weights-only entries here too."
    return Capabilities(backend, False, dict.fromkeys(PROMISES, Enforcement.NONE), (note,))


def measure(backend: str, start: Callable[[Job], Running], *, memory_of_tree: bool, cpus: Enforcement) -> Capabilities:
    """Runs the trials. Never raises: what cannot start is not available.

    memory_of_tree: whether a bound that holds is one for all processes together. cpus: known from how the backend bounds it.
    """
    try:
        with tempfile.NamedTemporaryFile() as secret:
            _, seen, confined = _run(start, _LOOK_AROUND, secret.name)
        if "looked" not in seen:
            raise SandboxError(f"The trial job failed: {' '.join(seen)}")
        hoarded, hoard_output, _ = _run(start, _HOARD)
        if memory_of_tree and "unbounded" not in hoard_output and hoarded.cause != "memory":
            hoarded, hoard_output, _ = _run(start, _HOARD)  # something else ended it, such as an engine that was restarted
        _, multiply_output, _ = _run(start, _MULTIPLY)
    except SandboxError as error:
        return Capabilities(backend, False, dict.fromkeys(PROMISES, Enforcement.NONE), (str(error),))
    memory = Enforcement.NONE if "unbounded" in hoard_output else Enforcement.PARTIAL
    if memory is Enforcement.PARTIAL and memory_of_tree and hoarded.cause == "memory":
        memory = Enforcement.FULL
    promises = {name: Enforcement.NONE if name in seen else Enforcement.FULL for name in ("filesystem", "network", "pids")}
    promises["memory"] = memory
    promises["processes"] = Enforcement.NONE if "unbounded" in multiply_output else Enforcement.FULL
    promises["cpus"] = cpus
    promises["landlock"] = Enforcement.FULL if confined else Enforcement.NONE
    notes = tuple(
        _NOTES.get((name, kept), f"{name} is not enforced here.") for name, kept in promises.items() if kept != "full"
    )
    return Capabilities(backend, True, promises, notes)


_NOTES = {
    ("memory", Enforcement.PARTIAL): (
        "memory is bounded for each process, and for all together only by a watch ten times a second:"
        " a control group that this user may write to, or running as root, bounds it fully."
    ),
    ("landlock", Enforcement.NONE): "landlock is not enforced here: the kernel or /usr/bin/python3 inside is missing.",
    ("cpus", Enforcement.PARTIAL): "cpus are bounded to whole cores, which several jobs may share.",
}


def _run(start: Callable[[Job], Running], script: str, *arguments: str) -> tuple[Exit, list[str], bool]:
    """How the script ended, the words it printed (to stderr, which needs no reader), and whether Landlock held."""
    job = Job(("/bin/sh", "-c", f"exec 1>&2\n{script}", "trial", *arguments), limits=_LIMITS)
    with start(job) as running:
        ending = running.wait(timeout=2 * _SECONDS) or running.kill()
        return ending, running.log()[0].decode(errors="replace").split(), running.confined
