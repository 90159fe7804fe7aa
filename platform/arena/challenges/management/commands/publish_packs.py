"""`manage.py publish_packs`: makes the site show every pack in challenges/."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from arena.challenges.services import Publication, publish
from arena.evaluations.services import enqueue
from arena.submissions.queries import measured_under_other_rules
from evaluator.challenge_packs import PACKS, list_packs, load_pack
from evaluator.errors import InputError


class Command(BaseCommand):
    help = "Publishes every challenge pack; running it again publishes what changed."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--root", type=Path, default=PACKS, help="The folder that holds the packs.")
        parser.add_argument("--reevaluate", action="store_true", help="Queue entries measured under earlier rules again.")

    def handle(self, *args: Any, root: Path, reevaluate: bool, **options: Any) -> None:
        wrong = []
        for slug in list_packs(root=root):
            try:
                published = publish(pack=load_pack(slug, root=root))
            except InputError as error:
                wrong.append(f"{slug}: {error}")
                continue
            challenge = published.challenge
            self.stdout.write(f"{challenge.slug}: {published.publication}")
            if published.publication in (Publication.NEW, Publication.UPDATED):
                continue
            entries = list(measured_under_other_rules(challenge))
            if reevaluate:
                for submission in entries:
                    enqueue(submission=submission)
            if entries:
                then = "queued again" if reevaluate else "off the ranking until queued again with --reevaluate"
                self.stdout.write(f"{challenge.slug}: {len(entries)} entries measured under earlier rules, {then}")
        if wrong:
            raise CommandError("\n".join(wrong))
