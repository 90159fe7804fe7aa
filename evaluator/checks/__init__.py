"""Honesty checks: what makes the evaluator doubt that its attacks saw the model as it is, one check a file."""

from evaluator.checks import (  # noqa: F401  (each import registers its check)
    batch_dependence,
    dynamic_inference,
    file_grid,
    gradient_accuracy,
    incomplete_optimisation,
    large_epsilon,
    memorized_inputs,
    more_steps,
    non_differentiable,
    planted,
    random_noise,
    randomness,
    rising_accuracy,
    silent_success,
    single_step,
    softmax_output,
    state,
    traffic,
    transfer,
    zero_gradients,
)
from evaluator.checks.base import Check, Finding, Subject, registered
from evaluator.checks.battery import examine, sampled
from evaluator.checks.honest import Honest

__all__ = ["Check", "Finding", "Honest", "Subject", "examine", "registered", "sampled"]
