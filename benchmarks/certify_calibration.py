"""Complete verification of the calibration networks, beside the attack's bound and the published figures.

    python -m benchmarks.certify_calibration [--images N] [--seconds S] [--write] [NETWORK ...]

Only images that PGD with the margin loss leaves standing are verified. --write puts one section per network into
docs/certify-benchmarks.md.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass

import torch

from benchmarks.certify import PAGE, table_of
from benchmarks.pages import provenance, write_section
from evaluator.attacks import PGD
from evaluator.certify.branch_and_bound import branch_and_bound
from evaluator.certify.crown import crown
from evaluator.threats import Linf
from tests.evaluator.support import sdp_images, sdp_model


@dataclass(frozen=True)
class Calibration:
    """A network of the calibration set: its images, the Linf radius, and what is published for all 200 images."""

    images: str
    epsilon: float
    verified: float
    bound: float


NETWORKS = {
    "mnist_cnn_a_adv": Calibration("mnist", 0.3, 76.0, 76.5),
    "cifar_cnn_a_adv": Calibration("cifar", 2 / 255, 48.5, 50.0),
    "cifar_cnn_a_mix": Calibration("cifar", 2 / 255, 48.0, 53.0),
}


def section(name: str, images: int, seconds: float) -> str:
    """The table of one network on its first `images` images, at most `seconds` of wall time each."""
    setting = NETWORKS[name]
    model, (x, y) = sdp_model(name), sdp_images(setting.images)
    x, y = x[:images], y[:images]
    points = PGD(steps=100, restarts=5, loss="margin")(model, x, y, Linf(setting.epsilon))
    survivors = (model(points).argmax(dim=1) == y).nonzero().squeeze(1)
    relaxed = crown(model, x[survivors], y[survivors], epsilon=setting.epsilon, norm="linf", iterations=20)
    proved: list[int] = []
    spent: list[float] = []
    for i in survivors.tolist():
        begun = time.process_time()
        found = branch_and_bound(model, x[i : i + 1], y[i : i + 1], epsilon=setting.epsilon, seconds=seconds)
        spent.append(time.process_time() - begun)
        proved += [i] if bool(found.certified) else []
    count = len(x)
    share = [f"{100 * part / count:.1f}" for part in (int(relaxed.certified.sum()), len(proved), len(survivors))]
    head = (
        "images", "alpha-CROWN, %", "branch and bound, %", "attack's bound, %", "published, verified of bound, all 200, %",
        "processor s, mean of attacked survivors", "largest",
    )  # fmt: skip
    published = f"{setting.verified:.1f} of {setting.bound:.1f}"
    cells = (str(count), *share, published, f"{sum(spent) / max(len(spent), 1):.1f}", f"{max(spent, default=0.0):.1f}")
    undecided = sorted(set(survivors.tolist()) - set(proved))
    left = ", ".join(map(str, undecided)) or "none"
    return (
        f"The first {count} calibration images, Linf {setting.epsilon:.4g}, at most {seconds:g} s an image.\n\n"
        f"{table_of(head, [cells])}\nNeither proved nor broken: {left}."
    )


def main() -> None:
    """Verifies the networks named on the command line, all by default."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.certify_calibration", description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="*", metavar="NETWORK", help=f"any of {', '.join(NETWORKS)}; default all")
    parser.add_argument("--images", type=int, default=12, help="how many of the 200 (default 12)")
    parser.add_argument("--seconds", type=float, default=20.0, help="wall time for one image at most (default 20)")
    parser.add_argument("--write", action="store_true", help="put each table into docs/certify-benchmarks.md")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.networks if name not in NETWORKS]
    if unknown:
        parser.error(f"unknown network {unknown[0]}; known: {', '.join(NETWORKS)}")
    torch.set_num_threads(1)
    for name in arguments.networks or NETWORKS:
        heading, text = f"Complete verification of {name}", section(name, arguments.images, arguments.seconds)
        print(f"\n{heading}\n\n{text}", flush=True)
        if arguments.write:
            write_section(heading, f"{provenance()}\n\n{text}", page=PAGE)


if __name__ == "__main__":
    main()
