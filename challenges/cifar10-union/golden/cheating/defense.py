"""A network trained without any defense that only tries to look robust."""

from evaluator.defenses.reference.cheats import saturated_cifar as load

__all__ = ["load"]
