"""What the sandboxed host costs: the same passes and the same PGD, in this process and through the proxy.

    python -m benchmarks.host [--images 500] [--steps 40] [--rounds 5] [--write]

Prints, for the MNIST CNN at batch 500 and a CIFAR-10 ResNet-18 at batch 50, the median over rounds of host time / in-process
time of a forward and backward pass, the lanes taking turns, and whether both lanes answer the same bits. Then: what it costs to
renew a model's processes, how long a cancelled pass goes on, and the wall time of PGD in the host: `--images 1000` is the
promise of PGD-40 within 60 s.
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from arena.running import lives
from arena.running.lanes import Lane
from arena.running.listening import Listener
from arena.running.staging import staged
from benchmarks.pages import provenance, write_section
from evaluator.attacks import PGD
from evaluator.attacks.base import Model
from evaluator.data import examples
from evaluator.defenses.architectures import build
from evaluator.errors import Cancelled
from evaluator.host.computing import settle
from evaluator.host.load import read_manifest
from evaluator.manifests.data_specs import DataSpec
from evaluator.manifests.spec import DefenseManifest, LimitsSpec
from evaluator.threats import Linf
from sandbox.choose import open_sandbox

BASELINE = Path(__file__).resolve().parent.parent / "evaluator" / "defenses" / "baselines" / "mnist-pgd"
_PAIRED = 300  # passes of one side of a pair
_BLOCK = 500  # images in one batch of the promise
HEAD = (
    "| network | batch | in-process s | host s | host / in-process | start of the host s | same bits |\n"
    "|---|---:|---:|---:|---:|---:|---|"
)


def lanes(folder: Path, manifest: DefenseManifest, cancelled: Callable[[], bool] = lambda: False) -> list[Lane]:
    """The network in this process, and the same in the sandbox."""
    threads = torch.get_num_threads()
    return [
        Lane(name, folder, manifest, LimitsSpec(), open_sandbox("auto"), threads, Listener(cancelled=cancelled))
        for name in ("in-process", "host")
    ]


@contextmanager
def both_lanes(folder: Path) -> Iterator[tuple[Model, Model, float]]:
    """(the model in this process, the same in the sandbox, seconds to start both)."""
    with staged(folder) as copy:
        inside_lane, hosted_lane = lanes(copy.folder, read_manifest(copy.folder))
        begun = time.perf_counter()
        with inside_lane.open(10) as inside, hosted_lane.open(10) as hosted:
            yield inside, hosted, time.perf_counter() - begun


def one_pass(model: Model, x: Tensor) -> tuple[float, Tensor, Tensor]:
    """(seconds, logits, gradient) of one forward and backward pass."""
    begun = time.perf_counter()
    leaf = x.clone().requires_grad_(True)
    logits = model(leaf)
    (gradient,) = torch.autograd.grad(logits.square().sum(), leaf)
    return time.perf_counter() - begun, logits.detach(), gradient


def compared(name: str, folder: Path, x: Tensor, rounds: int) -> str:
    """One row of the table; the first pass of each lane is not counted."""
    with both_lanes(folder) as (inside, hosted, start):
        runs = [(one_pass(inside, x), one_pass(hosted, x)) for _ in range(rounds + 1)][1:]
    here, there = (statistics.median(run[lane][0] for run in runs) for lane in (0, 1))
    ratio = statistics.median(there[0] / here[0] for here, there in runs)
    same = all(torch.equal(a[1], b[1]) and torch.equal(a[2], b[2]) for a, b in runs)
    return f"| {name} | {len(x)} | {here:.3f} | {there:.3f} | {ratio:.3f} | {start:.1f} | {'yes' if same else 'NO'} |"


def cancelled_pass(lane: Lane, cancelled: threading.Event, x: Tensor, after: float) -> float:
    """Seconds for which the lane goes on after a cancellation that comes `after` so many seconds of passes."""
    times: list[float] = []

    def cancel() -> None:
        times.append(time.perf_counter())
        cancelled.set()

    cancelled.clear()
    with suppress(Cancelled), lane.open(10) as model:
        threading.Timer(after, cancel).start()
        while True:
            one_pass(model, x)
    return time.perf_counter() - times[0]


def cancelling(folder: Path, x: Tensor, moments: int) -> str:
    """The longest that each lane goes on after a cancellation, at moments spread over two seconds."""
    cancelled = threading.Event()
    with staged(folder) as copy:
        inside, hosted = (
            max(cancelled_pass(lane, cancelled, x, 2 * (number + 1) / moments) for number in range(moments))
            for lane in lanes(copy.folder, read_manifest(copy.folder), cancelled.is_set)
        )
    return (
        f"Cancelled in the middle of a pass over {len(x)} images of cifar-resnet18, at {moments} moments: the evaluation ended "
        f"within {inside:.2f} s in-process and {hosted:.2f} s in a host."
    )


def cost_of_lives(folder: Path, x: Tensor, rounds: int) -> str:
    """The same passes in one host, by turns with its processes renewed at secret times and with one that is kept."""
    ratios, patience = [], (lives.PATIENCE, lives.LONGEST_SECONDS)
    with both_lanes(folder) as (_, hosted, _):
        one_pass(hosted, x)
        for _ in range(rounds):
            renewed = sum(one_pass(hosted, x)[0] for _ in range(_PAIRED))
            lives.PATIENCE = lives.LONGEST_SECONDS = math.inf
            kept = sum(one_pass(hosted, x)[0] for _ in range(_PAIRED))
            lives.PATIENCE, lives.LONGEST_SECONDS = patience
            ratios.append(renewed / kept)
    return (
        f"With processes renewed at secret times, {_PAIRED} passes over {len(x)} images of mnist-pgd take "
        f"{statistics.median(ratios):.3f} of the time that one kept process takes (median of {rounds} pairs)."
    )


def promise(images: int, steps: int) -> str:
    """PGD without its early stop's help: the robust baseline, most of whose examples take every step."""
    data = examples(DataSpec(dataset="mnist", examples=images))
    attack = PGD(steps=steps, loss="margin")
    with both_lanes(BASELINE) as (_, hosted, _):
        begun = time.perf_counter()
        for ids, x, y in zip(data.ids.split(_BLOCK), data.x.split(_BLOCK), data.y.split(_BLOCK), strict=True):
            attack(hosted, x, y, Linf(0.3), ids=ids)
        seconds = time.perf_counter() - begun
    return f"PGD-{steps} on {images:,} MNIST images of mnist-pgd through the sandboxed host: {seconds:.1f} s."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    settle(torch.get_num_threads())  # as the platform's own processes do
    lines = [HEAD]
    x = examples(DataSpec(dataset="mnist", examples=_BLOCK)).x
    lines.append(compared("mnist-cnn", BASELINE, x, 4 * arguments.rounds))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        manifest = 'name = "x"\nformat = "safetensors"\narchitecture = "cifar-resnet18"\nweights = "w.safetensors"\n'
        (folder / "defense.toml").write_text(manifest)
        save_file(build("cifar-resnet18").state_dict(), folder / "w.safetensors")
        lines.append(compared("cifar-resnet18", folder, torch.rand(50, 3, 32, 32), arguments.rounds))
        lines += ["", cost_of_lives(BASELINE, x[:100], arguments.rounds)]
        ended = cancelling(folder, torch.rand(250, 3, 32, 32), arguments.rounds)
    text = "\n".join([*lines, "", ended, "", promise(arguments.images, arguments.steps)])
    print(text)
    if arguments.write:
        write_section("The sandboxed host beside the same model in-process", f"{provenance()}\n\n{text}")


if __name__ == "__main__":
    main()
