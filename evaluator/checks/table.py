"""docs/honesty.md, generated from the registry: `python -m evaluator.checks.table > docs/honesty.md`."""

from __future__ import annotations

import sys

from evaluator.certify.strangers import CHECK as COMPANY
from evaluator.certify.strangers import KEPT as NOISY
from evaluator.certify.strangers import RESTLESS, TIES
from evaluator.checks import registered
from evaluator.checks.audit import CHANCE, COARSEST, FEW, KEPT, SLOPE, TOLERANCE
from evaluator.checks.base import SAMPLE, Check
from evaluator.manifests.threat_specs import threat_kinds
from evaluator.threats.registry import threat_class

_ELSEWHERE = (
    (
        "black-box-beats-white-box",
        "unverified",
        "Square with 1,000 queries, which needs no gradient, on a sample of the survivors; fires when it breaks 0.2 % of the "
        "examples and at least two. The ensemble then searches the whole block with its full attacks.",
    ),
    (
        "replay",
        "unverified",
        f"Of the search's questions, {KEPT} rows asked with a gradient and {KEPT} without, drawn uniformly, and its "
        "last pass are asked again of a fresh copy, alone and among strangers, in passes of secret sizes. Fires when an answer "
        f"differs by more than {TOLERANCE:g} of its logits' spread (up to {COARSEST:g} where the copy's own answers vary with "
        f"their pass), or more than {FEW} and 5 % of the gradients by more than {SLOPE:.0%}. Answers that are declared random "
        f"are compared as distributions, by mid-ranks at {CHANCE:g}.",
    ),
    (
        "closest-points",
        "unverified",
        "Before it sees any clean image, a fresh copy is asked about the point where the search came closest on each example "
        "that stands, as it is and rounded to multiples of 1/255, as files are. What breaks counts as broken. More than two of "
        "the first kind are flagged, and of the second more than two that are more than a tenth of what stands. Not asked "
        "where answers are random or views decide.",
    ),
    (
        COMPANY,
        "unverified",
        "Noisy inputs that are asked together (of one large image or of several small ones) are mixed in passes of secret "
        f"sizes. {NOISY} of them, drawn uniformly, are asked again of a fresh copy, half of them alone. More than "
        f"{TIES:.1%} changed labels, or leads that move by {RESTLESS:.0%} in most of them, void every certificate.",
    ),
    (
        "checks-beat-search",
        "unverified",
        "What a check saw break inside the threat counts as broken. More than one example that the search had left standing is "
        'flagged: the search was led astray. Only "info" with a declared detector, which stops the search, and where views '
        "decide.",
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
nobody can have stored (secret deformations and negatives of the ranked ones), and about images of the split that do not rank;
that gap is the one a private split would show. A pack with a private split is evaluated on it as a second `Examples`; the gap
of the two accuracies belongs where `judging.evaluation.evaluate` joins the flags of its verdict, with a two-sample test."""

_MEASURED = """Ten honest networks (without defense; trained by PGD, IBP, TRADES, a mix of PGD and certificates, under noise;
MNIST and CIFAR-10, Linf and L2) raise no flag. What they measure, beside the threshold:

| check | fires | farthest of the honest networks |
|---|---|---|
| `noise-beats-gradient` | more than 1 falls | 0 fall of 10,000 points |
| `transfer-beats-gradient` | more than 1 falls | 0 fall |
| `incomplete-optimisation` | more than 0.05 in the last 10 of 100 steps | 0.029 (after 30 steps: 0.11) |
| `zero-gradients` | any example | 0 |
| `gradient-accuracy` | cosine below 0.5 or signs below 70% at every h | 0.99, 91% at its best h |

At Linf 0.3 the cosine of `gradient-accuracy` falls from 1.00 at h = 0.001 to 0.88 at 0.008 on the IBP-trained network, whose
loss is curved over such distances; on one that computes in bfloat16 it rises from 0.67 to 0.99, because rounding drowns the
small step. A gradient that does not fit fits at neither (at most 0.46, k-winners-take-all; a staircase of ten levels behind a
stand-in 0.43). All checks together cost
about 16,000 forward and 3,300 backward rows on a robust network, 10,000 of them random points, whatever the number of ranked
examples; a fifth of that on one that is not, or under a threat where noise is not asked."""


_ADAPTIVE = """Where a check leaves doubt, or an entry declares what it does, the examples that stand are attacked once
more, each way in turn; what falls counts on the unmodified model only.

1. Through the declared stand-ins, straight through every custom part and every rounding, through small networks fitted to
   those parts, and through the model's own gradient: APGD on the margin, on cross-entropy, and with three times as many
   steps.
2. Where the gradient of cross-entropy or of the margin is zero for any of them: cross-entropy on rescaled logits (below),
   and both losses through the model in float64.
3. Around the parts: PGD on the network without them, and whatever transfers from a substitute trained on labels.
4. Without gradients: Square with restarts, then HopSkipJump on decisions alone.

### Numbers that float32 loses

Logits of 10^6 leave cross-entropy no gradient, because their softmax is exactly 0 or 1; logits of 10^-30 lose theirs on the
way back. Each row is multiplied by a positive constant that makes it 10 wide, which changes no label: the loss sees
well-sized logits and the host gets well-sized cotangents. So nothing is left for a loss in float64, and none is computed.
Logits cross the line in float32, and what the model itself has rounded away cannot be had back from them; for that the host
repeats the pass with a copy of the module in float64 and differentiates the copy, while its answers stay the module's own
bits. Code that insists on float32 keeps its own gradient. A softmax over classes inside the model passes, straight through,
the gradient of its logarithm. Where all logits are equal no scale helps: random search and decisions are what is left.

### Randomness

Random models are attacked by PGD that never stops, on the mean of as many answers as signal-to-noise 2 or 90% equal signs
ask for: at least 4, up to 16 for every example, up to 64 for those that stand after that. Draws are fresh in every pass;
once more they are the same in every pass (the host starts its generators from a fixed seed; a generator of the model's own
stays free), which makes one deterministic mean. The few that stand after all of that are attacked by the mean probabilities
of 64.

Neither decides. An input breaks a random model when fresh answers that only the scorer draws, as many as the declared votes
and at least 64, reject "right at least half of the time" at the level 0.01 (exact binomial test; with several votes the
true class against the leader); never the best of several draws. The search asks for 1e-7, so that chance in verification
costs nothing: with 32 answers and 1e-5 one image of noise layers in 180 was lost there, now none of 1,440.

### Detectors

A defense that declares `detector = true` answers one column more, the detector's score; above 0 it refuses. A clean image
that is refused is an error, and a perturbed one that is refused is no success, in the search, in its verification, in every
cell of the matrix and in replays. The score is a column of its own up to the scorer. An attack sees logits whose mean in
each row is minus the score: this changes neither label nor loss, so every attack runs as it is. Only its successes are
counted otherwise (`evaluator.models.reading`). What stands then is attacked
first by two joint losses: the sum of margin and minus score, whose weight follows who is fooled, and the gradient of the
one without its part along the other's (Bryniarski et al. 2021). The checks look at the classifier; `zero-gradients` looks
at the score as well. Random answers and certificates cannot be declared together with a detector. One that is not declared
shows as `traffic-anomalies`, `non-differentiable-operations` or `adaptive-attack`, and the entry is not ranked."""


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
        "`non-differentiable-operations` and `dynamic-inference` read what the model's own process reports about itself. A",
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
        kinds = ", ".join(measured_under(check))
        lines.append(f"| [`{check.name}`](#{check.name}) | {check.severity} | {check.definition} | {kinds} |")
    lines += ["", "## What each one means, and what to do", ""]
    for check in checks:
        lines += [f"### {check.name}", "", f"{check.title}. {check.meaning}", "", f"What to do: {check.remedy}", ""]
        if check.elsewhere:
            lines += [f"Not measured under other threats: {check.elsewhere}", ""]
    lines += ["## What honest networks measure", "", _MEASURED, ""]
    lines += ["## The adaptive attack", "", _ADAPTIVE, ""]
    lines += ["## Flags that other parts of an evaluation raise", "", "| flag | severity | definition |", "|---|---|---|"]
    lines += [f"| `{name}` | {severity} | {definition} |" for name, severity, definition in _ELSEWHERE]
    lines += ["", "## A private split", "", _PRIVATE]
    return "\n".join(lines) + "\n"


def measured_under(check: Check) -> list[str]:
    """The kinds of threat that have what the check needs."""
    if check.needs is None:
        return ["`*`"]
    return [kind for kind, spec in threat_kinds().items() if check.needs in threat_class(spec).traits]


if __name__ == "__main__":
    sys.stdout.write(markdown())
