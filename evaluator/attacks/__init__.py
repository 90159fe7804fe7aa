"""Attacks: one method a file, all on one protocol (`evaluator.attacks.base`), listed in one registry.

Every module of this package is imported here, so that a new file with `@register(...)` in it is on the list at once.
"""

import importlib
import pkgutil

for _module in sorted(module.name for module in pkgutil.iter_modules(__path__) if module.name != "table"):
    importlib.import_module(f"{__name__}.{_module}")

from evaluator.attacks.base import Attack, Batch, Model  # noqa: E402  (registration comes first)
from evaluator.attacks.fgsm import FGSM  # noqa: E402
from evaluator.attacks.pgd import PGD  # noqa: E402
from evaluator.attacks.registry import create, entries, find  # noqa: E402

__all__ = ["FGSM", "PGD", "Attack", "Batch", "Model", "create", "entries", "find"]
