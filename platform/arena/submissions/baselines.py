"""Entering the shipped baseline defenses, so that no board starts empty."""

from __future__ import annotations

import hashlib
import tomllib
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

BASELINES = Path(evaluator.__file__).parent / "defenses" / "baselines"
TEAM = "Redoubt baselines"
_SLUG = "redoubt-baselines"


@dataclass(frozen=True)
class Entered:
    """What happened to one baseline on one challenge."""

    folder: str
    challenge: str
    submission: Submission
    new: bool


def enter_baselines(*, challenge: Challenge, folder: Path = BASELINES) -> list[Entered]:
    """Enters the baselines meant for the challenge; those already entered stay as they are.

    They are named in the folder's entries.toml, in order; for a challenge that it does not name they are all of its data set,
    DATASET-SOMETHING. One whose files changed is entered again, and the old entry withdrawn.
    """
    present = {path.parent.name for path in folder.glob(f"{challenge.spec.data.dataset}-*/defense.toml")}
    wanted = entries(folder).get(challenge.slug, sorted(present))
    return [_enter(challenge, folder / name) for name in wanted if name in present]


def entries(folder: Path = BASELINES) -> dict[str, list[str]]:
    """Challenge slug -> names of the baselines to enter, in the order of entries.toml; empty where there is no such file."""
    path = folder / "entries.toml"
    return tomllib.loads(path.read_text()) if path.is_file() else {}


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
