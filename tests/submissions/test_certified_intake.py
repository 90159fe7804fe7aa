"""A request for a certificate that a challenge cannot have is told to the team when it hands in, before any compute."""

from __future__ import annotations

import pytest
from django.core.files.base import ContentFile

from arena.challenges.models import Challenge
from arena.challenges.services import Publication, publish
from arena.submissions.models import Submission
from arena.submissions.services import submit
from evaluator.errors import InputError
from evaluator.manifests.spec import Challenge as Manifest
from evaluator.manifests.spec import Pack
from tests.web.backend_support import good_files, person, team_of, zipped

pytestmark = pytest.mark.django_db
RADII = {"radii": (0.0, 0.5), "alpha": 0.001, "samples": 2000}


def pack(kind: str, certified: object = None) -> Pack:
    table = {
        "title": "A challenge",
        "data": {"dataset": "mnist", "examples": 20},
        "threat": {"kind": kind, "epsilon": 0.5},
        "certified": certified,
    }
    return Pack(slug="a-challenge", folder=None, challenge=Manifest.model_validate(table), digest="d" * 64)


def hand_in(challenge: Challenge, table: str) -> Submission:
    files = good_files()
    manifest = files["defense.toml"]
    text = manifest.decode() if isinstance(manifest, bytes) else manifest
    alice = person()
    archive = ContentFile(zipped({**files, "defense.toml": f"{text}\n[certificate]\n{table}\n"}), name="entry.zip")
    return submit(user=alice, team=team_of(alice), challenge=challenge, archive=archive)


@pytest.mark.parametrize(
    ("kind", "certified", "table", "words"),
    [
        ("linf", None, 'method = "smoothing"\nsigma = 0.5', 'certificate.method: "smoothing" says nothing about linf'),
        ("l2", None, 'method = "milp"', '"milp" says nothing about l2'),
        ("l2", None, 'method = "smoothing"', "needs sigma"),
        ("l2", None, 'method = "smothing"\nsigma = 0.5', 'Did you mean "smoothing"?'),
        ("l2", RADII, 'method = "smoothing"\nsigma = 0.5\nalpha = 0.01', "this board certifies at alpha 0.001 or less"),
        ("l2", RADII, 'method = "smoothing"\nsigma = 0.5\nn = 5000', "at most 2,000 samples on an image"),
    ],
    ids=["norm", "milp", "sigma", "method", "alpha", "samples"],
)
def test_it_is_refused_with_the_field_and_what_to_do(kind: str, certified: object, table: str, words: str) -> None:
    with pytest.raises(InputError) as refusal:
        hand_in(publish(pack=pack(kind, certified)).challenge, table)
    assert words in str(refusal.value)
    assert "defense.toml" in str(refusal.value)
    assert not Submission.objects.exists()


def test_one_that_can_be_had_is_accepted() -> None:
    entry = hand_in(publish(pack=pack("l2", RADII)).challenge, 'method = "smoothing"\nsigma = 0.5')
    assert entry.manifest["certificate"] == {"method": "smoothing", "sigma": 0.5}


def test_other_radii_are_other_rules_and_other_references_are_not() -> None:
    publish(pack=pack("l2", RADII))
    reference = {"title": "Published", "radii": (0.5,), "accuracy": (50.0,)}
    assert publish(pack=pack("l2", {**RADII, "references": (reference,)})).publication is Publication.UPDATED
    assert publish(pack=pack("l2", {**RADII, "radii": (0.0, 0.25, 0.5)})).publication is Publication.RULES_CHANGED
