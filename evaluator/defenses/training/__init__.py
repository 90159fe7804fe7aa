"""Training methods, one a file, on one protocol (`evaluator.defenses.training.method`), and the loop that runs them."""

from __future__ import annotations
