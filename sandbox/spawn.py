"""Starts processes from one thread that lives as long as the program.

"Die with the parent" (PR_SET_PDEATHSIG) means in Linux: with the *thread* that forked. A job started from a worker thread that
ends would be killed at once, without a trace of why. All jobs are therefore forked by one thread of their own.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor


def _new_pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="sandbox-spawn")


_pool = _new_pool()


def _after_fork() -> None:
    global _pool
    _pool = _new_pool()


# A forked child has none of its parent's threads.
os.register_at_fork(after_in_child=_after_fork)


def spawn(
    argv: Sequence[str],
    *,
    stdin: int,
    stdout: int,
    stderr: int,
    pass_fds: Sequence[int] = (),
    env: dict[str, str] | None = None,
    cwd: str = "/",
) -> subprocess.Popen[bytes]:
    """Starts a program in its own session (a terminal's Ctrl-C is for its parent) with exactly the given environment.

    Raises OSError when the program cannot be run.
    """
    return _pool.submit(
        subprocess.Popen,
        list(argv),
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        pass_fds=tuple(pass_fds),
        env=env or {},
        cwd=cwd,
        start_new_session=True,
    ).result()
