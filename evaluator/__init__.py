"""Redoubt's evaluator: attacks, certificates and honest verdicts on image classifiers, as a plain PyTorch library.

Importing this package is cheap and torch-free; the parts that need torch are imported by name
(`evaluator.threats`, `evaluator.attacks`, `evaluator.judging.evaluation`, ...).
"""

__version__ = "0.1.0"
