"""Publishing packs, and telling boards that they changed."""

from __future__ import annotations

import enum
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from django.db import transaction
from django.db.models import F
from django.utils.timezone import now
from pydantic import ValidationError

from arena.challenges import images
from arena.challenges.models import Challenge, PackProblem
from evaluator.errors import InputError, visible
from evaluator.manifests.challenge_packs import is_pack, read_rules
from evaluator.manifests.spec import Challenge as ChallengeManifest
from evaluator.manifests.spec import Pack
from evaluator.records.identity import JUDGING


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


def rules_digest(manifest: ChallengeManifest, *, judging: int | None = None) -> str:
    """SHA-256 of what decides a verdict: data, threat, access, ensemble, what is proven and how it is judged, not titles.

    judging: the way of judging (`evaluator.records.identity`) of the worker that judged; this process's own where None.
    """
    rules = manifest.model_dump(mode="json", include={"data": True, "threat": True, "access": True, "evaluation": {"ensemble"}})
    if manifest.certified is not None:
        rules["certified"] = manifest.certified.model_dump(mode="json", exclude={"references"})
    rules["judging"] = JUDGING if judging is None else judging
    return hashlib.sha256(json.dumps(rules, sort_keys=True).encode()).hexdigest()


def publish(*, pack: Pack) -> Published:
    """Makes the site show this pack; doing it twice changes nothing. Raises InputError where its README.md is no text."""
    manifest = pack.challenge
    images.store(manifest.data)
    values = {
        "title": manifest.title,
        "summary": manifest.summary,
        "manifest": manifest.model_dump(mode="json"),
        "readme": read_rules(pack),
        "digest": pack.digest,
        "rules_digest": rules_digest(manifest),
    }
    found = {"folder": str(pack.folder or ""), "gone": None}
    with transaction.atomic():
        _forget_problem(pack.slug)
        challenge, created = Challenge.objects.get_or_create(slug=pack.slug, defaults=values | found)
        if created:
            return Published(challenge, Publication.NEW)
        Challenge.objects.filter(pk=challenge.pk).update(**found)
        if all(getattr(challenge, name) == value for name, value in values.items()):
            challenge.refresh_from_db()
            return Published(challenge, Publication.UNCHANGED)
        same_rules = challenge.rules_digest == values["rules_digest"]
        Challenge.objects.filter(pk=challenge.pk).update(**values, revision=F("revision") + 1)
        challenge.refresh_from_db()
    return Published(challenge, Publication.UPDATED if same_rules else Publication.RULES_CHANGED)


def note_wrong(*, folder: Path, error: InputError) -> str:
    """Records that the pack in a folder cannot be published, and says so in one line with what becomes of its challenge.

    What was published earlier stays as it was; a challenge whose earlier version cannot be read any more is hidden.
    """
    slug = visible(folder.name)
    challenge = Challenge.objects.filter(slug=slug).first()
    if challenge is None:
        line, hides = f"{error} The site goes on without it.", False
    elif _readable(challenge):
        line, hides = f'{error} "{challenge.title}" stays as it was published before.', False
    else:
        line, hides = f"{error} {_unreadable(challenge)}", _hide(challenge)
    _note(slug, visible(str(folder.resolve())), line, hides=hides)
    return line


def hide_unreadable() -> list[str]:
    """Hides what was published before, cannot be read by this version, and has no pack that could replace it; a line each."""
    lines = []
    for challenge in Challenge.objects.filter(published=True):
        if not _readable(challenge) and _hide(challenge):
            lines.append(f"{challenge.slug}: {_unreadable(challenge)} Publish its pack again, mended.")
            _note(challenge.slug, challenge.folder, lines[-1], hides=True)
    return lines


def _hide(challenge: Challenge) -> bool:
    """Whether it was shown until now: what an organiser had hidden stays hidden when its pack is right again."""
    return Challenge.objects.filter(pk=challenge.pk, published=True).update(published=False) > 0


def _unreadable(challenge: Challenge) -> str:
    return f'"{challenge.title}" is hidden: this version cannot read what was published before.'


def _note(slug: str, folder: str, line: str, *, hides: bool) -> None:
    problem, new = PackProblem.objects.get_or_create(slug=slug, defaults={"folder": folder, "what": line, "hidden": hides})
    if not new and (hides or (problem.folder, problem.what) != (folder, line)):
        PackProblem.objects.filter(pk=problem.pk).update(folder=folder, what=line, hidden=problem.hidden or hides, since=now())


def note_gone() -> list[Challenge]:
    """The challenges whose pack's folder is no longer there, marked as such; nothing is entered on them any more."""
    gone = [challenge for challenge in Challenge.objects.exclude(folder="") if not is_pack(Path(challenge.folder))]
    Challenge.objects.filter(pk__in=[challenge.pk for challenge in gone], gone=None).update(gone=now())
    for problem in PackProblem.objects.filter(hidden=False):
        if not is_pack(Path(problem.folder)):
            problem.delete()
    return gone


def _readable(challenge: Challenge) -> bool:
    try:
        return bool(challenge.spec)
    except ValidationError:
        return False


def _forget_problem(slug: str) -> None:
    """The pack is right again: what was hidden because of it is shown again."""
    Challenge.objects.filter(slug=slug, slug__in=PackProblem.objects.filter(hidden=True).values("slug")).update(published=True)
    PackProblem.objects.filter(slug=slug).delete()


def bump(challenge_id: int) -> None:
    """Says that the challenge's board changed: pages that watch its `revision` read it again."""
    Challenge.objects.filter(pk=challenge_id).update(revision=F("revision") + 1)
