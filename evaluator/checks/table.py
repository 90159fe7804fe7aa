"""docs/honesty.md, generated from the registry: `python -m evaluator.checks.table > docs/honesty.md`."""

from __future__ import annotations

import sys

from evaluator.certify.strangers import CHECK as COMPANY
from evaluator.certify.strangers import KEPT as NOISY
from evaluator.certify.strangers import RESTLESS, TIES
from evaluator.checks import registered
from evaluator.checks.audit import CHANCE, COARSEST, COSINE, DIFFERENCES, FEW, KEPT, SLOPE, TOLERANCE
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
        "files-beat-floats",
        "unverified",
        "The end of every attack is offered once more rounded to multiples of 1/255, and a share of what stands is climbed "
        "there: the forward pass sees files, the gradient moves floats. Where files break what floats left standing, all of "
        "it is climbed there. Fires when more than two and more than a tenth of what stood fall so.",
    ),
    (
        "replay",
        "unverified",
        f"Of the search's questions, {KEPT} rows asked with a gradient and {KEPT} without, drawn uniformly, and its "
        "last pass are asked again of a fresh copy, alone and among strangers, in passes of secret sizes. Fires when an answer "
        f"differs by more than {TOLERANCE:g} of the winning class's lead (up to {COARSEST:g} where the copy's own answers vary "
        f"with their pass), or more than {FEW} and 5 % of the gradients by more than {SLOPE:.0%}. Fires as well when "
        f"the median cosine of {DIFFERENCES} gradients with differences of the copy's answers is below {COSINE:g}; passes of a "
        f"few rows are asked. Answers that are declared random are compared as distributions, by mid-ranks at {CHANCE:g}.",
    ),
    (
        "closest-points",
        "unverified",
        "Before it sees any clean image, a fresh copy is asked about the point where the search came closest on each example "
        "that stands, as it is and rounded to multiples of 1/255, as files are. What breaks counts as broken. More than two of "
        "the first kind are flagged, and of the second more than two that are more than a tenth of what stands. Where answers "
        "are random, votes decide and nothing is flagged. Not asked where views decide.",
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
        "lives",
        "unverified",
        "A model written in Python is loaded again in a new process at secret times. One pass of each process is asked again "
        "in the next. Fires when an answer differs by more than 0.0001 of its largest logit (up to 0.02 where answers vary as "
        "a batch is turned round). Both answers are shown. Answers that are declared random are exempt.",
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

_PRIVATE = """\
No pack of this version has a private split: all its images are public. Instead, `memorized-inputs` asks about images that
nobody can have stored (secret deformations and negatives of the ranked ones). It also asks about images of the split that do
not rank, and that gap is the one a private split would show. A pack with a private split is evaluated on it as a second
`Examples`. The gap of the two accuracies then belongs where `judging.evaluation.evaluate` joins the flags of its verdict,
with a two-sample test."""

_MEASURED = """Ten honest networks on MNIST and CIFAR-10, under Linf and L2, raise no flag. They are undefended, or trained by
PGD, IBP, TRADES, a mix of PGD and certificates, or under noise. What they measure, beside the threshold:

| check | fires | farthest of the honest networks |
|---|---|---|
| `noise-beats-gradient` | more than 1 falls | 0 fall of 10,000 points |
| `transfer-beats-gradient` | more than 1 falls | 0 fall |
| `incomplete-optimisation` | more than 0.05 in the last 10 of 100 steps | 0.029 (after 30 steps: 0.11) |
| `zero-gradients` | any example | 0 |
| `gradient-accuracy` | cosine below 0.5 or signs below 70% at every h | 0.99, 91% at its best h |

At Linf 0.3 the cosine of `gradient-accuracy` falls from 1.00 at h = 0.001 to 0.88 at 0.008 on the IBP-trained network, whose
loss is curved over such distances. On a network that computes in bfloat16 it rises from 0.67 to 0.99, because rounding drowns
the small step. A gradient that does not fit fits at neither (at most 0.46, k-winners-take-all; a staircase of ten levels
behind a stand-in 0.43). All checks together cost about 16,000 forward and 3,300 backward rows on a robust network, for any
number of ranked examples. 10,000 of them are random points. On other networks, or under a threat where noise is not asked,
the cost is a fifth of that."""


_ADAPTIVE = """\
Where a check leaves doubt, or an entry declares what it does, the examples that still stand are attacked once more, each way
in turn. What falls counts only if it breaks the unmodified model. All of it costs at most as many rows as the search, or 3,000
for each example that stands, whichever is more. One way may spend a third of what is left, and keeps what it saw break.

1. With substitutes in the backward pass: the declared stand-ins, the identity through every custom part and every rounding,
   and small networks fitted to those parts. The model's own gradient is used as well. APGD climbs the margin and
   cross-entropy, also with three times as many steps.
2. Where the gradient of cross-entropy or of the margin is zero for any of them: cross-entropy on rescaled logits (below).
   Both losses also run through the model in float64.
3. Around the parts: PGD on the network without them, and whatever transfers from a substitute trained on labels.
4. Without gradients: Square with restarts, then HopSkipJump on decisions alone.

### Numbers that float32 loses

Logits of 10^6 leave cross-entropy no gradient, because their softmax is exactly 0 or 1; logits of 10^-30 lose theirs on the
way back. Each row is multiplied by a positive constant that makes it 10 wide, which changes no label. The loss sees
well-sized logits and the host gets well-sized cotangents. So nothing is left for a loss in float64, and none is computed.
Logits cross the line in float32, and what the model itself has rounded away cannot be recovered from them. For that the host
repeats the pass with a copy of the module in float64 and differentiates the copy. Its answers stay the module's own bits.
Code that insists on float32 keeps its own gradient. A softmax over classes inside the model passes, straight through, the
gradient of its logarithm. Where all logits are equal no scale helps: random search and decisions are what is left.

### Randomness

Random models are attacked by PGD that never stops, on the mean of several answers. Their number is what signal-to-noise 2 or
90% equal signs require: at least 4, up to 16 for every example, up to 64 for those that withstand that. Draws are fresh in
every pass. In a second search they are the same in every pass, which makes one deterministic mean. For that, the host starts
its generators from a fixed seed; a generator of the model's own stays free. The few examples that withstand all of that are
attacked by the mean probabilities of 64.

Neither search decides. The scorer alone draws fresh answers, as many as the declared votes and at least 64. An input breaks a
random model when they reject "right at least half of the time" at the level 0.01. The test is an exact binomial test; with
several votes it compares the true class with the leader. The best of several draws never counts. The search asks for 1e-7, so
that chance in verification costs nothing. With 32 answers and 1e-5, one image of noise layers in 180 was lost there, now none
of 1,440.

### Detectors

A defense that declares `detector = true` answers one column more, the detector's score; above 0 it refuses. A clean image
that is refused is an error, and a perturbed one that is refused is no success. This holds in the search, in its
verification, in every cell of the matrix and in replays. The score is a column of its own up to the scorer. An attack sees
logits whose mean in each row is minus the score. This changes neither label nor loss, so every attack runs as it is. Only
its successes are counted differently (`evaluator.models.reading`). What still stands is attacked first by two joint losses
(Bryniarski and others 2021). One is the sum of margin and minus score, whose weight follows which of the two is fooled. The
other is the gradient of one without its part along the other's. The checks look at the classifier; `zero-gradients` looks
at the score as well. Random answers and certificates cannot be declared together with a detector. An undeclared detector
shows as `traffic-anomalies`, `non-differentiable-operations` or `adaptive-attack`, and the entry is not ranked."""


def markdown() -> str:
    """The whole page."""
    lines = [
        "# Honesty checks",
        "",
        "Generated from the registry by `python -m evaluator.checks.table > docs/honesty.md`; do not edit.",
        "",
        "Most defenses that looked robust only hid their gradient. After the search of every evaluation these checks look at a",
        f"sample of at most {SAMPLE} correctly classified examples. They ask whether the attacks saw the model as it is. They",
        "need logits and vector-Jacobian products only, so code in a sandbox is examined as weights are.",
        "`non-differentiable-operations` and `dynamic-inference` also read what the model's own process reports about itself.",
        "A check that fires leaves a flag with its measured figures and **never changes a score**:",
        "",
        "- `unverified`: the evaluator cannot vouch for the verdict. The entry is shown and not ranked until the team declares",
        "  what hides the gradient, or removes it.",
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
