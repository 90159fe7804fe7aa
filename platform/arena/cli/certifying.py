"""The work behind `redoubt certify`: certifies behind a progress bar, and writes the radii."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from arena.cli.folders import inspected_defense
from arena.cli.waiting import shown
from arena.running.certificate import Proven, run_certificate
from arena.running.listening import Listener
from evaluator.manifests.certificate_specs import ALPHA, CertificateSpec
from evaluator.manifests.spec import Pack
from evaluator.records.certificate_record import accuracies, average_radius
from evaluator.records.report import Progress
from sandbox.choose import open_sandbox_or_none


@dataclass(frozen=True)
class Order:
    """What to do: which certificate of which folder, at which radii, on how many images of the challenge."""

    defense: Path
    request: CertificateSpec
    pack: Pack
    radii: tuple[float, ...]
    examples: int
    seed: int
    sandbox: str


@dataclass(frozen=True)
class Done:
    """What came of it."""

    order: Order
    proven: Proven

    def rows(self) -> list[tuple[str, str]]:
        """The result table."""
        order, proven = self.order, self.proven
        shares = accuracies(proven.radius.numpy(), order.radii)
        rows = [
            (f"certified at {radius:g}" if radius else "certified at 0 (its label)", f"{share:.2%}")
            for radius, share in zip(order.radii, shares, strict=True)
        ]
        rows.append(("average certified radius", f"{average_radius(proven.radius.numpy()):.4f}"))
        rows.append(("abstentions", f"{int(proven.abstained.sum()):,}"))
        if order.request.method == "smoothing":
            rows.append(("speaks for", "the smoothed classifier"))
            rows.append(("alpha, for each image", f"{order.request.alpha or ALPHA:g}"))
            rows.append(("expected false certificates", f"at most {proven.expected_false:.3g}"))
            rows.append(("samples for each image", f"{proven.samples / len(proven.examples):,.0f}"))
        else:
            rows.append(("expected false certificates", "none: a proof"))
        return [*rows, ("seed", str(order.seed)), ("seconds", f"{proven.seconds:.1f}")]


def carry_out(order: Order) -> Done:
    """Certifies and says on stderr how far it is. Raises InputError before any compute for what cannot be certified."""
    method = order.request.method
    inspected_defense(order.defense, order.pack.challenge)
    with shown(f"{method}: getting the images and starting") as waiting:

        def report(step: Progress) -> None:
            waiting(f"{method} · {step.survivors} certified", step.done, step.total)

        proven = run_certificate(
            order.pack,
            order.defense,
            order.request,
            radii=order.radii,
            seed=order.seed,
            examples=order.examples,
            sandbox=open_sandbox_or_none(order.sandbox),
            listener=Listener(report),
        )
    return Done(order, proven)


def write_radii(path: Path, done: Done) -> None:
    """ids, y (n,) and radius (n,) float64, -1 where nothing is proven; radii and accuracies; loads with allow_pickle=False."""
    with path.open("wb") as stream:
        np.savez_compressed(
            stream,
            ids=done.proven.examples.ids.numpy(),
            y=done.proven.examples.y.numpy(),
            radius=done.proven.radius.numpy(),
            radii=np.asarray(done.order.radii),
            accuracies=np.asarray(accuracies(done.proven.radius.numpy(), done.order.radii)),
        )
