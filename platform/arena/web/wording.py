"""How figures, states and reasons are put into words. Pure functions; every page and the live log of rows use them."""

from __future__ import annotations

from evaluator.manifests.goal_specs import TargetedSpec
from evaluator.manifests.spec import Challenge
from evaluator.records.report import SubmissionReason

ACCESS = {
    "gradients": "white-box gradients",
    "scores": "scores only",
    "labels": "labels only",
    "none": "no access: transfer",
}
DATASETS = {"mnist": "MNIST", "cifar10": "CIFAR-10"}

# What a team can do about each way a submission can fail; the evaluator's own sentence stands before it.
ADVICE = {
    SubmissionReason.MANIFEST: "Correct defense.toml and submit again.",
    SubmissionReason.LOAD: "Load the folder on your own machine with the same torch version, then submit again.",
    SubmissionReason.RAISED: "Call your model on a float32 batch in [0, 1] of the challenge's shape and mend what it raises.",
    SubmissionReason.DIED: "The process ended by itself: look for sys.exit, a crash in native code, or too many processes.",
    SubmissionReason.MEMORY: "Use less memory per batch; the rules tab states the limit.",
    SubmissionReason.TIMEOUT: "Make the forward and backward pass faster; the rules tab states the limits.",
    SubmissionReason.SHAPE: "Return one row of logits per image: shape (N, classes).",
    SubmissionReason.DTYPE: "Return float32 logits.",
    SubmissionReason.NOT_FINITE: "Keep logits and gradients finite for every input in [0, 1], including extreme ones.",
    SubmissionReason.OVERSIZED: "Return logits only: shape (N, classes).",
    SubmissionReason.PROTOCOL: "Do not write to the standard streams' file descriptors or the channel to the evaluator.",
    SubmissionReason.BUDGET: "Ask for fewer queries; the rules tab states the budget.",
    SubmissionReason.UNSUPPORTED: "Submit it in one of the formats that the docs describe.",
}


def advice(reason: str) -> str:
    """What to do about a failed submission; nothing for a reason this version does not know."""
    return ADVICE.get(SubmissionReason(reason), "") if reason in {str(known) for known in SubmissionReason} else ""


def access_words(challenge: Challenge) -> str:
    """What attackers may ask the model for, with the budget where they see no gradients."""
    access = challenge.access
    words = ACCESS[access.level]
    if access.level not in ("scores", "labels"):
        return words
    shared = "" if access.sharing == "separate" else ", shared by all images"
    inside = f", inside the {'ball' if challenge.threat.norm else 'threat'} only" if access.outside == "refused" else ""
    return f"{words}, {access.rows_per_example:,} queries an image{shared}{inside}"


def goal_words(challenge: Challenge) -> str:
    """What an adversary wants; a class by its name."""
    goal = challenge.goal
    named = goal.named(challenge.data) if isinstance(goal, TargetedSpec) else None
    return goal.words if named is None else f"targeted: {challenge.data.class_names[named]}"


def ensemble_words(challenge: Challenge) -> str:
    """Which search gives the official verdict, in words."""
    access = challenge.access
    return {
        "standard": "standard, with gradients whatever attackers get",
        "short": "short: FGSM, then PGD with 10 steps; what it leaves standing proves little",
        "black-box": f"black-box: attacks that see {access.level}, each with {access.rows_per_example:,} queries an image",
    }[challenge.evaluation.ensemble]


def data_words(challenge: Challenge) -> str:
    """Which images rank."""
    data = challenge.data
    if data.dataset == "files":
        return f"{data.examples:,} images of {data.image_shape} pixels in {len(data.class_names)} classes, the organisers' own"
    return f"{data.examples:,} images of the {DATASETS.get(data.dataset, data.dataset)} {data.split} set"


def duration(seconds: float) -> str:
    """A span of time with two units at most: "0.4 s", "41 s", "3 min 12 s", "2 h 5 min"."""
    whole = round(seconds)
    if seconds < 9.95 and seconds != whole:
        return f"{seconds:.1f} s"
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole % 60 else f"{whole // 60} min"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def rows(count: int) -> str:
    """A number of model evaluations, three significant figures: "812", "38.4 k", "1.93 M"."""
    for unit, size in (("G", 1_000_000_000), ("M", 1_000_000), ("k", 1_000)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return str(count)


def file_size(count: int) -> str:
    """A number of bytes, decimal units."""
    for unit, size in (("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count} bytes"
