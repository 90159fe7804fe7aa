"""A defense's request for a certificate, as far as it can be judged before anything is loaded."""

from __future__ import annotations

from typing import Any

from evaluator.errors import InputError
from evaluator.manifests.certificate_specs import check_request
from evaluator.manifests.spec import Challenge, DefenseManifest


def check_certificate(manifest: dict[str, Any], challenge: Challenge) -> None:
    """Raises InputError where the challenge's threat or its board cannot have the certificate that a manifest asks for.

    An unknown method and a missing sigma are refused with the manifest; what only the network can tell, when it is loaded.
    """
    request = DefenseManifest.model_validate(manifest).certificate
    if request is None:
        return
    try:
        check_request(request, threat=challenge.threat.kind, board=challenge.certified)
    except InputError as error:
        raise InputError(error.what, where=f"defense.toml, {error.where}", help=error.help) from error
