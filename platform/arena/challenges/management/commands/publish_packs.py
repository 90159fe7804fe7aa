"""`manage.py publish_packs`: makes the site show every pack in challenges/."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from arena.challenges.events import rules_changed
from arena.challenges.models import Challenge
from arena.challenges.services import Publication, hide_unreadable, note_gone, note_wrong, publish
from evaluator.data.own import open_pack
from evaluator.errors import InputError
from evaluator.manifests.challenge_packs import MANIFEST, PACKS, is_pack, list_packs


class Command(BaseCommand):
    help = "Publishes every challenge pack; running it again publishes what changed. A wrong pack keeps its last good version."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--root", type=Path, default=PACKS, help="The folder that holds the packs.")
        parser.add_argument("--reevaluate", action="store_true", help="Queue entries measured under earlier rules again.")
        parser.add_argument("--keep-going", action="store_true", help="Name wrong packs, and end as if all were right.")

    def handle(self, *args: Any, root: Path, reevaluate: bool, keep_going: bool, **options: Any) -> None:
        slugs, wrong = _packs(root), []
        if not slugs:
            wrong.append(f"{root}: holds no pack. A pack is a folder with a {MANIFEST}.")
        for slug in slugs:
            try:
                published = publish(pack=open_pack(root / slug))
            except InputError as error:
                wrong.append(note_wrong(folder=root / slug, error=error))
                continue
            self.stdout.write(f"{slug}: {published.publication}")
            if published.publication not in (Publication.NEW, Publication.UPDATED):
                self._settle(published.challenge, reevaluate)
        for challenge in note_gone():
            self.stdout.write(
                f"{challenge.slug}: its folder {challenge.folder} is gone; the board stays, nothing is entered on it"
            )
        wrong += hide_unreadable()
        if wrong and (not keep_going or not slugs):
            raise CommandError("\n".join(wrong))
        for line in wrong:
            self.stderr.write(line)

    def _settle(self, challenge: Challenge, reevaluate: bool) -> None:
        """Says what was measured under earlier rules, and queues it again where that is wanted."""
        counts: list[Any] = [count for _, count in rules_changed.send(Challenge, challenge=challenge, again=reevaluate)]
        entries = sum(counts)
        if entries:
            then = "queued again" if reevaluate else "off the ranking until queued again with --reevaluate"
            self.stdout.write(f"{challenge.slug}: {entries} entries measured under earlier rules, {then}")


def _packs(root: Path) -> list[str]:
    """The packs below the folder. Raises CommandError where there is no such folder."""
    if not root.is_dir():
        raise CommandError(f"{root}: there is no such folder. Name the folder that holds the packs.")
    if is_pack(root):
        raise CommandError(f"{root}: is a pack itself. Name the folder above it, {root.resolve().parent}.")
    try:
        return list_packs(root=root)
    except OSError as error:
        raise CommandError(f"{root}: cannot be read: {error.strerror}.") from error
