"""`Authorization: Bearer TOKEN` with a token made on the site."""

from __future__ import annotations

from django.contrib.auth.models import AnonymousUser
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from arena.accounts.models import User
from arena.accounts.queries import user_of_token
from arena.accounts.rates import WRONG_TOKENS, client_address, hit

Person = User | AnonymousUser


class TokenAuthentication(BaseAuthentication):
    """No header: a stranger. An unknown token: 401, never a stranger by mistake."""

    def authenticate(self, request: Request) -> tuple[User, None] | None:
        header = request.headers.get("Authorization", "")
        if not header:
            return None
        scheme, _, secret = header.partition(" ")
        user = user_of_token(secret.strip()) if scheme.lower() == "bearer" else None
        if user is None:
            hit(rate=WRONG_TOKENS, key=client_address(request))
            raise AuthenticationFailed("The token is unknown or was revoked.")
        return user, None

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


def person_of(request: Request) -> Person:
    """Who asks: a user, or a stranger."""
    user = request.user
    return user if isinstance(user, User) else AnonymousUser()


class TokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """How the schema describes it."""

    target_class = TokenAuthentication
    name = "token"

    def get_security_definition(self, auto_schema: object) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer"}
