"""Gives a hostile upload to the intake: it must be refused with a reason, at once, in little memory, leaving no file.

`build.py` makes the upload with `build() -> bytes`, so that no bomb is in the repository.
"""

from __future__ import annotations

import gc
import io
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from arena.submissions.intake import ArchiveLimits, inspect, unpack
from evaluator.errors import InputError
from tests.sandbox.conformance.support import traces
from tests.sandbox.hostile_suite.cases import Case, Outcome, built, judged

LIMITS = ArchiveLimits(archive_bytes=32 << 20, members=200)
_MEMORY = 48 << 20  # more than this no upload may cost
_REFUSED, _ACCEPTED = "refused", "accepted"


def run(case: Case) -> Outcome:
    """Gives the upload to both who read it: the site, and the worker, which does not rely on what the site found."""
    upload = built(case)()
    before = traces()["descriptors"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "unpacked"
        folder.mkdir()
        end, said, seconds, memory = _measured(lambda: inspect(io.BytesIO(upload), limits=LIMITS))
        losses = []
        try:
            unpack(io.BytesIO(upload), folder, limits=LIMITS)
        except InputError:
            pass
        except Exception as error:
            losses.append(f"unpacking it raised an untyped {type(error).__name__}")
        written = [path for path in folder.rglob("*") if not path.is_dir() or path.is_symlink()]
        losses += [f"{path.name} is no plain file" for path in written if path.is_symlink() or not path.is_file()]
        losses += [f"{path} was written outside" for path in Path(name).iterdir() if path != folder]
        if sum(path.lstat().st_size for path in written) > LIMITS.unpacked_bytes:
            losses.append("more was unpacked than is allowed")
    gc.collect()
    if traces()["descriptors"] != before:
        losses.append("a file of the intake's is still open")
    if memory > _MEMORY:
        losses.append(f"reading it took {memory >> 20} MiB")
    return judged(case, seconds, end, said, losses)


def _measured(action: Callable[[], object]) -> tuple[str, str, float, int]:
    """How `action` ended, what it said, its seconds, and by how much the process's memory grew at its peak."""
    Path("/proc/self/clear_refs").write_text("5")  # sets the peak to what is resident now (proc(5))
    resident, begun = _status("VmRSS"), time.monotonic()
    try:
        action()
        end, said = _ACCEPTED, ""
    except InputError as error:
        end, said = _REFUSED, str(error)
    except Exception as error:
        end, said = f"an untyped {type(error).__name__}", str(error)
    return end, said, time.monotonic() - begun, _status("VmHWM") - resident


def _status(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(f"{field}:"))
