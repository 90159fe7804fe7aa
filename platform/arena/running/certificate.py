"""A certificate of one defense at any radii, unattacked: what `redoubt certify` runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from arena.running.bench import bench
from arena.running.lanes import once_more
from arena.running.listening import SILENT, Listener
from evaluator.certify import Certificates, certify_at_radii
from evaluator.data import Examples
from evaluator.manifests.certificate_specs import CertificateSpec
from evaluator.manifests.spec import Pack
from evaluator.records.report import Progress
from sandbox import Sandbox

_SLICES = {"smoothing": 20, "lipschitz": 200, "ibp": 50, "crown": 16, "bab": 1, "milp": 1}


@dataclass(frozen=True)
class Proven:
    """What is proven. radius: (n,) float64, -1 where nothing is; samples: rows asked of the model."""

    examples: Examples
    radius: Tensor
    abstained: Tensor
    samples: int
    seconds: float
    expected_false: float


def run_certificate(
    pack: Pack,
    defense: Path,
    request: CertificateSpec,
    *,
    radii: tuple[float, ...],
    seed: int,
    examples: int,
    sandbox: Sandbox,
    listener: Listener = SILENT,
) -> Proven:
    """Certifies the first `examples` images; progress counts those proven at a radius above 0 as survivors.

    Raises InputError, before any compute, for what cannot be certified; SubmissionError for a defense that fails; Cancelled.
    """

    def prove() -> Proven:
        with bench(pack, defense, sandbox=sandbox, listener=listener, examples=examples, seed=seed) as ready:
            part, found = ready.examples, list[Certificates]()
            ready.require(request)
            with ready.certifiable(request, part) as model:
                for start in range(0, len(part), _SLICES[request.method]):
                    listener.tick()
                    piece = part[start : start + _SLICES[request.method]]
                    found.append(
                        certify_at_radii(
                            model, piece.x, piece.y, norm=ready.threat.kind, radii=radii, request=request,
                            seed=seed, ids=piece.ids,
                        )
                    )  # fmt: skip
                    proven = sum(int((certificates.radius > 0).sum()) for certificates in found)
                    done = start + len(piece)
                    listener.on_progress(Progress("certifying", "", done, len(part), survivors=proven))
        return Proven(
            examples=part,
            radius=torch.cat([certificates.radius for certificates in found]),
            abstained=torch.cat([certificates.abstained for certificates in found]),
            samples=sum(int(certificates.samples.sum()) for certificates in found),
            seconds=sum(certificates.seconds for certificates in found),
            expected_false=sum(certificates.expected_false for certificates in found),
        )

    return once_more(prove)
