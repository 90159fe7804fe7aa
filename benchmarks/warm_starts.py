"""What starting a defense costs over loading its weights, when a host was prepared and when none was, on each backend.

    python -m benchmarks.warm_starts [--rounds 9] [--pause 6] [--backends bubblewrap docker]

Prints medians (best, worst) of the seconds from asking for a host of the shipped MNIST baseline to its "ready". `--pause` is
the time that a prepared host has for its imports before it is asked for; loading itself is measured in this process.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

from arena.running.lanes import Lane
from arena.running.staging import Staged, staged
from arena.running.warm import keep_warm
from benchmarks.host import BASELINE
from evaluator.host.load import load_submission, read_manifest
from evaluator.manifests.spec import LimitsSpec
from sandbox.choose import open_sandbox

HEAD = "| backend | loading s | cold start s | prepared start s | prepared - loading s |\n|---|---:|---:|---:|---:|"


def seconds(action: Callable[[], object]) -> float:
    begun = time.perf_counter()
    action()
    return time.perf_counter() - begun


def starts(copy: Staged, backend: str, *, prepared: bool, rounds: int, pause: float) -> list[float]:
    """Seconds of each start; the first is not counted, before which nothing could be prepared."""
    keep_warm(1 if prepared else 0)
    lane = Lane("host", copy.folder, read_manifest(copy.folder), LimitsSpec(), open_sandbox(backend), 1)
    taken = []
    for _ in range(rounds + prepared):
        begun = time.perf_counter()
        with lane.open(10):
            taken.append(time.perf_counter() - begun)
            time.sleep(pause if prepared else 0)
    return taken[int(prepared) :]


def shown(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--pause", type=float, default=6.0)
    parser.add_argument("--backends", nargs="+", default=["bubblewrap", "docker"])
    arguments = parser.parse_args()
    print(HEAD)
    with staged(BASELINE) as copy:
        loading = [seconds(lambda: load_submission(copy.folder)) for _ in range(arguments.rounds + 1)][1:]
        for backend in arguments.backends:
            cold, warm = (
                starts(copy, backend, prepared=prepared, rounds=arguments.rounds, pause=arguments.pause)
                for prepared in (False, True)
            )
            over = statistics.median(warm) - statistics.median(loading)
            print(f"| {backend} | {shown(loading)} | {shown(cold)} | {shown(warm)} | {over:.2f} |", flush=True)
    keep_warm(0)


if __name__ == "__main__":
    main()
