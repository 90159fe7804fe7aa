"""Unpacking stored submissions."""

from __future__ import annotations

from pathlib import Path

from arena.submissions.intake import sha256, unpack
from arena.submissions.models import Submission
from evaluator.errors import InputError, PlatformError, SubmissionError
from evaluator.records.report import SubmissionReason


def unpack_submission(submission: Submission, folder: Path) -> None:
    """Writes a stored submission's files to the empty `folder`.

    Raises PlatformError for a damaged archive and SubmissionError for one that today's limits refuse.
    """
    with submission.archive.open("rb") as archive:
        if sha256(archive) != submission.digest:
            raise PlatformError("storage", "The stored archive is not the one that was submitted.")
        try:
            unpack(archive, folder)
        except InputError as error:  # accepted under older, wider limits
            raise SubmissionError(SubmissionReason.MANIFEST, str(error)) from error
