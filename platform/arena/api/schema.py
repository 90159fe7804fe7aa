"""What the OpenAPI schema says of every operation: the errors that any of them may answer with."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from arena.api.serializers import EntrySerializer, ErrorSerializer

MULTIPART_ERRORS: dict[int, Any] = dict.fromkeys((400, 404, 413, 415), ErrorSerializer)
_SHOWN = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
_WAIT = {"Retry-After": {"description": "Seconds until the next call is allowed.", "schema": {"type": "integer"}}}
_SCHEME = {"WWW-Authenticate": {"description": "Bearer.", "schema": {"type": "string"}}}


class EntryPageSerializer(serializers.Serializer[Any]):
    """One page of a list."""

    count = serializers.IntegerField(help_text="Of all pages together.")
    next = serializers.URLField(allow_null=True)
    previous = serializers.URLField(allow_null=True)
    results = EntrySerializer(many=True)


def document_errors(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """A postprocessing hook of drf-spectacular: any call may have a wrong token or come too often, any name be wrong."""
    for operations in result["paths"].values():
        for operation in operations.values():
            responses = operation["responses"]
            responses["401"] = {"description": "No token, or a wrong one.", "headers": _SCHEME, "content": _SHOWN}
            responses["429"] = {"description": "Too many calls.", "headers": _WAIT, "content": _SHOWN}
            if any(each["in"] == "path" for each in operation.get("parameters", [])):
                responses["404"] = {"description": "There is no such thing, or it is not yours.", "content": _SHOWN}
    return result


def allow_empty_squares(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """A postprocessing hook: a square of the matrix may be null, which the generator forgets of what it refers to."""
    cells = result["components"]["schemas"]["MatrixRow"]["properties"]["cells"]
    cells["items"] = {"allOf": [cells["items"]], "nullable": True}
    return result
