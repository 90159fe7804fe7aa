"""Common corruptions: 15 kinds in 5 severities, after Hendrycks and Dietterich 2019.

"Benchmarking Neural Network Robustness to Common Corruptions and Perturbations", sec. 3; the severities are those of the
authors' CIFAR-10-C, and serve 28 x 28 one-channel images (MNIST) as well. Kinds that the paper makes from downloaded
photographs (frost) or with ImageMagick (motion blur) are made here from their definition, with procedural textures. So
error rates are comparable in kind with CIFAR-10-C, not equal to its figures.
"""

from __future__ import annotations

from evaluator.threats.corruptions.registry import KINDS, corrupt
from evaluator.threats.corruptions.threat import Corruptions

__all__ = ["KINDS", "Corruptions", "corrupt"]
