"""Whether two attacks found the same thing: their verified points are compared, image by image."""

from __future__ import annotations

from torch import Tensor

from evaluator.data.tensors import Examples
from evaluator.judging.compaction import expand
from evaluator.records.adversarial_archive import AdversarialArchive
from evaluator.threats.base import Threat

NEAR = 0.1  # of epsilon: results that are no farther apart are the same result
_OWN_SIZE = 0.5  # of the larger of the two: small perturbations are not alike because they are small


def near(one: Tensor, other: Tensor, x: Tensor, threat: Threat) -> Tensor:
    """(n,) bool: points of the same images that are one result in the threat's own distance.

    one, other: (n, *point). Their difference, as a perturbation, is at most a tenth of epsilon and half the larger of them.
    """
    start = threat.start(x)
    apart = threat.distance(x, start + (one - other))
    larger = threat.distance(x, one).maximum(threat.distance(x, other))
    return (apart <= NEAR * threat.epsilon) & ((apart <= _OWN_SIZE * larger) | (apart == 0))


def alike(one: AdversarialArchive, other: AdversarialArchive, examples: Examples, threat: Threat) -> list[int]:
    """The ids of the examples at which both archives hold the same result, in data order.

    Raises InputError for archives of another threat.
    """
    (first, has_first), (second, has_second) = (expand(archive, examples, threat) for archive in (one, other))
    both = has_first & has_second
    same = near(first[both], second[both], examples.x[both], threat)
    found: list[int] = examples.ids[both][same].tolist()
    return found
