"""`redoubt attacks`, `redoubt architectures`, `redoubt challenges`: what there is."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from arena.cli.tables import show
from evaluator.errors import InputError


def attacks() -> None:
    """List the attacks: what each needs, which threats it can do, and where it comes from."""
    from evaluator.attacks import entries

    table = Table()
    for name in ("name", "title", "access", "threats", "paper"):
        table.add_column(name, no_wrap=name in ("name", "slug"))
    for entry in entries():
        threats = "any" if "*" in entry.threats else ", ".join(entry.threats)
        table.add_row(entry.name, entry.title, entry.access, threats, entry.paper)
    show(table)


def architectures() -> None:
    """List the architectures that weights-only submissions may name."""
    from evaluator.defenses import architectures as registry

    for name in registry.names():
        print(name)


def challenges(
    root: Annotated[Path | None, typer.Option(help="The folder that holds the packs; the shipped ones when left out.")] = None,
) -> None:
    """List the challenge packs that `redoubt evaluate` knows by slug; wrong ones are named with what is wrong."""
    from evaluator.manifests.challenge_packs import PACKS, list_packs, load_pack

    root = root or PACKS
    slugs = list_packs(root=root)
    if not slugs:
        raise InputError("holds no challenge pack.", where=str(root), help="A pack is a folder with a challenge.toml.")
    table, wrong = Table(), []
    table.add_column("slug", no_wrap=True, min_width=max(map(len, slugs), default=0))  # it is what other commands ask for
    for name in ("title", "threat", "images"):
        table.add_column(name)
    for slug in slugs:
        try:
            challenge = load_pack(root / slug).challenge
        except InputError as error:
            wrong.append(str(error))
            continue
        epsilon = getattr(challenge.threat, "epsilon", None)
        threat = challenge.threat.kind if epsilon is None else f"{challenge.threat.kind} {epsilon:.4g}"
        images = f"{challenge.data.examples:,} {challenge.data.dataset} {challenge.data.split}"
        table.add_row(slug, escape(challenge.title), threat, images)
    show(table)
    for line in wrong:
        print(f"redoubt: {line}", file=sys.stderr)
