"""`manage.py seed_baselines`: enters the shipped baseline defenses that packs name."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from arena.challenges.models import Challenge
from arena.challenges.queries import published
from arena.submissions.baselines import enter_baselines


class Command(BaseCommand):
    help = "Enters the shipped baselines that published challenges name; running it again changes nothing."

    def handle(self, *args: Any, **options: Any) -> None:
        for challenge in sorted(published(), key=_turn):
            for entered in enter_baselines(challenge=challenge):
                if entered.submission is None:
                    self.stderr.write(f"{entered.challenge}: baseline {entered.folder} is skipped: {entered.why_not}")
                    continue
                what = f"entered as {entered.submission.public_id}" if entered.new else "entered already"
                self.stdout.write(f"{entered.challenge}: {entered.folder} {what}")


def _turn(challenge: Challenge) -> tuple[bool, bool, int, int, str]:
    """Boards that are judged quickly fill first: attacks before proofs, small images before large ones, long lists first.

    Boards with a single baseline come after all others: there is nothing to compare yet.
    """
    spec = challenge.spec
    count = len(spec.baselines.enter)
    return count < 2, spec.certified is not None, spec.data.image_shape.values, -count, challenge.slug
