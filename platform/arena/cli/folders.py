"""A submission's folder, inspected as the site inspects its archive, before anything is computed or sent."""

from __future__ import annotations

from pathlib import Path

from arena.submissions.architectures import check_architecture
from arena.submissions.intake import ArchiveLimits, Inspection, inspect_folder
from evaluator.errors import InputError
from evaluator.manifests.spec import Challenge

_LIMITS = ArchiveLimits(archive_bytes=1 << 30)  # the site says how large its own may be


def inspected(folder: Path) -> Inspection:
    """Raises InputError with the words of the site's intake."""
    return inspect_folder(folder, limits=_LIMITS)


def inspected_defense(folder: Path, challenge: Challenge) -> None:
    """Raises InputError unless the folder is a defense that may enter the challenge."""
    inspection = inspected(folder)
    if inspection.kind != "defense":
        raise InputError("is an attack, not a defense.", where=str(folder), help="Play it with `redoubt submit`.")
    check_architecture(inspection, challenge)
