"""Complete verification of the calibration networks, beside the attack's bound and the published figures.

    python -m benchmarks.certify_calibration [--images N] [--seconds S] [--log FILE [--minutes M]] [--write] [NETWORK ...]

Only images that PGD with the margin loss leaves standing are verified, and what stays open is attacked once more, by the
evaluator's own ensemble. Seconds are processor time, so that a busy machine changes nothing. With --log every image's outcome
is kept and none is verified twice: a long run can be done in pieces, and with more --seconds only what stayed open is tried
again. --write puts one section per network into docs/certify-benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from benchmarks.certify import PAGE, table_of
from benchmarks.pages import provenance, write_section
from evaluator.attacks import PGD
from evaluator.certify.branch_and_bound import branch_and_bound
from evaluator.certify.crown import crown
from evaluator.data import Examples
from evaluator.ensembles.standard import standard
from evaluator.judging.defense import Defense
from evaluator.judging.evaluation import evaluate
from evaluator.threats import Linf
from tests.evaluator.support import sdp_images, sdp_model

TOGETHER = 10  # images attacked and relaxed at a time


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


@dataclass(frozen=True)
class Outcome:
    """What was found about one image. verdict: broken (by attack or search), relaxed (proved by slopes alone), proved, open."""

    network: str
    image: int
    limit: float
    verdict: str
    seconds: float
    domains: int


def outcomes(name: str, images: list[int], seconds: float) -> Iterator[Outcome]:
    """Attacks, relaxes and verifies images, at most `seconds` of processor time for the verification of each."""
    setting = NETWORKS[name]
    model, (x, y) = sdp_model(name), sdp_images(setting.images)
    attack, threat = PGD(steps=100, restarts=5, loss="margin"), Linf(setting.epsilon)
    for ids in torch.tensor(images, dtype=torch.int64).split(TOGETHER):
        points = attack(model, x[ids], y[ids], threat, ids=ids)
        standing = model(points).argmax(dim=1) == y[ids]
        relaxed = crown(model, x[ids], y[ids], epsilon=setting.epsilon, norm="linf", iterations=20).certified & standing
        for row, image in enumerate(ids.tolist()):
            if not bool(standing[row]):
                yield Outcome(name, image, seconds, "broken", 0.0, 0)
                continue
            clock, own = time.process_time, slice(image, image + 1)
            limits = {"seconds": seconds, "domains": None, "clock": clock}
            found = branch_and_bound(model, x[own], y[own], epsilon=setting.epsilon, **limits)
            proved = "relaxed" if bool(relaxed[row]) else "proved"
            verdict = proved if bool(found.certified) else "broken"
            if bool(found.abstained) and not falls(name, image):
                verdict = "open"
            yield Outcome(name, image, seconds, verdict, found.details["seconds"][0], found.details["domains"][0])


def falls(name: str, image: int) -> bool:
    """Whether the evaluation that entries go through, too slow for every image here, breaks this one."""
    threat, (x, y) = Linf(NETWORKS[name].epsilon), sdp_images(NETWORKS[name].images)
    own = torch.tensor([image])
    part = Examples(own, x[own], y[own], 10)
    verdict = evaluate(Defense.of(sdp_model(name)), part, threat, standard(threat), seed=0)
    return not bool(verdict.robust)


def recorded(log: Path | None) -> list[Outcome]:
    """The outcomes that a log holds."""
    if log is None or not log.is_file():
        return []
    return [Outcome(**json.loads(line)) for line in log.read_text().splitlines()]


def settles(entry: Outcome, seconds: float) -> bool:
    """Whether an outcome is what `seconds` an image would give: one of that limit, or settled within a smaller one."""
    return entry.limit == seconds or (entry.limit < seconds and entry.verdict != "open")


def verified(name: str, images: int, seconds: float, log: Path | None, until: float) -> list[Outcome]:
    """Every outcome of the first `images` images, the log's first; stops early `until` (time.monotonic) has passed."""
    known = {
        entry.image: entry
        for entry in recorded(log)
        if entry.network == name and entry.image < images and settles(entry, seconds)
    }
    missing = [image for image in range(images) if image not in known]
    for entry in outcomes(name, missing, seconds):
        known[entry.image] = entry
        if log is not None:
            with log.open("a") as lines:
                lines.write(json.dumps(asdict(entry)) + "\n")
        if time.monotonic() > until:
            break
    return [known[image] for image in sorted(known)]


def section(name: str, found: list[Outcome]) -> str:
    """The table of one network."""
    setting, count = NETWORKS[name], len(found)

    def share(*verdicts: str) -> str:
        return f"{100 * sum(entry.verdict in verdicts for entry in found) / count:.1f}"

    spent = [entry.seconds for entry in found if entry.seconds > 0]
    settled = [entry.seconds for entry in found if entry.verdict in ("relaxed", "proved")]
    head = (
        "images", "alpha-CROWN, %", "branch and bound, %", "attack's bound, %", "published, verified of bound, all 200, %",
        "processor s an attacked survivor", "a proved one", "the longest proof",
    )  # fmt: skip
    published = f"{setting.verified:.1f} of {setting.bound:.1f}"
    bounds = share("relaxed"), share("relaxed", "proved"), share("relaxed", "proved", "open")
    means = [f"{sum(part) / max(len(part), 1):.1f}" for part in (spent, settled)]
    cells = (str(count), *bounds, published, *means, f"{max(settled, default=0.0):.1f}")
    left = ", ".join(str(entry.image) for entry in found if entry.verdict == "open") or "none"
    limit = max(entry.limit for entry in found)
    return (
        f"The first {count} calibration images, Linf {setting.epsilon:.4g}, at most {limit:g} s of processor time an "
        f"image.\n\n{table_of(head, [cells])}\nNeither proved nor broken: {left}."
    )


def main() -> None:
    """Verifies the networks named on the command line, all by default."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.certify_calibration", description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="*", metavar="NETWORK", help=f"any of {', '.join(NETWORKS)}; default all")
    parser.add_argument("--images", type=int, default=12, help="how many of the 200 (default 12)")
    parser.add_argument("--seconds", type=float, default=20.0, help="processor time for one image at most (default 20)")
    parser.add_argument("--log", type=Path, help="keep outcomes here, one line an image, and verify only what it lacks")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after so long; the same --log goes on")
    parser.add_argument("--write", action="store_true", help="put each table into docs/certify-benchmarks.md")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.networks if name not in NETWORKS]
    if unknown:
        parser.error(f"unknown network {unknown[0]}; known: {', '.join(NETWORKS)}")
    torch.set_num_threads(1)
    until = time.monotonic() + 60 * arguments.minutes
    for name in arguments.networks or NETWORKS:
        found = verified(name, arguments.images, arguments.seconds, arguments.log, until)
        heading, text = f"Complete verification of {name}", section(name, found)
        print(f"\n{heading}\n\n{text}", flush=True)
        if arguments.write:
            write_section(heading, f"{provenance()}\n\n{text}", page=PAGE)


if __name__ == "__main__":
    main()
