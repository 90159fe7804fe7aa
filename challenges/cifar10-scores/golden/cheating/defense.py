"""A network trained without any defense that only tries to look robust."""

from evaluator.defenses.reference.cheats import gradient_free as load

__all__ = ["load"]
