"""Talking to a Redoubt server: one small client, whose errors are the server's own sentences."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path
from typing import Any

import httpx

from evaluator.errors import InputError, PlatformError
from evaluator.spec import AttackManifest, DefenseManifest, load_manifest

DEFAULT_SERVER = "http://localhost:8000"
_SECONDS = 60.0


class Server:
    """A server and the person's token.

    address: "http://host:port" (else REDOUBT_SERVER); token: from the account page (else REDOUBT_TOKEN).
    """

    def __init__(self, address: str | None, token: str | None) -> None:
        self.address = (address or os.environ.get("REDOUBT_SERVER") or DEFAULT_SERVER).rstrip("/")
        self._token = token or os.environ.get("REDOUBT_TOKEN")

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
            help = "Make one on your account page, then export REDOUBT_TOKEN=... or pass --token."
            raise InputError("this needs an API token.", help=help)
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
    """The submission as a zip archive. Raises InputError when its manifest is wrong, before anything is sent."""
    if not folder.is_dir():
        raise InputError("is not a folder.", where=str(folder), help="Pass the folder that holds the manifest.")
    if (folder / "attack.toml").is_file():
        load_manifest(folder / "attack.toml", AttackManifest)
    else:
        load_manifest(folder / "defense.toml", DefenseManifest)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder)
            if path.is_file() and not path.is_symlink() and "__pycache__" not in name.parts:
                archive.write(path, name.as_posix())
    return buffer.getvalue()
