"""From a manifest to its threat, and the kinds of threat as a table."""

from __future__ import annotations

from importlib import import_module

from evaluator.manifests.threat_base import ThreatSpec, threat_kinds
from evaluator.threats.base import Threat


def build(spec: ThreatSpec) -> Threat:
    """The threat a manifest describes."""
    return threat_class(type(spec)).of(spec)


def threat_class(spec: type[ThreatSpec]) -> type[Threat]:
    """The class that a kind of manifest names."""
    module, _, name = spec.threat.partition(":")
    found: type[Threat] = getattr(import_module(module), name)
    return found


def table() -> str:
    """The threat models as a Markdown table, for docs/threats.md."""
    head = "| kind | threat | point | budget | random start | source |\n|---|---|---|---|---|---|\n"
    about = ((kind, spec.about) for kind, spec in threat_kinds().items())
    return head + "".join(f"| `{kind}` | {a.title} | {a.point} | {a.budget} | {a.start} | {a.source} |\n" for kind, a in about)
