"""Plays the season: every entry goes through the front door, is judged and played for real, and is then given its date."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta

from django.core.files.base import ContentFile
from django.db import connection
from django.utils import timezone
from django.utils.text import slugify

from arena.accounts.models import Team, User
from arena.accounts.services import make_team
from arena.challenges.models import Challenge
from arena.challenges.services import bump, publish
from arena.demo.attacks import ATTACKS, DemoAttack
from arena.demo.dating import date_events
from arena.demo.defenses import DEFENSES, EPSILON, DemoDefense, network_of
from arena.evaluations.models import Evaluation
from arena.jobs.judges import Line
from arena.jobs.models import Trial
from arena.jobs.sandboxes import configured_sandbox
from arena.jobs.sweeping import sweep
from arena.jobs.worker import work_once, worker_name
from arena.matrix.models import FirstLook
from arena.submissions.models import Submission
from arena.submissions.services import submit
from evaluator.data import examples as ranked_examples
from evaluator.manifests.spec import Challenge as Manifest
from evaluator.manifests.spec import Pack

SLUG = "demo-season"
WEEKS = 12
PLAYERS = 2
WAIT_SECONDS = 0.2
README = """# A season to look at

Everything here was really computed, on {examples} images and with small networks: `manage.py seed_demo` entered every
defense and attack, judged them and played the matrix. Teams and dates are invented.

Verdicts on this board come from a **short** ensemble (FGSM, then PGD with 10 steps), not from the standard one, so that
submitted attacks find what it missed and falls can be seen. Nothing here says anything about the strength of a method.
"""


@dataclass(frozen=True)
class Event:
    """One entry of the season. at: its place in the season, a share in [0, 1)."""

    at: float
    entry: DemoDefense | DemoAttack


def play_season(*, examples: int, defenses: int, attacks: int, say: Callable[[str], None]) -> Challenge:
    """Enters the first so many defenses and attacks that are not there yet, in turn, and plays all of their cells.

    examples: of the board, when it is new. say: called with every entry. Stopped anywhere and run again, it goes on.
    """
    challenge = _challenge(examples)
    end = timezone.now() - timedelta(days=1)
    dated = Submission.objects.filter(challenge=challenge, created__lt=end).order_by("created")
    start = dated.values_list("created", flat=True).first() or end - timedelta(weeks=WEEKS)
    for event in _schedule(defenses, attacks):
        entry = _enter(challenge, event.entry)
        _finish(challenge)
        if entry.created > end:
            date_events(challenge, since=entry.created, to=start + (end - start) * event.at)
        say(_line(entry))
    bump(challenge.pk)
    challenge.refresh_from_db()
    return challenge


def _schedule(defenses: int, attacks: int) -> list[Event]:
    """Defenses from the first day on, attacks from the second week; uneven, as people are, and always the same."""

    def spread(number: int, of: int, first: float) -> float:
        return first + (0.99 - first) * (number + 0.6 * ((number * 0.618) % 1)) / of

    events = [Event(spread(place, defenses, 0.0), entry) for place, entry in enumerate(DEFENSES[:defenses])]
    events += [Event(spread(place, attacks, 0.2), entry) for place, entry in enumerate(ATTACKS[:attacks])]
    return sorted(events, key=lambda event: event.at)


def _challenge(examples: int) -> Challenge:
    known = Challenge.objects.filter(slug=SLUG).first()
    if known is not None:
        return known
    manifest = {
        "title": f"Demo season: MNIST, L∞ {EPSILON}",
        "summary": "A season to look at: small networks, a short ensemble, invented teams and dates; every figure computed.",
        "data": {"dataset": "mnist", "examples": examples},
        "threat": {"kind": "linf", "epsilon": EPSILON},
        "evaluation": {"ensemble": "short"},
    }
    digest = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()
    pack = Pack(slug=SLUG, folder=None, challenge=Manifest.model_validate(manifest), digest=digest)
    challenge = publish(pack=pack).challenge
    Challenge.objects.filter(pk=challenge.pk).update(readme=README.format(examples=examples))
    challenge.refresh_from_db()
    return challenge


def _team(name: str) -> tuple[Team, User]:
    """The team of that name and its one member, who cannot log in."""
    slug = slugify(name)
    user, new = User.objects.get_or_create(username=f"demo-{slug}", defaults={"email": f"{slug}@demo.invalid"})
    if new:
        user.set_unusable_password()
        user.save()
    team = Team.objects.filter(members=user).first() or make_team(user=user, name=name)
    return team, user


def _enter(challenge: Challenge, entry: DemoDefense | DemoAttack) -> Submission:
    """The entry, made now unless it is there already."""
    team, user = _team(entry.team)
    known = Submission.objects.filter(challenge=challenge, team=team, name=entry.name).first()
    if known is not None:
        return known
    data = entry.archive() if isinstance(entry, DemoDefense) else _prepared(challenge, entry)
    return submit(user=user, team=team, challenge=challenge, archive=ContentFile(data, name="entry.zip"))


def _prepared(challenge: Challenge, entry: DemoAttack) -> bytes:
    part = ranked_examples(challenge.spec.data)
    if entry.target is None:
        return entry.archive("", None, part)
    standing = Submission.objects.filter(challenge=challenge, kind=Submission.Kind.DEFENSE)
    target = standing.filter(name=entry.target).first() or standing.earliest("created")
    with target.archive.open("rb") as stream:
        network = network_of(stream.read(), target.manifest["architecture"])
    return entry.archive(target.public_id, network, part)


def _finish(challenge: Challenge) -> None:
    """Judges, looks and plays until nothing of the season waits. A worker of the site may help."""
    unfinished = Trial.objects.filter(challenge=challenge, state__in=Trial.UNFINISHED)
    while unfinished.exists():
        done = [
            configured_sandbox().ready() and work_once(line, challenge_id=challenge.pk) for line in (Line.FIRST, Line.OLDEST)
        ]
        with ThreadPoolExecutor(PLAYERS) as pool:
            done += pool.map(lambda _: _play(challenge.pk), range(PLAYERS))
        if not any(done):
            sweep()  # what a stopped run or another worker held
            time.sleep(WAIT_SECONDS)


def _play(challenge_id: int) -> bool:
    """Plays what waits of the challenge's cells, in a thread with a connection of its own; False when nothing did."""
    owner, played = worker_name(), False
    try:
        while work_once(Line.FAIR, owner=owner, challenge_id=challenge_id):
            played = True
    finally:
        connection.close()
    return played


def _line(entry: Submission) -> str:
    """One line about an entry that is finished."""
    if entry.kind == Submission.Kind.ATTACK:
        look = FirstLook.objects.get(submission=entry)
        felled = sum(fall.fallen for fall in entry.falls_caused.all())
        return f"{entry.name}, {entry.team.name}: {look.verdict}, {felled} examples felled"
    verdict = Evaluation.objects.get(submission=entry, current=True)
    score = verdict.reason if verdict.robust_accuracy is None else f"{100 * verdict.robust_accuracy:.1f} % robust by now"
    return f"{entry.name}, {entry.team.name}: {verdict.state}, {score}"
