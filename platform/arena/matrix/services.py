"""Letting attacks and defenses play: which cells there must be, and stopping them."""

from __future__ import annotations

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from arena.challenges.models import Challenge
from arena.challenges.services import bump
from arena.evaluations.models import Evaluation
from arena.jobs import services as jobs
from arena.jobs.lines import LAST
from arena.jobs.queueing import hint, hint_look
from arena.matrix import adversarial, patience, priorities, survival
from arena.matrix.models import Archive, Cell, FirstLook, Survival
from arena.rankings.bits import count
from arena.submissions.models import Submission
from arena.submissions.seeds import seed_of
from evaluator.errors import InputError

LOOKED_AT = 5  # examples; fewer where a challenge has fewer
WITHDRAWN = "withdrawn"  # why a first look that its own team stopped ended


def standing_defenses(challenge: Challenge) -> list[Evaluation]:
    """The verdicts of the defenses that attacks play, oldest first: completed under today's rules and not withdrawn."""
    found = Evaluation.objects.defer("report").select_related("submission", "survival").order_by("finished", "pk")
    return list(
        found.filter(
            submission__challenge=challenge,
            submission__kind=Submission.Kind.DEFENSE,
            submission__withdrawn=None,
            current=True,
            state=Evaluation.State.COMPLETED,
            rules_digest=challenge.rules_digest,
        )
    )


def standing_attacks(challenge: Challenge) -> list[FirstLook]:
    """The first looks at the attacks that play: accepted and not withdrawn, oldest first."""
    found = FirstLook.objects.select_related("submission__challenge").order_by("finished", "pk")
    return list(found.filter(challenge=challenge, submission__withdrawn=None, state=FirstLook.State.COMPLETED))


def target_of(challenge: Challenge, name: str | None) -> Submission:
    """The standing defense that an array names by id or by name; for code (None) the one that is asked the fastest.

    Raises InputError when there is none.
    """
    standing = standing_defenses(challenge)
    if not standing:
        help = "Attacks are taken once the first defense has its verdict."
        raise InputError("No defense stands on this challenge yet.", where="challenge", help=help)
    if name is None:
        return min(standing, key=lambda evaluation: evaluation.seconds or 0.0).submission
    named = [item.submission for item in standing if name in (item.submission.public_id, item.submission.name)]
    if len(named) != 1:
        what = f'names target "{name}"; {"several defenses have" if named else "no standing defense has"} that id or name.'
        help = "Write the id at the end of the defense's address, as in /entries/ID/."
        raise InputError(what, where="attack.toml", help=help)
    return named[0]


def receive(*, submission: Submission, target: Submission) -> FirstLook:
    """Queues the first look at an attack that was just stored."""
    with transaction.atomic():
        look = FirstLook.objects.create(
            judge=FirstLook.JUDGE,
            challenge_id=submission.challenge_id,
            team_id=submission.team_id,
            submission=submission,
            target=target,
            seed=seed_of(submission, target, what="look"),
        )
        jobs.cut(look, examples=LOOKED_AT, step=LOOKED_AT)
        bump(submission.challenge_id)
        transaction.on_commit(hint_look, robust=True)
    return look


def fill(challenge: Challenge) -> int:
    """Queues the cells that are missing: every standing attack against every standing defense. How many were made.

    Idempotent, and the only place where cells are made: whatever two events miss of each other, the sweep's call makes.
    A defense that came after an attack first faces the inputs that this attack left on others.
    """
    defenses, attacks = standing_defenses(challenge), standing_attacks(challenge)
    for evaluation in defenses:
        survival.ensure(evaluation)
    cells = Cell.objects.filter(challenge=challenge, rules_digest=challenge.rules_digest)
    known = set(cells.filter(kind=Cell.Kind.PLAY).values_list("defense_id", "attack_id"))
    missing = [
        (defense, attack)
        for defense in defenses
        for attack in attacks
        if (defense.submission_id, attack.submission_id) not in known
    ]
    given_up = {look.pk for look in {look for _, look in missing} if patience.given_up(look.submission)}
    missing = [(defense, look) for defense, look in missing if look.pk not in given_up]
    if not missing:
        return 0
    gaps = _gaps(defenses)
    code = {look for _, look in missing if look.submission.manifest["format"] == "python"}
    sources = {look.pk: _stored_inputs(look, challenge) for look in code}
    made = 0
    for defense, look in missing:
        made += _pair(defense, look, gaps.get(defense.submission_id, 0), sources.get(look.pk))
    bump(challenge.pk)
    transaction.on_commit(hint, robust=True)
    return made


