"""An entry: its page, its receipt, its badge, and stopping its evaluation."""

from __future__ import annotations

import json

from csp.decorators import csp_replace
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import cache_control
from django.views.decorators.clickjacking import xframe_options_exempt
from django.views.decorators.http import require_POST, require_safe

from arena.challenges.access import require_unsealed, sealed
from arena.evaluations import queries
from arena.evaluations.access import owns, require_report
from arena.evaluations.models import Evaluation
from arena.evaluations.services import ask_to_cancel
from arena.leaderboards.queries import doubt
from arena.submissions.access import get_own_submission, get_submission
from arena.web import svg
from arena.web.citing import bibtex
from arena.web.entry import entry_page
from arena.web.figures import bracket_of
from arena.web.gallery import found_by_ensemble
from arena.web.views.attacks import attack_page
from arena.web.views.pages import origin, picture_of, respond
from evaluator.errors import InputError


def _evaluation(request: HttpRequest, public_id: str) -> Evaluation:
    """The evaluation that stands for the entry. Raises Http404."""
    try:
        return queries.current_of(get_submission(request.user, public_id))
    except Evaluation.DoesNotExist as error:
        raise Http404("This entry was never evaluated.") from error


@require_safe
def entry(request: HttpRequest, public_id: str) -> HttpResponse:
    """Progress while it waits or runs, then the verdict or the reason."""
    submission = get_submission(request.user, public_id)
    if submission.kind == submission.Kind.ATTACK:
        return attack_page(request, submission)
    evaluation = _evaluation(request, public_id)
    context = entry_page(evaluation, owner=owns(request.user, evaluation), sealed=sealed(request.user, submission.challenge))
    here = {"origin": origin(request), "bibtex": bibtex(evaluation, origin(request))}
    return respond(request, "web/entries/entry.html", context | here, partial="entry")


@require_POST
def cancel(request: HttpRequest, public_id: str) -> HttpResponse:
    """Stops the evaluation of one's own entry."""
    submission = get_own_submission(request.user, public_id)
    try:
        ask_to_cancel(evaluation=queries.current_of(submission))
    except InputError as error:
        messages.warning(request, str(error), extra_tags="warn")
    return redirect("web:entry", submission.public_id)


@require_safe
def receipt(request: HttpRequest, public_id: str) -> HttpResponse:
    """The report of a completed evaluation with its signature, as the file that `redoubt replay` reads."""
    report = require_report(request.user, _evaluation(request, public_id))
    headers = {"Content-Disposition": f'attachment; filename="redoubt-{public_id}.json"'}
    return HttpResponse(json.dumps(report), content_type="application/json", headers=headers)


@cache_control(public=True, max_age=3600)
@require_safe
def picture(request: HttpRequest, public_id: str, example: int, kind: str) -> HttpResponse:
    """One picture of one input that the official ensemble found against the entry."""
    evaluation = _evaluation(request, public_id)
    require_unsealed(request.user, evaluation.submission.challenge)
    return picture_of(found_by_ensemble(evaluation), example, kind)


@cache_control(public=True, max_age=60)
@require_safe
def badge(request: HttpRequest, public_id: str) -> HttpResponse:
    """The entry's bracket as a picture for a README; without a figure where the evaluator does not vouch for it."""
    evaluation = _evaluation(request, public_id)
    figures = bracket_of(evaluation)
    if figures is None:
        raise Http404("There is no result for this entry.")
    title, unsure = evaluation.submission.challenge.title, doubt(evaluation)
    drawing = svg.doubtful_badge(unsure, challenge=title) if unsure else svg.badge(figures, challenge=title)
    return HttpResponse(drawing, content_type="image/svg+xml")


@require_safe
@xframe_options_exempt
@csp_replace({"frame-ancestors": ["*"]})  # type: ignore[arg-type]  # typed for views without arguments
def embed(request: HttpRequest, public_id: str) -> HttpResponse:
    """The entry's bracket as a page to be framed elsewhere: the only one that other sites may show in a frame."""
    evaluation = _evaluation(request, public_id)
    if bracket_of(evaluation) is None:
        raise Http404("There is no result for this entry.")
    return render(request, "web/entries/embed.html", {"evaluation": evaluation, "doubt": doubt(evaluation)})
