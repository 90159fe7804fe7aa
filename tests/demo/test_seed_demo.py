"""The demo season at its smallest: real networks, real attacks in the real sandbox, invented dates."""

from __future__ import annotations

import io

import pytest
from django.core.management import call_command
from django.test import Client
from django.utils import timezone

from arena.challenges.models import Challenge
from arena.evaluations.models import Evaluation
from arena.matrix.models import Cell, Fall, FirstLook
from arena.submissions.models import Submission

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]
SMALL = {"examples": 6, "defenses": 2, "attacks": 2}


def seed() -> str:
    said = io.StringIO()
    call_command("seed_demo", stdout=said, **SMALL)
    return said.getvalue()


def test_a_small_season_is_played_dated_and_shown_and_is_there_once() -> None:
    assert "Standard CNN, Harbour Lab: completed" in seed()
    challenge = Challenge.objects.get(slug="demo-season")
    assert challenge.spec.data.examples == 6
    assert set(Evaluation.objects.values_list("state", flat=True)) == {"completed"}
    assert set(FirstLook.objects.values_list("state", flat=True)) == {"completed"}
    assert list(Cell.objects.values_list("state", flat=True)) == ["completed"] * Cell.objects.count()
    assert Cell.objects.filter(kind="play").count() == 4
    moments = list(Submission.objects.order_by("pk").values_list("created", flat=True))
    assert moments == sorted(moments)
    assert (moments[-1] - moments[0]).days > 20
    assert all(fall.at < timezone.now() for fall in Fall.objects.all())
    assert Evaluation.objects.filter(finished__gt=moments[-1], submission__created=moments[0]).count() == 0
    before = (Submission.objects.count(), Cell.objects.count(), moments)
    seed()
    again = list(Submission.objects.order_by("pk").values_list("created", flat=True))
    assert (Submission.objects.count(), Cell.objects.count(), again) == before
    rules = Client().get("/challenges/demo-season/rules/").content.decode()
    assert "<dt>Ensemble</dt><dd>short: FGSM, then PGD with 10 steps" in rules
    for page in ("", "attacks/", "matrix/", "history/", "rules/"):
        assert Client().get(f"/challenges/demo-season/{page}").status_code == 200
