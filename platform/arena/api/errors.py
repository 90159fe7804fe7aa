"""Every error of the API has one shape: {"what": ..., "where": ..., "help": ...}."""

from __future__ import annotations

import logging
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404
from rest_framework import status
from rest_framework.exceptions import APIException, AuthenticationFailed, NotAuthenticated, Throttled, ValidationError
from rest_framework.response import Response
from rest_framework.views import set_rollback

from arena.accounts.rates import RateLimited
from arena.serving.storage_faults import NOTHING_STORED, STORAGE_FAILS, site_fault
from evaluator.errors import RedoubtError

_log = logging.getLogger(__name__)
_LOG_IN_HELP = 'Send "Authorization: Bearer TOKEN" with a token from your account page.'


def handle(error: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's exception handler: None leaves an error of our own to Django, which logs it and answers 500."""
    answer = _answer(error)
    if answer is not None:
        set_rollback()
    return answer


def _answer(error: Exception) -> Response | None:
    if isinstance(error, RateLimited):
        return _response(status.HTTP_429_TOO_MANY_REQUESTS, error.what, help=error.help, headers=_retry(error.seconds))
    if site_fault(error) is not None:
        _log.error("the site's storage fails", exc_info=error)
        return _response(status.HTTP_503_SERVICE_UNAVAILABLE, STORAGE_FAILS, help=NOTHING_STORED)
    if isinstance(error, RedoubtError):
        return _response(status.HTTP_400_BAD_REQUEST, error.what, where=error.where, help=error.help)
    if isinstance(error, Http404):
        return _response(status.HTTP_404_NOT_FOUND, str(error) or "There is no such thing.")
    if isinstance(error, PermissionDenied):
        return _response(status.HTTP_403_FORBIDDEN, str(error) or "You may not do this.")
    if isinstance(error, AuthenticationFailed | NotAuthenticated):
        headers = {"WWW-Authenticate": "Bearer"}
        return _response(status.HTTP_401_UNAUTHORIZED, str(error.detail), help=_LOG_IN_HELP, headers=headers)
    if isinstance(error, Throttled):
        seconds = int(getattr(error, "wait", None) or 60)
        help = f"Try again in {seconds} seconds."
        return _response(error.status_code, "Too many requests.", help=help, headers=_retry(seconds))
    if isinstance(error, ValidationError):
        where, what = _first(error.detail)
        return _response(error.status_code, what, where=where)
    if isinstance(error, APIException):
        return _response(error.status_code, str(error.detail))
    return None


def _first(detail: Any) -> tuple[str, str]:
    """The first field with an error, and its sentence."""
    if isinstance(detail, dict) and detail:
        where, rest = next(iter(detail.items()))
        return str(where), _first(rest)[1]
    if isinstance(detail, list) and detail:
        return "", _first(detail[0])[1]
    return "", str(detail)


def _retry(seconds: int) -> dict[str, str]:
    return {"Retry-After": str(seconds)}


def _response(code: int, what: str, *, where: str = "", help: str = "", headers: dict[str, str] | None = None) -> Response:
    return Response({"what": what, "where": where, "help": help}, status=code, headers=headers)
