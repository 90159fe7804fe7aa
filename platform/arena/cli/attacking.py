"""The work behind `redoubt attack`: runs one attack behind a progress bar, and writes what it found."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from arena.cli.folders import inspected_defense
from arena.cli.waiting import shown
from arena.running.listening import Listener
from arena.running.search import Found, run_search
from evaluator.attacks.base import Attack
from evaluator.checks.declared import declarations
from evaluator.manifests.spec import Challenge, Pack
from evaluator.records.gallery import Exhibit, gallery
from evaluator.records.report import Progress as Step
from sandbox.choose import open_sandbox_or_none

_EXHIBITS = 60


@dataclass(frozen=True)
class Order:
    """What to do: which attack under the pack's threat against which folder, on how many of its images."""

    name: str
    attack: Attack
    pack: Pack
    defense: Path
    examples: int
    seed: int
    sandbox: str


def allowed_time(challenge: Challenge) -> str:
    """How long the site lets a submitted attack play, in words."""
    limits, images = challenge.limits, challenge.evaluation.shard_examples
    whole = f"{limits.attack_seconds:,} s in all before it waits behind others"
    return f"{limits.seconds:,} s for each {images:,} images of a defense, {whole}"


def rows(found: Found) -> list[tuple[str, str]]:
    """The result table."""
    verdict, n = found.verdict, len(found.examples)
    table = [
        ("images", f"{n:,}"),
        ("clean accuracy", f"{int(verdict.correct.sum()) / n:.2%}"),
        ("accuracy under attack" if verdict.target is None else "target not reached", f"{int(verdict.robust.sum()) / n:.2%}"),
        ("broken, verified", f"{int(found.broken.sum()):,}"),
    ]
    if bool(found.broken.any()):
        table.append(("median distance of those", f"{float(found.distance[found.broken].median()):.4g}"))
    table += [("forward rows", f"{verdict.forward_rows:,}"), ("backward rows", f"{verdict.backward_rows:,}")]
    table += [("seconds", f"{verdict.seconds:.1f}"), *(("declared", words) for words in declarations(found.manifest))]
    return [*table, *(("flag", flag.evidence) for flag in verdict.flags)]


def carry_out(order: Order) -> Found:
    """Runs and verifies the attack and says on stderr how far it is. Raises InputError for a defense that cannot enter."""
    inspected_defense(order.defense, order.pack.challenge)
    with shown(f"{order.name}: getting the images and starting") as waiting:

        def report(step: Step) -> None:
            waiting(f"{order.name}: {step.stage} · {step.survivors} still standing", step.done, step.total)

        return run_search(
            order.pack,
            order.defense,
            order.name,
            order.attack,
            seed=order.seed,
            examples=order.examples,
            sandbox=open_sandbox_or_none(order.sandbox),
            listener=Listener(report),
        )


def write_array(path: Path, found: Found) -> None:
    """x_adv (n, C, H, W) float32: the adversarial input where broken, else the clean one; loads with allow_pickle=False."""
    broken = found.broken
    x_adv = torch.where(broken.reshape(-1, 1, 1, 1), found.rendered, found.examples.x)
    with path.open("wb") as stream:
        np.savez_compressed(
            stream,
            x_adv=x_adv.numpy(),
            y=found.examples.y.numpy(),
            ids=found.examples.ids.numpy(),
            broken=broken.numpy(),
            distance=torch.where(broken, found.distance, 0.0).numpy(),
        )


def write_gallery(path: Path, found: Found, *, title: str, kind: str) -> None:
    """A page with the first broken images."""
    rows = found.broken.nonzero().squeeze(1).tolist()[:_EXHIBITS]
    exhibits = [
        Exhibit(
            int(found.examples.ids[row]), found.examples.x[row], found.rendered[row],
            int(found.examples.y[row]), int(found.answers[row]), float(found.distance[row]),
        )
        for row in rows
    ]  # fmt: skip
    path.write_text(gallery(title, exhibits, unit=kind), encoding="utf-8")
