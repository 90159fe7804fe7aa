"""Attacks: one method a file, all on one protocol (`evaluator.attacks.base`), listed in one registry."""

from evaluator.attacks import fgsm, pgd  # noqa: F401  (importing an attack's module registers it)
from evaluator.attacks.base import Attack, Batch, Model
from evaluator.attacks.fgsm import FGSM
from evaluator.attacks.pgd import PGD
from evaluator.attacks.registry import create, entries, find

__all__ = ["FGSM", "PGD", "Attack", "Batch", "Model", "create", "entries", "find"]