def _pair(defense: Evaluation, look: FirstLook, gap: int, source: Archive | None) -> int:
    """The cells of one pair, unless another process made them meanwhile."""
    later = (defense.finished or timezone.now()) > (look.finished or timezone.now())
    attack = look.submission
    step = defense.judged_pack.challenge.evaluation.shard_examples
    array = attack.manifest["format"] == "array"
    common = {
        "challenge_id": attack.challenge_id,
        "evaluation": defense,
        "team_id": defense.submission.team_id if later else attack.team_id,
        "examples": defense.examples,
    }
    pair = {"defense": defense.submission, "attack": attack, "rules_digest": defense.rules_digest}
    kinds = [(Cell.Kind.PLAY, priorities.ARRAY if array else priorities.CODE, step)]
    if later and source is not None:
        kinds.append((Cell.Kind.REPLAY, priorities.REPLAY, defense.examples))
    made = 0
    for kind, sort, size in kinds:
        with transaction.atomic():
            replayed = {"source": source} if kind == Cell.Kind.REPLAY else {}
            seed = seed_of(attack, defense.submission, what=kind)
            last = kind == Cell.Kind.PLAY and patience.waits_last(attack)
            priority = LAST if last else priorities.urgency(sort, gap)
            defaults = common | replayed | {"judge": kind, "priority": priority, "seed": seed}
            cell, new = Cell.objects.get_or_create(**pair, kind=kind, defaults=defaults)
            if new:
                jobs.cut(cell, examples=cell.examples, step=size)
                made += 1
    return made


def _stored_inputs(look: FirstLook, challenge: Challenge) -> Archive | None:
    """One kept input of this attack for each example that it broke anywhere."""
    kept = Archive.objects.filter(cells__attack=look.submission, cells__rules_digest=challenge.rules_digest)
    merged = adversarial.one_each(adversarial.read(archive) for archive in kept.order_by("-inputs", "pk").distinct())
    return adversarial.keep_bytes(merged) if merged else None


def _gaps(defenses: list[Evaluation]) -> dict[int, int]:
    rows = Survival.objects.filter(evaluation__in=defenses).values_list("evaluation__submission_id", "robust")
    return priorities.gaps({defense: count(bytes(robust)) for defense, robust in rows})


def reprioritise(challenge: Challenge) -> None:
    """Moves waiting cells after a fall: those against defenses whose rank now hangs on fewest examples come first."""
    waiting = Cell.objects.filter(challenge=challenge, state__in=Cell.UNFINISHED, kind=Cell.Kind.PLAY, priority__lt=LAST)
    at_stake = set(waiting.values_list("defense_id", flat=True))
    if not at_stake:
        return
    for defense, gap in _gaps(standing_defenses(challenge)).items():
        if defense in at_stake:
            for sort, form in ((priorities.ARRAY, "array"), (priorities.CODE, "python")):
                theirs = waiting.filter(defense=defense, attack__manifest__format=form)
                jobs.prioritise(theirs, priority=priorities.urgency(sort, gap))


def cancel_cells(*, submission: Submission) -> None:
    """Stops what a withdrawn entry still has to play; what was found stays found."""
    jobs.cancel(Cell.objects.filter(Q(attack=submission) | Q(defense=submission), state__in=Cell.UNFINISHED))
    looks = FirstLook.objects.filter(submission=submission, state__in=FirstLook.UNFINISHED)
    jobs.cancel(looks, state=FirstLook.State.SUBMISSION_FAILED, reason=WITHDRAWN)
