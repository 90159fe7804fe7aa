"""A small valid report, and the same with changes."""

from __future__ import annotations

from evaluator.records.report import AttackRecord, Digests, Environment, Report


def report(**changes: object) -> Report:
    attack = AttackRecord(name="PGD", tried=3, broken=1, survivors=2, forward_rows=9, backward_rows=6, seconds=0.5)
    digests = Digests(submission="a" * 64, pack="b" * 64, data="c" * 64)
    environment = Environment(
        evaluator="0.1.0", torch="2.13.0", python="3.11.7", device="cpu", threads=2, lane="host", sandbox="bubblewrap",
        enforced=["network"],
    )  # fmt: skip
    values: dict[str, object] = {
        "challenge": "mnist-linf", "submission": "Test", "examples": 4, "ids": [0, 1, 2, 3], "clean_accuracy": 0.75,
        "robust_accuracy": 0.5, "robust_interval": (0.07, 0.93), "certified_accuracy": None, "correct_bits": [1, 1, 1, 0],
        "robust_bits": [1, 1, 0, 0], "certified_bits": [0, 0, 0, 0], "broken_by": [-1, -1, 0, -1], "attacks": [attack],
        "flags": [], "verified": True, "seed": 2**62 + 1, "forward_rows": 20, "backward_rows": 6, "seconds": 1.0,
        "digests": digests, "environment": environment,
    }  # fmt: skip
    return Report.model_validate({**values, **changes})
