"""Attacks for looking at pages: a challenge of its own with six defenses and five attacks, and one that waits to be attacked.

The figures are made up; the cells, falls and ranks that follow from them are made by the product.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path

import numpy as np
from django.core.files.base import ContentFile

from arena.accounts.models import Team
from arena.challenges.models import Challenge
from arena.jobs.finishing import conclude
from arena.jobs.outcomes import dump
from arena.matrix.looks import Looked
from arena.matrix.models import Cell, FirstLook
from arena.matrix.services import receive, target_of
from arena.submissions.models import Submission
from arena.submissions.packing import pack_folder
from evaluator.data import fetch
from evaluator.records.adversarial_archive import AdversarialArchive
from evaluator.records.cell_report import CellCompleted, CellDigests, CellReport
from evaluator.records.intervals import clopper_pearson
from evaluator.records.report import Environment, SubmissionFailed
from tests.e2e.season import Made, complete, make_challenge, make_entry, make_user

BASELINES = Path(__file__).resolve().parents[2] / "evaluator" / "defenses" / "baselines"
DEFENSES = {  # name -> clean accuracy, left by each attack of the ensemble, certified
    "Wide CNN, TRADES": (0.995, (0.972, 0.968, 0.961, 0.96), None),
    "PGD-40 CNN": (0.984, (0.97, 0.962, 0.958, 0.957), None),
    "IBP small": (0.971, (0.962, 0.955, 0.951, 0.95), 0.941),
    "Squeeze and hope": (0.985, (0.9, 0.8, 0.7, 0.68), None),
    "Standard CNN": (0.992, (0.764, 0.51, 0.5, 0.5), None),
    "Binarised, ensemble of five networks with a long name": (0.98, (0.91, 0.9, 0.89, 0.885), None),
}
ATTACKS = {  # name -> how many more examples than the ensemble it breaks, and how many in all
    "Guided local search": (34, 90),
    "Multi-targeted PGD, 20 restarts": (21, 100),
    "Square, 10,000 queries": (0, 40),
    "Transfer from a ResNet-18": (2, 25),
}


def make_matrix() -> dict[str, str]:
    """The challenge "mnist-linf-01" with a played matrix, an attack that is looked at and one refused; public ids by key."""
    fetch("mnist")  # pages show pictures of what this machine has
    title = "MNIST, L∞ 0.1, a title as long as titles are in practice"
    challenge = make_challenge("mnist-linf-01", title=title, threat={"kind": "linf", "epsilon": 0.1}, published=None)
    zurich, kyoto = make_user("carol").teams.get(), make_user("dan").teams.get()
    made = {
        name: complete(make_entry(challenge, zurich, name), clean=clean, left=left, certified=certified).submission
        for name, (clean, left, certified) in DEFENSES.items()
    }
    for name, (news, broken) in ATTACKS.items():
        attack = make_attack(challenge, kyoto, name)
        accept(attack)
        for cell in Cell.objects.filter(attack=attack, state="queued"):
            conclude(cell.key, _outcome(cell, _breaks(cell, news=news, broken=broken)))
    late = make_attack(challenge, kyoto, "Boundary, HopSkipJump")
    accept(late)
    first = Cell.objects.filter(attack=late, state="queued").earliest("pk")
    conclude(first.key, SubmissionFailed("timeout", "No answer within 600 s."))
    refused = make_attack(challenge, kyoto, "Out of the box")
    settle(refused, SubmissionFailed("shape", "attack() returned (5, 784) where (5, 1, 28, 28) was asked for."))
    strongest, attacked = Submission.objects.get(name="Guided local search"), made["Wide CNN, TRADES"]
    return {
        "attack": strongest.public_id,
        "attack_late": late.public_id,
        "attack_refused": refused.public_id,
        "attack_new": make_attack(challenge, kyoto, "Just arrived").public_id,
        "attacked": attacked.public_id,
        "cell": Cell.objects.get(attack=strongest, defense=attacked).public_id,
        "cell_failed": first.public_id,
    }


def make_attack(challenge: Challenge, team: Team, name: str) -> Submission:
    """An uploaded attack that nobody has looked at."""
    attack = Submission(
        challenge=challenge,
        team=team,
        kind=Submission.Kind.ATTACK,
        name=name,
        manifest={"name": name, "format": "python", "entry": "attack.py"},
        digest=hashlib.sha256(name.encode()).hexdigest(),
        size=1000,
    )
    attack.archive.save("archive.zip", ContentFile(b"not read by pages"), save=False)
    attack.save()
    receive(submission=attack, target=target_of(challenge, None))
    return attack


def settle(attack: Submission, outcome: SubmissionFailed | CellCompleted) -> None:
    """Ends the first look."""
    look = FirstLook.objects.get(submission=attack)
    assert conclude(look.key, Looked(outcome=dump(outcome), violations=[]))


def accept(attack: Submission) -> None:
    """The first look found nothing wrong."""
    settle(attack, SubmissionFailed("timeout", "Five examples took longer than a minute."))


def _breaks(cell: Cell, *, news: int, broken: int) -> set[int]:
    """The last `broken` examples that the defense is right about, and the last `news` of those that nobody broke."""
    evaluation = cell.evaluation
    correct = round((evaluation.clean_accuracy or 0) * cell.examples)
    robust = round((evaluation.robust_accuracy or 0) * cell.examples)
    felled = min(news, 3) if evaluation.certified_accuracy else news
    return {*range(max(correct - broken, robust), correct), *range(robust - felled, robust)}


def _outcome(cell: Cell, breaks: set[int]) -> CellCompleted:
    n = cell.examples
    correct = [int(number < round((cell.evaluation.clean_accuracy or 0) * n)) for number in range(n)]
    robust = [int(bool(bit) and number not in breaks) for number, bit in enumerate(correct)]
    report = CellReport(
        kind="python",
        challenge=cell.challenge.slug,
        attack=cell.attack.name,
        defense=cell.defense.name,
        examples=n,
        ids=list(range(n)),
        clean_accuracy=sum(correct) / n,
        robust_accuracy=sum(robust) / n,
        robust_interval=clopper_pearson(sum(robust), n),
        correct_bits=correct,
        robust_bits=robust,
        distances=[None if number not in breaks else 0.02 + 0.08 * (number % 37) / 37 for number in range(n)],
        read_as=[(number + 1) % 10 if number in breaks else None for number in range(n)],
        violations=[],
        forward_rows=41 * n,
        backward_rows=40 * n,
        budget_rows=1000 * n,
        check_rows=2 * n,
        seconds=73.2,
        flags=[],
        verified=True,
        seed=cell.seed,
        digests=CellDigests(attack=cell.attack.digest, defense=cell.defense.digest, pack="c" * 64, data="d" * 64),
        environment=Environment(
            evaluator="0.1.0", torch="2.13.0", python="3.11", device="cpu", threads=1, lane="host", sandbox="bubblewrap",
            enforced=["network", "filesystem"],
        ),
    )  # fmt: skip
    wide = 3 + list(ATTACKS).index(cell.attack.name) if cell.attack.name in ATTACKS else 2
    return CellCompleted(report, inputs(sorted(breaks), wide=wide).to_bytes())


def inputs(ids: list[int], *, wide: int = 4) -> AdversarialArchive:
    """Stored inputs for MNIST, a chequered perturbation of 0.1 for each example. wide: pixels, another for every attack."""
    steps = np.where(np.indices((28, 28)).sum(0) // wide % 2, 127, -127).astype(np.int8)
    return AdversarialArchive(
        ids=np.array(ids, dtype=np.int64),
        form=np.zeros(len(ids), dtype=np.uint8),
        scale=np.full(len(ids), 0.1),
        steps=np.broadcast_to(steps, (len(ids), 1, 28, 28)).copy(),
        halves=np.zeros((0, 1, 28, 28), dtype=np.float16),
        points=np.zeros((0, 1, 28, 28), dtype=np.float32),
    )


def make_targets(*, examples: int) -> None:
    """A challenge with two real defenses that stand: one that any attack breaks, before one that is hard to break."""
    challenge = make_challenge(examples=examples, threat={"kind": "linf", "epsilon": 0.1}, published=None)
    team = make_user("alice").teams.get()
    for folder, name, left in (("mnist-standard", "Standard", 1.0), ("mnist-ibp", "Proven", 0.9)):
        made = make_entry(challenge, team, name)
        _put_archive(made, BASELINES / folder)
        complete(made, clean=1.0, left=(left,) * 4)


def _put_archive(made: Made, folder: Path) -> None:
    """Gives an entry the files of `folder`, without a certificate to compute."""
    with tempfile.TemporaryDirectory() as temporary:
        copy = Path(temporary) / "defense"
        shutil.copytree(folder, copy)
        manifest = copy / "defense.toml"
        manifest.write_text(manifest.read_text().partition("[certificate]")[0])
        packed = pack_folder(copy)
    submission = made.submission
    submission.digest = hashlib.sha256(packed).hexdigest()
    submission.archive.save("archive.zip", ContentFile(packed), save=False)
    submission.save()
