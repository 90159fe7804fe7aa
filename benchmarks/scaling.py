"""How the official evaluation grows with the number of examples: seconds, rows and memory.

    python -m benchmarks.scaling [--sizes 500 2000 10000] [--baseline mnist-pgd] [--lane auto] [--write]

Runs `redoubt evaluate` on the MNIST challenge as a user does, each size in a process of its own, on one thread; peak memory is
the largest resident set of any of its processes. --write puts the table into docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.pages import provenance, write_section
from evaluator.records.cost import cost

ROOT = Path(__file__).resolve().parent.parent
HEAD = "| images | robust % | seconds | ms per image | weighted rows per image | peak resident MiB |\n" + "|---:" * 6 + "|"


@dataclass(frozen=True)
class Line:
    """One evaluation. weighted: rows (`evaluator.records.cost`); peak: MiB of the largest process."""

    images: int
    robust: float
    seconds: float
    weighted: int
    peak: float

    @property
    def text(self) -> str:
        figures = f"{self.seconds:.0f} | {1000 * self.seconds / self.images:.0f} | {self.weighted / self.images:.0f}"
        return f"| {self.images:,} | {100 * self.robust:.1f} | {figures} | {self.peak:.0f} |"


def measure(images: int, baseline: Path, lane: str) -> Line:
    """Evaluates `baseline` on the first `images` images of the test set."""
    with tempfile.TemporaryDirectory(prefix="redoubt-scaling-") as folder:
        pack, report = Path(folder) / "mnist-scaling", Path(folder) / "report.json"
        pack.mkdir()
        challenge = (ROOT / "challenges" / "mnist-linf" / "challenge.toml").read_text()
        (pack / "challenge.toml").write_text(re.sub(r"^(examples|seconds) = \d+", _larger(images), challenge, flags=re.M))
        command = [sys.executable, "-c", "from arena.cli.main import main; main()", "evaluate", str(pack), str(baseline)]
        command += ["--seed", "1", "--lane", lane, "--json", str(report)]
        begun = time.perf_counter()
        with Path(os.devnull).open("w") as nowhere:
            environment = {**os.environ, "OMP_NUM_THREADS": "1"}
            silent = [(os.POSIX_SPAWN_DUP2, nowhere.fileno(), 1)]
            process = os.posix_spawn(sys.executable, command, environment, file_actions=silent)
            _, status, usage = os.wait4(process, 0)
        seconds = time.perf_counter() - begun
        if status:
            raise SystemExit(f"the evaluation of {images} images failed (status {status}).")
        report_fields = json.loads(report.read_text())
    weighted = sum(cost(attack["forward_rows"], attack["backward_rows"]) for attack in report_fields["attacks"])
    return Line(images, report_fields["robust_accuracy"], seconds, weighted, usage.ru_maxrss / 1024)


def _larger(images: int) -> Callable[[re.Match[str]], str]:
    sizes = {"examples": images, "seconds": 36_000}
    return lambda match: f"{match[1]} = {sizes[match[1]]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[500, 2000, 10_000])
    parser.add_argument("--baseline", default="mnist-pgd", help="a shipped baseline")
    parser.add_argument("--lane", default="auto")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    print(HEAD, flush=True)
    lines = []
    for images in options.sizes:
        line = measure(images, ROOT / "evaluator" / "defenses" / "baselines" / options.baseline, options.lane)
        lines.append(line.text)
        print(line.text, flush=True)
    if options.write:
        write_section("Growth with the number of examples", "\n".join([provenance(), "", HEAD, *lines]))


if __name__ == "__main__":
    main()
