"""How large an archive may be, packed and unpacked."""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings

MIB = 1024 * 1024


@dataclass(frozen=True)
class ArchiveLimits:
    """Ceilings of one archive.

    ratio: unpacked over packed size, looked at only above `ratio_from` unpacked bytes (deflate reaches 1032).
    path_bytes: of a whole path in UTF-8; depth: folders above a file.
    """

    archive_bytes: int
    unpacked_bytes: int = 1024 * MIB
    members: int = 2000
    ratio: int = 100
    ratio_from: int = 64 * MIB
    path_bytes: int = 255
    depth: int = 12
    directory_bytes: int = 2 * MIB  # a zip's central directory, read into memory whole

    @property
    def listed(self) -> int:
        """How many members an archive may list, those included that are left out (a version control's, a cache's)."""
        return 10 * self.members

    @classmethod
    def from_settings(cls) -> ArchiveLimits:
        return cls(archive_bytes=settings.REDOUBT_UPLOAD_BYTES)
