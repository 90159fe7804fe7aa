"""What the sandboxed host costs: the same PGD on the same images, in this process and through the proxy.

    python -m benchmarks.host [--images 500] [--steps 40] [--rounds 3]

Prints the ratio of median wall times (host / in-process; the start of the host is shown apart), and whether both lanes found
the same points bit for bit. `--images 1000 --steps 40` is the README's promise of PGD-40 on 1,000 images within 60 s.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import torch

from arena.evaluations.lanes import Lane
from arena.evaluations.staging import staged
from evaluator.attacks import PGD
from evaluator.attacks.base import Model
from evaluator.data import examples
from evaluator.host.load import read_manifest
from evaluator.spec import DataSpec, LimitsSpec
from evaluator.threats import Linf
from sandbox.choose import open_sandbox

BASELINE = Path(__file__).resolve().parent.parent / "evaluator" / "defenses" / "baselines" / "mnist-pgd"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    data, threads = examples(DataSpec(dataset="mnist", examples=arguments.images)), torch.get_num_threads()
    attack = PGD(steps=arguments.steps, loss="margin")

    def once(model: Model) -> tuple[float, torch.Tensor]:
        begun = time.perf_counter()
        parts = zip(data.ids.split(500), data.x.split(500), data.y.split(500), strict=True)
        points = [attack(model, x, y, Linf(0.3), ids=ids) for ids, x, y in parts]
        return time.perf_counter() - begun, torch.cat(points)

    with staged(BASELINE) as copy:
        manifest = read_manifest(copy.folder)
        lanes = [
            Lane(name, copy.folder, manifest, LimitsSpec(), open_sandbox("auto"), threads, lambda text: None)
            for name in ("in-process", "host")
        ]
        begun = time.perf_counter()
        with lanes[0].open(10) as inside, lanes[1].open(10) as hosted:
            start = time.perf_counter() - begun
            runs = [(once(inside), once(hosted)) for _ in range(arguments.rounds)]
    here, there = (statistics.median(run[lane][0] for run in runs) for lane in (0, 1))
    same = all(torch.equal(a[1], b[1]) for a, b in runs)
    print(f"PGD-{arguments.steps} on {arguments.images} MNIST images, {threads} threads, median of {arguments.rounds}")
    print(f"in-process {here:.2f} s, host {there:.2f} s, ratio {there / here:.3f}; host start {start:.2f} s")
    print(f"points equal bit for bit: {'yes' if same else 'NO'}")


if __name__ == "__main__":
    main()
