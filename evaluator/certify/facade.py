"""One call for every certificate: by name, with the method's own parameters, errors before any compute."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from evaluator.certify.base import Certificates, Model, check_batch
from evaluator.certify.branch_and_bound import branch_and_bound
from evaluator.certify.crown import crown
from evaluator.certify.ibp import ibp
from evaluator.certify.lipschitz import lipschitz
from evaluator.certify.milp import milp_verify
from evaluator.certify.noise import build_noise
from evaluator.certify.smoothing_cohen import smoothing_cohen
from evaluator.certify.smoothing_curve import smoothing_curve
from evaluator.certify.smoothing_sequential import smoothing_sequential
from evaluator.errors import InputError
from evaluator.manifests.certificate_specs import SPEAKS_OF
from evaluator.threats.base import SLACK, Threat


@dataclass(frozen=True)
class Method:
    """One certificate: its parameters, the threats it speaks about, and whether it needs a secret seed."""

    run: Callable[..., Certificates]
    parameters: frozenset[str]
    threats: tuple[str, ...]
    seeded: bool = False


_SAMPLING = frozenset({"sigma", "noise", "n", "alpha", "batch"})
METHODS: dict[str, Method] = {
    "smoothing": Method(smoothing_sequential, _SAMPLING | {"radii"}, SPEAKS_OF["smoothing"], seeded=True),
    "smoothing-curve": Method(smoothing_curve, _SAMPLING | {"tolerance"}, SPEAKS_OF["smoothing"], seeded=True),
    "smoothing-cohen": Method(smoothing_cohen, _SAMPLING | {"n0"}, SPEAKS_OF["smoothing"], seeded=True),
    "ibp": Method(ibp, frozenset({"batch"}), SPEAKS_OF["ibp"]),
    "crown": Method(crown, frozenset({"batch", "iterations"}), SPEAKS_OF["crown"]),
    "bab": Method(branch_and_bound, frozenset({"batch", "domains", "iterations", "seconds"}), SPEAKS_OF["bab"]),
    "milp": Method(milp_verify, frozenset({"seconds", "nodes", "iterations", "candidates"}), SPEAKS_OF["milp"]),
    "lipschitz": Method(lipschitz, frozenset(), SPEAKS_OF["lipschitz"]),
}


def certify(
    model: Model,
    x: Tensor,
    y: Tensor,
    threat: Threat | None = None,
    *,
    method: str,
    seed: int | None = None,
    ids: Tensor | None = None,
    **parameters: Any,
) -> Certificates:
    """Certifies that `model` answers y on every input near x.

    x: (n, *shape) in [0, 1]; y: (n,) int64. threat: an Lp ball. Bound methods need it and answer for its epsilon
    (enlarged by the rounding that claims are allowed, so that no accepted claim lies outside what was proved). Smoothing
    and Lipschitz give a radius, `certified` says whether it reaches epsilon. Smoothing at given `radii` defaults to that
    epsilon. seed: secret, needed for smoothing. ids: (n,) stable example ids that key its noise.
    Raises InputError before any compute for an unknown method, a parameter it does not take, a missing sigma, seed or
    threat, a threat it cannot speak about, or a layer without a bound.
    """
    if method not in METHODS:
        raise InputError(
            f'there is no certificate named "{method}".', where="certificate", help=f"Known: {', '.join(METHODS)}."
        )
    entry = METHODS[method]
    foreign = sorted(set(parameters) - entry.parameters)
    if foreign:
        known = ", ".join(sorted(entry.parameters)) or "no parameters"
        raise InputError(f"{method} does not take {', '.join(foreign)}.", where="certificate", help=f"It takes {known}.")
    if threat is not None and threat.kind not in entry.threats:
        help_ = f"It certifies {', '.join(entry.threats)}."
        raise InputError(f"{method} says nothing about {threat.kind} perturbations.", where="certificate", help=help_)
    check_batch(x, y)
    if entry.seeded:
        return _smoothing(entry, model, x, y, threat, seed, ids, parameters)
    if threat is None:
        if method != "lipschitz":
            raise InputError(f"{method} needs a threat with its epsilon.", where="certificate", help="Pass Linf(0.3), say.")
        return lipschitz(model, x, y)
    found = entry.run(model, x, y, epsilon=threat.epsilon + SLACK, norm=threat.kind, **parameters)
    return replace(found, radius=(found.radius - SLACK).clamp_min(0.0), details={**found.details, "epsilon": threat.epsilon})


def _smoothing(
    entry: Method,
    model: Model,
    x: Tensor,
    y: Tensor,
    threat: Threat | None,
    seed: int | None,
    ids: Tensor | None,
    parameters: dict[str, Any],
) -> Certificates:
    """Smoothing with its noise built by name."""
    if seed is None:
        raise InputError("smoothing needs a secret seed.", where="certificate", help="Draw it after the submission is fixed.")
    options = dict(parameters)
    noise = build_noise(options.pop("noise", "gaussian"), options.pop("sigma", None))
    if "radii" in entry.parameters and "radii" not in options:
        if threat is None:
            raise InputError("smoothing needs radii, or a threat with its epsilon.", where="certificate")
        options["radii"] = (threat.epsilon + SLACK,)
    if "radii" in options:
        radii = tuple(float(r) for r in options["radii"])
        if not radii or radii[0] < 0 or any(b <= a for a, b in pairwise(radii)):
            raise InputError(f"radii must be at least 0 and increase, got {list(radii)}.", where="certificate")
        options["radii"] = radii
    found = entry.run(model, x, y, sigma=noise.sigma, noise=noise, seed=seed, ids=ids, **options)
    if threat is None:
        return found
    reached = found.certified & (found.radius >= torch.tensor(threat.epsilon, dtype=torch.float64))
    return replace(found, certified=reached, abstained=found.abstained | (found.certified & ~reached))
