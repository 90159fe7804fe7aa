"""Entering the shipped baseline defenses, so that no board starts empty."""

from __future__ import annotations

import difflib
import hashlib
from dataclasses import dataclass
from pathlib import Path

from django.core.files.base import ContentFile
from django.db import transaction

import evaluator
from arena.accounts.models import Team, User
from arena.challenges.models import Challenge
from arena.submissions.models import Submission
from arena.submissions.packing import pack_folder
from arena.submissions.services import submit, withdraw
from evaluator.errors import InputError

BASELINES = Path(evaluator.__file__).parent / "defenses" / "baselines"
TEAM = "Redoubt baselines"
_SLUG = "redoubt-baselines"


@dataclass(frozen=True)
class Entered:
    """What happened to one baseline on one challenge. why_not: one sentence where it could not be entered."""

    folder: str
    challenge: str
    submission: Submission | None = None
    new: bool = False
    why_not: str = ""


def enter_baselines(*, challenge: Challenge, folder: Path = BASELINES) -> list[Entered]:
    """Enters the baselines that the challenge's pack names, in its order; those already entered stay as they are.

    One whose files changed is entered again, and the old entry withdrawn. Nothing is entered on a challenge whose pack is gone.
    """
    names = () if challenge.gone else challenge.spec.baselines.enter
    return [_try(challenge, name, folder) for name in names]


def _try(challenge: Challenge, name: str, folder: Path) -> Entered:
    shipped = sorted(path.parent.name for path in folder.glob("*/defense.toml"))
    dataset = challenge.spec.data.dataset
    if name not in shipped:
        near = difflib.get_close_matches(name, shipped, n=1)
        help = f'Did you mean "{near[0]}"?' if near else f"Shipped are: {', '.join(shipped)}."
        return Entered(name, challenge.slug, why_not=f"there is no such baseline. {help}")
    if not name.startswith(f"{dataset}-"):
        return Entered(name, challenge.slug, why_not=f'it is not for images of "{dataset}".')
    try:
        return _enter(challenge, folder / name)
    except InputError as error:
        return Entered(name, challenge.slug, why_not=str(error))


@transaction.atomic
def _enter(challenge: Challenge, folder: Path) -> Entered:
    team = _team()
    packed = pack_folder(folder)
    digest = hashlib.sha256(packed).hexdigest()
    standing = Submission.objects.filter(team=team, challenge=challenge, withdrawn=None)
    earlier = standing.filter(digest=digest).first()
    if earlier is not None:
        return Entered(folder.name, challenge.slug, earlier, new=False)
    archive = ContentFile(packed, name=f"{folder.name}.zip")
    submission = submit(user=team.members.get(), team=team, challenge=challenge, archive=archive, at_any_time=True)
    for outdated in standing.filter(name=submission.name).exclude(pk=submission.pk):
        withdraw(submission=outdated)
    return Entered(folder.name, challenge.slug, submission, new=True)


def _team() -> Team:
    """The team that enters baselines; its only member cannot log in."""
    user, created = User.objects.get_or_create(username=_SLUG, defaults={"email": f"{_SLUG}@localhost", "is_active": False})
    if created:
        user.set_unusable_password()
        user.save()
    team, _ = Team.objects.get_or_create(slug=_SLUG, defaults={"name": TEAM})
    team.members.add(user)
    return team
