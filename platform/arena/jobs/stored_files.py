"""Which models store files: each app says so when Django starts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.core.files.storage import Storage
from django.db.models import FileField, Model, QuerySet


@dataclass(frozen=True)
class Stored:
    """A model whose `field` names files, which its `upload_to` puts below `folder` of the storage."""

    model: type[Model]
    field: str
    folder: str

    @property
    def storage(self) -> Storage:
        field = self.model._meta.get_field(self.field)
        assert isinstance(field, FileField)
        return field.storage

    def names(self) -> QuerySet[Any, str]:
        """The names of all files, the newest first."""
        named = self.model._default_manager.exclude(**{self.field: ""})
        return named.order_by("-pk").values_list(self.field, flat=True)


_stored: dict[str, Stored] = {}


def register(kind: Stored) -> None:
    """Has the sweep look after these files, and workers check that they can be read."""
    _stored[kind.folder] = kind


def stored() -> list[Stored]:
    """All kinds of stored files."""
    return list(_stored.values())
