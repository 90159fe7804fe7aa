"""`manage.py seed_baselines`: enters the shipped baseline defenses."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from arena.challenges.queries import published
from arena.submissions.baselines import enter_baselines, entries


class Command(BaseCommand):
    help = "Enters the shipped baselines on every published challenge of their data set; running it again changes nothing."

    def handle(self, *args: Any, **options: Any) -> None:
        first = list(entries())  # the boards that people look at first are judged first
        order = sorted(published(), key=lambda c: (first.index(c.slug) if c.slug in first else len(first), c.slug))
        for challenge in order:
            for entered in enter_baselines(challenge=challenge):
                what = f"entered as {entered.submission.public_id}" if entered.new else "entered already"
                self.stdout.write(f"{entered.challenge}: {entered.folder} {what}")
