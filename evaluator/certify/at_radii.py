"""Certificates at the radii of a board: per example the largest of them at which its label is proven."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor

from evaluator.certify.base import Certificates, Model, labels
from evaluator.certify.facade import certify
from evaluator.manifests.certificate_specs import ALPHA, CertificateSpec
from evaluator.threats import L1, L2, SLACK, Linf

NOTHING = -1.0  # the radius of an example about which nothing is proven, not even its own label
BALLS: dict[str, type[Linf | L2 | L1]] = {ball.kind: ball for ball in (Linf, L2, L1)}


def certify_at_radii(
    model: Model,
    x: Tensor,
    y: Tensor,
    *,
    norm: str,
    radii: tuple[float, ...],
    request: CertificateSpec,
    seed: int | None = None,
    ids: Tensor | None = None,
) -> Certificates:
    """The largest radius at which label y is proven for each example: 0 for the example itself, NOTHING (-1) for none.

    radii: increasing, at least 0, in `norm`. Every method proves a little more than it says, by the SLACK that accepted
    claims may exceed a radius by. Smoothing settles all radii in one test. Bounds try them in turn while they hold;
    Lipschitz gives a radius of its own, which need not be one of `radii`. `certified`: something is proven; `abstained`:
    the label may be right, but not even the smallest radius above 0 is proven.
    Raises InputError as `certify` does.
    """
    started = time.perf_counter()
    parameters: dict[str, Any] = request.parameters()
    match request.method:
        case "smoothing":
            raised = tuple(r + SLACK if r > 0 else 0.0 for r in radii)
            found = certify(model, x, y, method="smoothing", seed=seed, ids=ids, **(parameters | {"radii": raised}))
            steps = torch.tensor(radii, dtype=torch.float64)
            proven = torch.searchsorted(steps, found.radius, right=True) - 1
            radius = torch.where(found.certified, steps[proven.clamp_min(0)], NOTHING)
            expected = float(parameters.get("alpha", ALPHA)) * len(x)
            samples, abstained = found.samples, radius <= 0
        case "lipschitz":
            found = certify(model, x, y, BALLS[norm](max(radii[-1], SLACK)), method="lipschitz")
            right = found.certified | found.abstained | (found.radius > 0)
            radius = torch.where(right, found.radius, NOTHING)
            samples, abstained, expected = found.samples, right & (found.radius <= 0), 0.0
        case method:
            with torch.no_grad():
                right = labels(model(x)).cpu() == y.cpu()
            radius = torch.where(right, 0.0, NOTHING).double()
            left = right.nonzero().squeeze(1)
            for r in (r for r in radii if r > 0):
                if not len(left):
                    break
                found = certify(model, x[left], y[left], BALLS[norm](r), method=method, **parameters)
                left = left[found.certified]
                radius[left] = r
            samples, expected = torch.zeros(len(x), dtype=torch.int64), 0.0
            abstained = radius == 0
    return Certificates(
        method=request.method,
        norm=norm,
        radius=radius,
        certified=radius >= 0,
        abstained=abstained,
        samples=samples,
        seconds=time.perf_counter() - started,
        expected_false=expected,
        details={"radii": list(radii), **parameters},
    )
