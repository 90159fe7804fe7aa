"""A network trained without any defense that only tries to look robust."""

from evaluator.defenses.reference.cheats import saturated as load

__all__ = ["load"]
