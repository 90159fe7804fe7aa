"""What the API answers is what its schema says: every operation, every kind of reader, every kind of error."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.cache import cache
from django.core.files.uploadedfile import SimpleUploadedFile
from drf_spectacular.generators import SchemaGenerator
from jsonschema import Draft202012Validator, FormatChecker
from rest_framework.test import APIClient

from arena.accounts.models import Team, User
from arena.accounts.services import make_token
from arena.challenges.models import Challenge
from arena.evaluations.models import Evaluation
from arena.matrix.models import Cell
from arena.submissions.models import Submission
from tests.e2e.certified_season import make_certified_season
from tests.e2e.phased_season import make_phased_season
from tests.e2e.season import make_season, make_user
from tests.e2e.season_matrix import make_matrix
from tests.web.backend_support import good_files, zipped

pytestmark = pytest.mark.django_db
SCHEMA = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]


def strict(schema: Any) -> Any:
    """OpenAPI 3.0 as JSON Schema: `nullable` spelled out; and closed, so that what is not described is found, too."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    told = {key: strict(value) for key, value in schema.items() if key != "nullable"}
    if isinstance(told.get("properties"), dict):
        told["additionalProperties"] = False
    return {"anyOf": [told, {"type": "null"}]} if schema.get("nullable") is True else told


COMPONENTS = strict(SCHEMA["components"])


def check(method: str, template: str, answer: Any) -> None:
    """Fails unless the answer's status is documented and its body is what is said of that status."""
    told = SCHEMA["paths"][template][method]["responses"]
    code, what = str(answer.status_code), f"{method} {template}: {answer.status_code}"
    assert code in told, f"{what} is not documented"
    for header in told[code].get("headers", {}):
        assert header in answer, what
    content = told[code]["content"]
    kind = answer["Content-Type"].split(";")[0]
    assert kind in content or "application/octet-stream" in content, f"{what}: {kind}"
    if kind == "application/json":
        body = b"".join(answer.streaming_content) if answer.streaming else answer.content
        schema = {**strict(content[kind]["schema"]), "components": COMPONENTS}
        found = list(Draft202012Validator(schema, format_checker=FormatChecker()).iter_errors(json.loads(body)))
        assert not found, f"{what}: {found[0].json_path}: {found[0].message}"


@pytest.fixture
def site() -> None:
    """Entries in every state, attacks and cells in every state, certificates, phases."""
    cache.clear()
    make_season()
    Cell.objects.filter(public_id=make_matrix()["cell"]).delete()  # a square of the matrix that is not there yet
    first, second = Team.objects.all()[:2]
    make_certified_season((first, second))
    make_phased_season()


def readers() -> Iterator[APIClient]:
    """A stranger, members of two teams, somebody who entered nothing, and an organiser."""
    yield APIClient()
    people = [*User.objects.filter(username__in=("alice", "bob")), make_user("charlie"), make_user("olga", staff=True)]
    for user in people:
        client = APIClient()
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {make_token(user=user, name='test').secret}")
        yield client


def addresses(template: str) -> list[str]:
    """The template filled with everything that there is of its kind, and with what there is not."""
    if "{slug}" in template:
        values = [*Challenge.objects.values_list("slug", flat=True), "nothing"]
        return [template.replace("{slug}", value) for value in values]
    if "{public_id}" not in template:
        return [template]
    table = Evaluation if "/evaluations/" in template else Submission
    return [template.replace("{public_id}", value) for value in [*table.objects.values_list("public_id", flat=True), "nothing"]]


GETS = [template for template, operations in SCHEMA["paths"].items() if "get" in operations]


def test_every_answer_to_every_reader_is_as_described(site: None) -> None:
    seen = {template: set[int]() for template in GETS}  # one site for all of them: making it takes longer than asking
    for client in readers():
        for template in GETS:
            for address in addresses(template):
                answer = client.get(address)
                check("get", template, answer)
                seen[template].add(answer.status_code)
    for template, codes in seen.items():
        assert 200 in codes, f"{template}: nobody was answered"
        assert "{" not in template or 404 in codes, template


