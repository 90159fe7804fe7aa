"""Server-sent events: "these boards changed", nothing more."""

from __future__ import annotations

import json

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_GET

from arena.web.streams import HAND_OVER


@require_GET
def boards(request: HttpRequest) -> HttpResponse:
    """Changes of every board that this reader may see.

    Only who asks is found out here. The header hands the connection over to `EventStreams`, which follows the boards without
    holding a thread or a connection to the database.
    """
    answer = HttpResponse(content_type="text/event-stream")
    answer["Cache-Control"] = "no-cache, no-transform"
    answer["X-Accel-Buffering"] = "no"
    answer[HAND_OVER] = json.dumps({"staff": bool(request.user.is_staff)})
    return answer
