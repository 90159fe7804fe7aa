"""How often the API may be called: by address for strangers, by person for those with a token."""

from __future__ import annotations

from typing import Any

from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from arena.accounts.models import User
from arena.accounts.rates import client_address, hit


class CallThrottle(BaseThrottle):
    """Every call counts. Raises RateLimited, which `errors.handle` answers with 429."""

    def allow_request(self, request: Request, view: Any) -> bool:
        if isinstance(request.user, User):
            hit(rate="API of one person", key=str(request.user.pk))
        else:
            hit(rate="API from one address", key=client_address(request))
        return True
