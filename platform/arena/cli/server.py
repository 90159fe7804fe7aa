"""Talking to a Redoubt server: one small client, whose errors are the server's own sentences."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import httpx

from arena.cli.folders import inspected
from arena.submissions.packing import pack_folder
from evaluator.errors import InputError, PlatformError

DEFAULT_SERVER = "http://localhost:8000"
_SECONDS = 60.0
_HOW_TO_GET_ONE = "Make one on your account page, then export REDOUBT_TOKEN=... with it in place of the dots, or pass --token."


class Server:
    """A server and the person's token.

    address: "http://host:port" (else REDOUBT_SERVER); token: from the account page (else REDOUBT_TOKEN).
    """

    def __init__(self, address: str | None, token: str | None) -> None:
        self.address = (address or os.environ.get("REDOUBT_SERVER") or DEFAULT_SERVER).rstrip("/")
        self._token = _token(token) or _token(os.environ.get("REDOUBT_TOKEN"))

    def get(self, path: str, **params: Any) -> Any:
        """The JSON at /api/v1/`path`."""
        return self._ask("GET", path, params=params).json()

    def download(self, path: str) -> bytes:
        """The file at /api/v1/`path`."""
        return self._ask("GET", path).content

    def post(self, path: str, *, data: dict[str, str], files: dict[str, tuple[str, bytes]]) -> Any:
        """Posts a form with files to /api/v1/`path`."""
        return self._ask("POST", path, data=data, files=files).json()

    def _ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        if self._token is None:
            raise InputError("this needs an API token.", help=_HOW_TO_GET_ONE)
        headers = {"Authorization": f"Bearer {self._token}"}
        try:
            answer = httpx.request(method, f"{self.address}/api/v1/{path}", headers=headers, timeout=_SECONDS, **options)
        except httpx.HTTPError as error:
            help = "Is it running? Name another with --server or REDOUBT_SERVER."
            raise PlatformError("server", f"does not answer ({error}).", where=self.address, help=help) from error
        if answer.is_success:
            return answer
        raise self._error(answer)

    def _error(self, answer: httpx.Response) -> InputError | PlatformError:
        try:
            table = answer.json()
            what, where, help = str(table["what"]), str(table.get("where", "")), str(table.get("help", ""))
        except (ValueError, KeyError, TypeError):
            what, where, help = f"answered {answer.status_code} without saying why.", self.address, ""
        if answer.status_code >= 500:
            return PlatformError("server", what, where=where, help=help)
        return InputError(what, where=where, help=help)


def packed(folder: Path) -> bytes:
    """The submission as a zip archive. Raises InputError for what the site would refuse, before anything is sent."""
    inspected(folder)
    return pack_folder(folder)


def _token(given: str | None) -> str | None:
    """The token itself, also of a line for the shell that was pasted whole. Raises InputError for what cannot be one."""
    token = (given or "").strip().removeprefix("export ").strip().removeprefix("REDOUBT_TOKEN=").strip().strip("\"'")
    if not token:
        return None
    if not any(letter.isalnum() for letter in token) or not token.isascii() or " " in token or not token.isprintable():
        raise InputError(f'"{token[:20]}" is no API token.', where="REDOUBT_TOKEN", help=_HOW_TO_GET_ONE)
    return token
