"""The checks on an uploaded archive, all made before anything is unpacked."""

from __future__ import annotations

from arena.submissions.intake.archives import sha256
from arena.submissions.intake.inspection import Inspection, inspect, inspect_folder
from arena.submissions.intake.limits import ArchiveLimits
from arena.submissions.intake.unpacking import unpack

__all__ = ["ArchiveLimits", "Inspection", "inspect", "inspect_folder", "sha256", "unpack"]
