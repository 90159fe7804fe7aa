"""docs/honesty.md, generated from the registry: `python -m evaluator.checks.table > docs/honesty.md`."""

from __future__ import annotations

import sys

from evaluator.checks import registered
from evaluator.checks.base import SAMPLE

_ELSEWHERE = (
    (
        "black-box-beats-white-box",
        "unverified",
        "Square with 1,000 queries, which needs no gradient, on a sample of the survivors; fires when it breaks 0.2 % of the "
        "examples and at least two. The ensemble then searches the whole block with its full attacks.",
    ),
    (
        "clean-repeat",
        "unverified",
        "A fresh copy of the model classifies clean images differently from the copy that was searched.",
    ),
    ("claim-repeat", "unverified", "Adversarial inputs of the search do not break a fresh copy of the model."),
    (
        "adaptive-attack",
        "unverified",
        "The automatic adaptive attack broke examples that the standard search had left standing, by means that the entry did "
        "not declare.",
    ),
)

_PRIVATE = """No pack of this version has one: all its images are public, and `memorized-inputs` asks instead about images that
nobody can have stored (translations and negatives of the ranked ones); that gap is the one a private split would show. A
pack with a private split is evaluated on it as a second `Examples`; the gap of the two accuracies belongs where
`evaluator.evaluation.evaluate` joins the flags of its verdict, with a two-sample test of the two counts."""

_MEASURED = """Ten honest networks (without defense; trained by PGD, IBP, TRADES, a mix of PGD and certificates, under noise;
MNIST and CIFAR-10, Linf and L2) raise no flag. What they measure, beside the threshold:

| check | fires | farthest of the honest networks |
|---|---|---|
| `noise-beats-gradient` | more than 1 falls | 0 fall of 10,000 points |
| `transfer-beats-gradient` | more than 1 falls | 0 fall |
| `incomplete-optimisation` | more than 0.05 in the last 10 of 100 steps | 0.029 (after 30 steps: 0.11) |
| `zero-gradients` | any example | 0 |
| `gradient-accuracy` | cosine below 0.5 at h = 0.001, signs below 70% | 1.00, 94% |

At h = epsilon/4 and epsilon the same cosine falls to 0.39 and -0.08 on honest networks at Linf 0.3: their loss is curved over
such distances, so only the smallest h decides. All checks together cost about 16,000 forward and 3,300 backward rows on a
robust network, 10,000 of them random points, whatever the number of ranked examples; a fifth of that on one that is not."""


_ADAPTIVE = """Where a check leaves doubt, or an entry declares what it does, the examples that stand are attacked once
more, each way in turn; what falls counts on the unmodified model only.

1. Through the declared stand-ins, straight through every custom part and every rounding, through small networks fitted to
   those parts, and through the model's own gradient: APGD on the margin, on cross-entropy, and with three times as many steps.
2. Around the parts: PGD on the network without them, and whatever transfers from a substitute trained on labels.
3. Without gradients: Square with restarts, then HopSkipJump on decisions alone.

Random models are attacked by PGD that never stops, on the mean of 4 to 16 answers (as many as signal-to-noise 2 or 90% equal
signs ask for); the few that stand after that by the mean probabilities of 64. An input breaks a random model when fresh
answers, at least 64, reject "right at least half of the time" at the level 0.01. The search asks for 1e-7, so that chance in
verification costs nothing: with 32 answers and 1e-5 one image of noise layers in 180 was lost there, now none of 1,440."""


def markdown() -> str:
    """The whole page."""
    lines = [
        "# Honesty checks",
        "",
        "Generated from the registry by `python -m evaluator.checks.table > docs/honesty.md`; do not edit.",
        "",
        "Most defenses that looked robust only hid their gradient. After the search of every evaluation these checks look at a",
        f"sample of at most {SAMPLE} correctly classified examples and ask whether the attacks saw the model as it is. They",
        "need logits and vector-Jacobian products only, so code in a sandbox is examined as weights are;",
        "`non-differentiable-operations` and `dynamic-inference` read what the model's own process tells of its inside. A",
        "check that fires leaves a flag with its measured figures and **never changes a score**:",
        "",
        "- `unverified`: the evaluator cannot vouch for the verdict. The entry is shown and not ranked until the team declares",
        "  what hides the gradient, or mends it.",
        "- `info`: something was seen that the attacks have dealt with.",
        "",
        "A check that does not fire is no certificate: the findings are evidence against an entry, never for it.",
        "",
        "| check | severity | definition | threats |",
        "|---|---|---|---|",
    ]
    checks = registered()
    for check in checks:
        kinds = ", ".join("`*`" if kind == "*" else kind for kind in check.kinds)
        lines.append(f"| [`{check.name}`](#{check.name}) | {check.severity} | {check.definition} | {kinds} |")
    lines += ["", "## What each one means, and what to do", ""]
    for check in checks:
        lines += [f"### {check.name}", "", f"{check.title}. {check.meaning}", "", f"What to do: {check.remedy}", ""]
    lines += ["## What honest networks measure", "", _MEASURED, ""]
    lines += ["## The adaptive attack", "", _ADAPTIVE, ""]
    lines += ["## Flags that other parts of an evaluation raise", "", "| flag | severity | definition |", "|---|---|---|"]
    lines += [f"| `{name}` | {severity} | {definition} |" for name, severity, definition in _ELSEWHERE]
    lines += ["", "## A private split", "", _PRIVATE]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(markdown())
