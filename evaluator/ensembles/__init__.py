"""Ensembles: which attacks an official evaluation runs, in which order, on whom."""

from evaluator.ensembles.base import Ensemble, Search, Step
from evaluator.ensembles.sequence import Sequence, Stage
from evaluator.ensembles.short import SHORT
from evaluator.ensembles.standard import standard

__all__ = ["SHORT", "Ensemble", "Search", "Sequence", "Stage", "Step", "standard"]
