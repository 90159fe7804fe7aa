"""Signing up, logging in, and one's own account."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import login, logout
from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import redirect_to_login
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from arena.accounts import services
from arena.accounts.models import User
from arena.accounts.queries import teams_of, tokens_of
from arena.accounts.rates import client_address
from arena.evaluations.entries import with_evaluations
from arena.matrix.queries import with_looks
from arena.submissions.queries import of_user
from arena.web.forms import LogInForm, SignUpForm, TokenForm, blame
from evaluator.errors import RedoubtError

BACKEND = "django.contrib.auth.backends.ModelBackend"


def _next(request: HttpRequest) -> str:
    """Where to go afterwards: only ever an address of this site."""
    wanted = request.POST.get("next") or request.GET.get("next") or ""
    safe = url_has_allowed_host_and_scheme(wanted, {request.get_host()}, require_https=request.is_secure())
    return wanted if safe else ""


def _enter(request: HttpRequest, user: User) -> HttpResponse:
    login(request, user, backend=BACKEND)
    return redirect(_next(request) or "web:home")


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
def sign_up(request: HttpRequest) -> HttpResponse:
    """Makes an account and logs it in."""
    form = SignUpForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            return _enter(request, services.sign_up(**form.cleaned_data, address=client_address(request)))
        except RedoubtError as error:
            blame(form, error)
    return render(request, "web/accounts/signup.html", {"form": form, "next": _next(request)})


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
def log_in(request: HttpRequest) -> HttpResponse:
    """Logs a person in by user name or email address."""
    form = LogInForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            return _enter(request, services.check_log_in(**form.cleaned_data, address=client_address(request)))
        except RedoubtError as error:
            blame(form, error)
    return render(request, "web/accounts/login.html", {"form": form, "next": _next(request)})


@require_safe
def admin_log_in(request: HttpRequest) -> HttpResponse:
    """In place of the admin's own page, which knows no limits: the log-in of the site, and back to the admin afterwards."""
    return redirect_to_login(_next(request) or reverse("admin:index"), reverse("web:login"))


@require_POST
def log_out(request: HttpRequest) -> HttpResponse:
    """Ends the session."""
    logout(request)
    return redirect("web:home")


def _account(request: HttpRequest, user: User, form: TokenForm, **more: Any) -> HttpResponse:
    lists = {"teams": teams_of(user), "tokens": tokens_of(user), "entries": with_evaluations(with_looks(of_user(user))[:50])}
    return render(request, "web/accounts/account.html", {"form": form} | lists | more)


@require_safe
@login_required
@never_cache
def account(request: HttpRequest) -> HttpResponse:
    """One's entries, teams and tokens."""
    assert isinstance(request.user, User)
    return _account(request, request.user, TokenForm())


@require_POST
@login_required
@never_cache
def make_token(request: HttpRequest) -> HttpResponse:
    """Makes a token and shows it in the answer itself, so that its secret is stored nowhere, not even in the session."""
    assert isinstance(request.user, User)
    form = TokenForm(request.POST)
    if form.is_valid():
        try:
            made = services.make_token(user=request.user, name=form.cleaned_data["name"])
            return _account(request, request.user, TokenForm(), secret=made.secret)
        except RedoubtError as error:
            blame(form, error)
    return _account(request, request.user, form)


@require_POST
@login_required
def revoke_token(request: HttpRequest, token_id: int) -> HttpResponse:
    """Deletes one of one's own tokens."""
    assert isinstance(request.user, User)
    if not services.revoke_token(user=request.user, token_id=token_id):
        raise Http404("There is no such token.")
    return redirect("web:account")
