"""`manage.py seed_demo`: a season to look at, on a challenge of its own."""

from __future__ import annotations

import argparse
from typing import Any

from django.core.management.base import BaseCommand

from arena.demo.attacks import ATTACKS
from arena.demo.defenses import DEFENSES
from arena.demo.season import SLUG, play_season


class Command(BaseCommand):
    help = (
        "Plays a season of small networks and short attacks on the challenge demo-season: really judged and played, with "
        "invented teams and dates. Running it again goes on where it stopped, and changes nothing once it is complete."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--examples", type=int, default=40, help="images of the board, when it is new (40)")
        parser.add_argument("--defenses", type=int, default=len(DEFENSES), help="only the first so many")
        parser.add_argument("--attacks", type=int, default=len(ATTACKS), help="only the first so many")

    def handle(self, *args: Any, examples: int, defenses: int, attacks: int, **options: Any) -> None:
        play_season(examples=examples, defenses=defenses, attacks=attacks, say=self.stdout.write)
        self.stdout.write(f"The season is on the site at /challenges/{SLUG}/.")
