"""docs/attacks.md, generated from the registry: `python -m evaluator.attacks.table > docs/attacks.md`."""

from __future__ import annotations

import dataclasses
import sys

from evaluator.attacks.registry import Entry, entries

_ACCESS = {
    "gradients": ("White-box", "The attack may ask for logits and their gradients."),
    "scores": ("Score-based", "The attack may ask for logits."),
    "labels": ("Decision-based", "The attack may ask for the predicted label."),
    "none": ("Transfer", "The attack may not ask the model at all."),
}


def markdown() -> str:
    """The whole page."""
    lines = [
        "# Attacks",
        "",
        "Generated from the registry by `python -m evaluator.attacks.table > docs/attacks.md`; do not edit.",
        "",
        "`redoubt attack NAME --against PATH --epsilon E` runs one. Threats: `*` stands for every threat. *Minimal norm*",
        "attacks look for the closest adversarial point whatever epsilon is; it counts when it is within the budget. What they",
        "found is asked again, and only what is adversarial then is returned.",
        "How to add one: [writing an attack](writing-an-attack.md).",
    ]
    for access, (title, what) in _ACCESS.items():
        group = [entry for entry in entries() if entry.access == access]
        if not group:
            continue
        lines += ["", f"## {title}", "", what, "", "| name | attack | threats | goal | source |", "|---|---|---|---|---|"]
        lines += [_row(entry) for entry in group]
        for entry in group:
            lines += ["", f"### {entry.name}", "", entry.summary, "", _options(entry)]
    return "\n".join(lines) + "\n"


def _row(entry: Entry) -> str:
    goal = "untargeted, targeted" if entry.targeted else "untargeted"
    kind = f"{entry.title} (minimal norm)" if entry.minimal_norm else entry.title
    threats = ", ".join("`*`" if threat == "*" else threat for threat in entry.threats)
    return f"| [`{entry.name}`](#{entry.name}) | {kind} | {threats} | {goal} | {entry.paper} |"


def _options(entry: Entry) -> str:
    """The options and their defaults as one line."""
    shown = [f"`{name}={_default(value)}`" for name, value in entry.options.items()]
    return f"Options: {', '.join(shown)}." if shown else "It has no options."


def _default(value: object) -> str:
    if value is dataclasses.MISSING:
        return "required"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    sys.stdout.write(markdown())