def test_the_list_of_submissions_comes_in_pages(site: None) -> None:
    alice = APIClient()
    alice.credentials(HTTP_AUTHORIZATION=f"Bearer {make_token(user=User.objects.get(username='alice'), name='t').secret}")
    template = "/api/v1/submissions"
    first = alice.get(template, {"page_size": 1})
    check("get", template, first)
    assert (len(first.json()["results"]), first.json()["count"] > 1, first.json()["previous"]) == (1, True, None)
    second = alice.get(first.json()["next"])
    check("get", template, second)
    assert second.json()["previous"] is not None
    check("get", template, alice.get(template, {"page": 99}))
    named = {each["name"] for each in SCHEMA["paths"][template]["get"]["parameters"]}
    assert named == {"page", "page_size"}
    schema = SCHEMA["paths"][template]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert schema == {"$ref": "#/components/schemas/EntryPage"}, "a generated client reads `results`, not a bare list"


def test_every_kind_of_error_is_as_described(site: None, settings: Any) -> None:
    alice, stranger = APIClient(), APIClient()
    alice.credentials(HTTP_AUTHORIZATION=f"Bearer {make_token(user=User.objects.get(username='alice'), name='t').secret}")
    stranger.credentials(HTTP_AUTHORIZATION="Bearer redoubt_wrong")
    template = "/api/v1/submissions"

    def upload(client: APIClient, **fields: str) -> Any:
        archive = SimpleUploadedFile("a.zip", fields.pop("data", "no archive").encode("latin-1"))
        return client.post(template, {"archive": archive, **fields})

    asked = [
        (201, upload(alice, challenge="mnist-linf", data=zipped(good_files("New")).decode("latin-1"))),
        (400, upload(alice, challenge="mnist-linf")),
        (400, alice.post(template, {"challenge": "mnist-linf"})),
        (404, upload(alice, challenge="nothing")),
        (404, upload(alice, challenge="mnist-linf", team="prague-verify")),
        (415, alice.post(template, "{}", content_type="application/json")),
        (401, upload(stranger, challenge="mnist-linf")),
        (401, upload(APIClient(), challenge="mnist-linf")),
    ]
    for code, answer in asked:
        assert answer.status_code == code, answer.content
        check("post", template, answer)
    for name, table in (("evaluations/{public_id}/cancel", Evaluation), ("submissions/{public_id}/withdraw", Submission)):
        path = f"/api/v1/{name}"
        mine = table.objects.order_by("-pk").first()
        assert mine is not None
        for code, client in ((401, APIClient()), (401, stranger), (200, alice), (400, alice)):
            answer = client.post(path.replace("{public_id}", mine.public_id))
            assert answer.status_code == code, answer.content
            check("post", path, answer)
        check("post", path, alice.post(path.replace("{public_id}", "nothing")))
    for each in GETS:
        check("get", each, stranger.get(re.sub(r"\{\w+\}", "nothing", each)))
    settings.REDOUBT_RATES = {**settings.REDOUBT_RATES, "API of one person": (0, 60), "API from one address": (0, 60)}
    for each in GETS:
        answer = alice.get(re.sub(r"\{\w+\}", "nothing", each))
        assert answer.status_code == 429
        check("get", each, answer)
        assert APIClient().get(re.sub(r"\{\w+\}", "nothing", each)).status_code in (401, 429)


def test_every_operation_says_what_a_wrong_token_and_too_many_calls_answer() -> None:
    for template, operations in SCHEMA["paths"].items():
        for method, operation in operations.items():
            assert {"401", "429"} <= set(operation["responses"]), f"{method} {template}"
            if "{" in template:
                assert "404" in operation["responses"], f"{method} {template}"
