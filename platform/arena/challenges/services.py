"""Publishing packs, and telling boards that they changed."""

from __future__ import annotations

import enum
import hashlib
import json
from dataclasses import dataclass

from django.db import transaction
from django.db.models import F

from arena.challenges.models import Challenge
from evaluator.spec import Challenge as ChallengeManifest
from evaluator.spec import Pack


class Publication(enum.StrEnum):
    """What publishing a pack did."""

    NEW = "new"
    UNCHANGED = "unchanged"
    UPDATED = "updated"  # the same rules: verdicts stand
    RULES_CHANGED = "rules changed"  # standing results were measured under other rules


@dataclass(frozen=True)
class Published:
    """A published pack and what changed."""

    challenge: Challenge
    publication: Publication


def rules_digest(manifest: ChallengeManifest) -> str:
    """SHA-256 of what decides a verdict: data, threat, access, ensemble and what is proven at which radii, not titles."""
    rules = manifest.model_dump(mode="json", include={"data": True, "threat": True, "access": True, "evaluation": {"ensemble"}})
    if manifest.certified is not None:
        rules["certified"] = manifest.certified.model_dump(mode="json", exclude={"references"})
    return hashlib.sha256(json.dumps(rules, sort_keys=True).encode()).hexdigest()


def publish(*, pack: Pack) -> Published:
    """Makes the site show this pack; doing it twice changes nothing."""
    readme = pack.folder / "README.md" if pack.folder else None
    manifest = pack.challenge
    values = {
        "title": manifest.title,
        "summary": manifest.summary,
        "manifest": manifest.model_dump(mode="json"),
        "readme": readme.read_text("utf-8") if readme and readme.is_file() else "",
        "digest": pack.digest,
        "rules_digest": rules_digest(manifest),
    }
    with transaction.atomic():
        challenge, created = Challenge.objects.get_or_create(slug=pack.slug, defaults=values)
        if created:
            return Published(challenge, Publication.NEW)
        if all(getattr(challenge, name) == value for name, value in values.items()):
            return Published(challenge, Publication.UNCHANGED)
        same_rules = challenge.rules_digest == values["rules_digest"]
        Challenge.objects.filter(pk=challenge.pk).update(**values, revision=F("revision") + 1)
        challenge.refresh_from_db()
    return Published(challenge, Publication.UPDATED if same_rules else Publication.RULES_CHANGED)


def bump(challenge_id: int) -> None:
    """Says that the challenge's board changed: whoever watches its `revision` reads it again."""
    Challenge.objects.filter(pk=challenge_id).update(revision=F("revision") + 1)
