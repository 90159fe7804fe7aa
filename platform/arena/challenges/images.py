"""The images that organisers bring: stored once by the site, and brought to every machine that judges or shows them."""

from __future__ import annotations

from django.core.files.base import File
from django.core.files.storage import default_storage

from evaluator.data import own
from evaluator.errors import PlatformError
from evaluator.manifests.data_specs import DataSpec


def store(data: DataSpec) -> None:
    """Puts the images of a pack, which `own.open_pack` has read, into the site's storage."""
    for digest in _digests(data):
        if not default_storage.exists(_name(digest)):
            with own.cached(digest).open("rb") as images:
                default_storage.save(_name(digest), File(images))


def bring(data: DataSpec) -> None:
    """Has the images in this machine's cache. Raises PlatformError("data", ...) where the storage has not got them."""
    for digest in _digests(data):
        if own.cached(digest).is_file():
            continue
        try:
            with default_storage.open(_name(digest), "rb") as images:
                own.take(digest, images)
        except OSError as error:
            help = "Publish the pack again: manage.py publish_packs."
            raise PlatformError(
                "data", f"the organiser's images cannot be read: {error}.", where=_name(digest), help=help
            ) from error


def _digests(data: DataSpec) -> list[str]:
    return [digest for digest in (data.digest, data.train_digest) if digest]


def _name(digest: str) -> str:
    return f"images/{digest}.npz"
