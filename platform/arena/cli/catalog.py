"""`redoubt attacks`, `redoubt architectures`, `redoubt challenges`: what there is."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table


def attacks() -> None:
    """List the attacks: what each needs, which threats it can do, and where it comes from."""
    from evaluator.attacks import entries

    table = Table()
    for name in ("name", "title", "access", "threats", "paper"):
        table.add_column(name)
    for entry in entries():
        threats = "any" if "*" in entry.threats else ", ".join(entry.threats)
        table.add_row(entry.name, entry.title, entry.access, threats, entry.paper)
    Console().print(table)


def architectures() -> None:
    """List the architectures that weights-only submissions may name."""
    from evaluator.defenses import architectures as registry

    for name in registry.names():
        print(name)


def challenges() -> None:
    """List the challenge packs that `redoubt evaluate` knows by slug."""
    from evaluator.challenge_packs import list_packs, load_pack

    table = Table()
    for name in ("slug", "title", "threat", "images"):
        table.add_column(name)
    for slug in list_packs():
        challenge = load_pack(slug).challenge
        threat = f"{challenge.threat.kind} {getattr(challenge.threat, 'epsilon', '')}".strip()
        table.add_row(
            slug, challenge.title, threat, f"{challenge.data.examples:,} {challenge.data.dataset} {challenge.data.split}"
        )
    Console().print(table)
