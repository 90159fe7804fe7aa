"""The tabs of attacks, matrix and history, the page of an attack, and the page of a cell."""

from __future__ import annotations

import time

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from arena.challenges.models import Challenge
from arena.evaluations.models import Evaluation
from arena.matrix.models import Cell, FirstLook
from arena.rankings.bits import pack
from arena.submissions.models import Submission
from evaluator.records.report import SubmissionFailed
from tests.web.backend_support import person, small_challenge, team_of
from tests.web.bulk_trials import insert
from tests.web.matrix_support import FakePlayer, attack, defend, look_once, play, upload_attack

pytestmark = pytest.mark.django_db(transaction=True)
BOARD = "/challenges/mnist-linf"


@pytest.fixture
def challenge() -> Challenge:
    return small_challenge()


def page(address: str) -> str:
    answer = Client().get(address)
    assert answer.status_code == 200, address
    return answer.content.decode()


def test_every_tab_is_there_before_there_is_anything_to_show(challenge: Challenge) -> None:
    assert "No attack plays yet" in page(f"{BOARD}/attacks/")
    assert "No attack plays yet" in page(f"{BOARD}/matrix/")
    assert "Nothing has fallen yet" in page(f"{BOARD}/history/")


def test_an_attack_is_shown_on_every_tab_and_on_pages_of_its_own(challenge: Challenge) -> None:
    one = defend(challenge, person("alice"), name="One")
    mine = attack(challenge, person("bob"), name="breaks <i>1</i> 2")
    play(FakePlayer())
    cell = Cell.objects.get()
    assert "breaks &lt;i&gt;1&lt;/i&gt; 2" in page(f"{BOARD}/attacks/")
    matrix = page(f"{BOARD}/matrix/")
    assert f'<td class="h10"><a href="/cells/{cell.public_id}/">97.5</a></td>' in matrix
    assert "1 of 1 cells settled" in matrix
    told = page(f"{BOARD}/history/")
    assert "of <bdi>bob</bdi>, 1 example" in told
    assert f"/entries/{mine.public_id}/" in told
    assert "40 to 39" in page(f"/entries/{mine.public_id}/")
    assert "robust accuracy fell from 40 to 39 of 40" in page(f"/cells/{cell.public_id}/")
    assert "by breaks &lt;i&gt;" in page(f"{BOARD}/"), "the board's last fall names the attack"
    assert one.name in page(f"/cells/{cell.public_id}/")


def test_the_matrix_is_sorted_by_an_attack_or_by_a_defense(challenge: Challenge) -> None:
    alice, bob = person("alice"), person("bob")
    defend(challenge, alice, name="One")
    weak = defend(challenge, alice, name="Two", share=0.5)
    strong = attack(challenge, bob, name="breaks 1 2 3 4 5")
    gentle = attack(challenge, bob, name="breaks 6")
    play()
    Cell.objects.filter(defense__name="One", attack=gentle).update(left=3)
    by_attack = page(f"{BOARD}/matrix/?by={gentle.public_id}")
    assert by_attack.index("<bdi>Two</bdi></a></th>") < by_attack.index("<bdi>One</bdi></a></th>")
    plain, by_defense = page(f"{BOARD}/matrix/"), page(f"{BOARD}/matrix/?by={weak.public_id}")
    assert plain.index(strong.name) < plain.index(gentle.name)
    Cell.objects.filter(defense=weak, attack=gentle).update(left=1)
    by_defense = page(f"{BOARD}/matrix/?by={weak.public_id}")
    assert by_defense.index(gentle.name) < by_defense.index(strong.name)


def test_what_failed_is_reported_to_its_team_and_to_nobody_else(challenge: Challenge) -> None:
    defend(challenge, person("alice"), name="One")
    bob = person("bob")
    mine = upload_attack(challenge, bob, name="broken")
    address = f"/entries/{mine.public_id}/"
    assert "being looked at" in page(address)
    look_once(player=FakePlayer(plan=[SubmissionFailed("raised", "attack.py, line 2: a secret")]))
    owner = Client()
    owner.force_login(bob)
    assert "a secret" in owner.get(address).content.decode()
    assert "a secret" not in page(address)
    assert "counts against no quota" in page(address)


def test_the_matrix_of_200_by_50_takes_no_more_queries_than_a_small_one(challenge: Challenge) -> None:
    alice, bob = person("alice"), person("bob")
    defend(challenge, alice, name="One")
    attack(challenge, bob, name="breaks 1")
    play()
    with CaptureQueriesContext(
        connection,
    ) as few:
        page(f"{BOARD}/matrix/")
    grow(challenge, defenses=200, attacks=50)
    with CaptureQueriesContext(connection) as many:
        assert page(f"{BOARD}/matrix/").count('<td class="h') == 10_000
    queries = len(many)
    assert queries == len(few) > 0
    times, reader = [], Client()
    for _ in range(5):
        begun = time.perf_counter(), time.process_time()
        reader.get(f"{BOARD}/matrix/")
        times.append((time.perf_counter() - begun[0], time.process_time() - begun[1]))
    print(f"the matrix of 200 x 50 in {1000 * min(times)[0]:.0f} ms ({1000 * min(times)[1]:.0f} ms of CPU), {queries} queries")


def grow(challenge: Challenge, *, defenses: int, attacks: int) -> None:
    """Rows of the database as real ones leave them; no verdict is claimed for them."""
    model, first = Submission.objects.get(kind="defense"), Submission.objects.get(kind="attack")
    verdict, cell, look = Evaluation.objects.get(), Cell.objects.get(), FirstLook.objects.get()
    ours = {"challenge": challenge, "team": team_of(first.user or model.user)}  # type: ignore[arg-type]

    def more(of: Submission, count: int) -> list[Submission]:
        same = {"team": of.team, "challenge": challenge, "kind": of.kind, "manifest": of.manifest, "size": 1}
        Submission.objects.bulk_create(Submission(**same, name=f"{of.name} {n}", digest=str(n)) for n in range(count - 1))
        return list(Submission.objects.filter(kind=of.kind).order_by("pk"))

    shields, swords = more(model, defenses), more(first, attacks)
    scores = {"examples": 40, "robust_accuracy": 0.5, "clean_accuracy": 1.0, "interval_low": 0.3, "interval_high": 0.7}
    done = {"state": "completed", "verified": True, "finished": timezone.now(), "forward_rows": 1, "backward_rows": 1}
    rules = {"pack": verdict.pack, "rules_digest": verdict.rules_digest}
    insert(Evaluation(submission=each, **ours, **rules, **scores, **done) for each in shields[1:])
    insert(FirstLook(submission=each, target=model, **ours, state="completed", finished=look.finished) for each in swords[1:])
    pairs = [(one, two) for one in shields for two in swords if (one, two) != (model, first)]
    common = {"evaluation": verdict, **ours}
    found = {"rules_digest": cell.rules_digest, "examples": 40, "state": "completed", "breaks": pack([0] * 40), "left": 40}
    insert(Cell(defense=one, attack=two, **common, **found) for one, two in pairs)
