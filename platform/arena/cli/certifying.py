"""The work behind `redoubt certify`: opens the defense in its lane, certifies it piece by piece, and writes the radii."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from arena.cli.folders import inspected_defense
from arena.cli.waiting import shown
from arena.running.lanes import Lane, choose, settled_threads
from arena.running.staging import staged
from evaluator.certify import Certificates, certify_at_radii
from evaluator.data import Examples
from evaluator.data import examples as ranked_examples
from evaluator.host.load import load_weights_only
from evaluator.judging.certification import require
from evaluator.manifests.certificate_specs import ALPHA, CertificateSpec
from evaluator.manifests.spec import Challenge, DefenseManifest
from evaluator.models.meter import Meter, MeteredModel
from evaluator.records.certificate_record import accuracies, average_radius
from evaluator.threats import build
from sandbox.choose import open_sandbox_or_none

_SLICES = {"smoothing": 20, "lipschitz": 200, "ibp": 50, "crown": 16, "bab": 1, "milp": 1}


@dataclass(frozen=True)
class Order:
    """What to do: which certificate of which folder, at which radii, on how many images of the challenge."""

    defense: Path
    manifest: DefenseManifest
    request: CertificateSpec
    challenge: Challenge
    radii: tuple[float, ...]
    examples: int
    seed: int
    sandbox: str


@dataclass(frozen=True)
class Done:
    """What came of it. radius: (n,) float64, -1 where nothing is proven."""

    order: Order
    examples: Examples
    radius: Tensor
    abstained: Tensor
    samples: int
    seconds: float
    expected_false: float

    def rows(self) -> list[tuple[str, str]]:
        """The result table."""
        order = self.order
        shares = accuracies(self.radius.numpy(), order.radii)
        rows = [
            (f"certified at {radius:g}" if radius else "certified at 0 (its label)", f"{share:.2%}")
            for radius, share in zip(order.radii, shares, strict=True)
        ]
        rows.append(("average certified radius", f"{average_radius(self.radius.numpy()):.4f}"))
        rows.append(("abstentions", f"{int(self.abstained.sum()):,}"))
        if order.request.method == "smoothing":
            rows.append(("speaks for", "the smoothed classifier"))
            rows.append(("alpha, for each image", f"{order.request.alpha or ALPHA:g}"))
            rows.append(("expected false certificates", f"at most {self.expected_false:.3g}"))
            rows.append(("samples for each image", f"{self.samples / len(self.examples):,.0f}"))
        else:
            rows.append(("expected false certificates", "none: a proof"))
        return [*rows, ("seed", str(order.seed)), ("seconds", f"{self.seconds:.1f}")]


def carry_out(order: Order) -> Done:
    """Certifies and says on stderr how far it is. Raises InputError before any compute for what cannot be certified."""
    data, method = order.challenge.data, order.request.method
    inspected_defense(order.defense, order.challenge)
    limits, threat = order.challenge.limits, build(order.challenge.threat)
    threads = settled_threads(limits)
    with staged(order.defense) as copy, shown(f"{method}: getting the images and starting") as waiting:
        part = ranked_examples(data.model_copy(update={"examples": min(order.examples, data.examples)}))
        weights_only = order.manifest.format == "safetensors"
        network = load_weights_only(copy.folder, order.manifest) if weights_only else None
        require(order.request, threat, network, tuple(part.x.shape[1:]))
        lane = Lane(
            choose("auto", order.manifest),
            copy.folder,
            order.manifest,
            limits,
            open_sandbox_or_none(order.sandbox),
            threads,
            _ignore,
        )
        opened = nullcontext(network) if network is not None else lane.open(part.classes)
        with opened as model:
            assert model is not None
            asked = network or MeteredModel(model, Meter(), classes=part.classes).eval()
            found: list[Certificates] = []
            for start in range(0, len(part), _SLICES[method]):
                piece = part[slice(start, start + _SLICES[method])]
                found.append(
                    certify_at_radii(
                        asked, piece.x, piece.y, norm=threat.kind, radii=order.radii, request=order.request,
                        seed=order.seed, ids=piece.ids,
                    )
                )  # fmt: skip
                proven = sum(int((certificates.radius > 0).sum()) for certificates in found)
                waiting(f"{method} · {proven} certified", start + len(piece), len(part))
    return Done(
        order=order,
        examples=part,
        radius=torch.cat([certificates.radius for certificates in found]),
        abstained=torch.cat([certificates.abstained for certificates in found]),
        samples=sum(int(certificates.samples.sum()) for certificates in found),
        seconds=sum(certificates.seconds for certificates in found),
        expected_false=sum(certificates.expected_false for certificates in found),
    )


def _ignore(text: bytes) -> None:
    """The submission's own output is not shown."""


def write_radii(path: Path, done: Done) -> None:
    """ids, y (n,) and radius (n,) float64, -1 where nothing is proven; radii and accuracies; loads with allow_pickle=False."""
    with path.open("wb") as stream:
        np.savez_compressed(
            stream,
            ids=done.examples.ids.numpy(),
            y=done.examples.y.numpy(),
            radius=done.radius.numpy(),
            radii=np.asarray(done.order.radii),
            accuracies=np.asarray(accuracies(done.radius.numpy(), done.order.radii)),
        )
