"""The error taxonomy: every error a person can meet says what happened, where, and what to do about it.

Torch-free. `SubmissionError` is the team's to mend and is never retried; `PlatformError` is ours, is retried, and never
costs a team an attempt; `InputError` is a wrong argument, file or manifest, found before any compute.
"""

from __future__ import annotations


def visible(text: str) -> str:
    """The text with every character replaced that a terminal would obey or nobody could see; lines and tabs stay."""
    return "".join(letter if letter.isprintable() or letter in "\n\t" else "\N{REPLACEMENT CHARACTER}" for letter in text)


class RedoubtError(Exception):
    """Base of every error that is shown to a person.

    what: one sentence; it may quote what a stranger said, of which only what is visible is kept. where: file, field or step
    ("" when obvious). help: what to do, one sentence.
    """

    def __init__(self, what: str, *, where: str = "", help: str = "") -> None:
        self.what, self.where, self.help = visible(what), visible(where), help
        super().__init__(self.what, self.where, help)

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        advice = f" {self.help}" if self.help else ""
        return f"{place}{self.what}{advice}"


class InputError(RedoubtError):
    """A wrong argument, file, manifest or setting; nothing was computed and nothing was lost."""


class Cancelled(RedoubtError):
    """The evaluation was cancelled by a person; it leaves no verdict."""


class SubmissionError(RedoubtError):
    """The submission broke the contract; `reason` is a stable code (see `evaluator.records.report.SubmissionReason`)."""

    def __init__(self, reason: str, what: str, *, where: str = "", help: str = "") -> None:
        super().__init__(what, where=where, help=help)
        self.reason = reason


class PlatformError(RedoubtError):
    """The platform failed (sandbox would not start, data missing, ...); retried, never counted against a team."""

    def __init__(self, reason: str, what: str, *, where: str = "", help: str = "") -> None:
        super().__init__(what, where=where, help=help)
        self.reason = reason
