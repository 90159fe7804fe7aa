"""What happens to entries, for the apps above that judge them: submissions know nothing of verdicts.

Every signal is sent by `Submission`. Receivers are connected in the `ready` of their app; what one raises ends the service that
sent the signal.
"""

from __future__ import annotations

from typing import Any

from django.dispatch import Signal

from arena.submissions.models import Submission

# Before anything is stored, with challenge, kind and manifest: a receiver refuses the entry by raising InputError.
offered = Signal()
# With submission, in the transaction that stored it.
entered = Signal()
# With submission, in the transaction that took it off the board.
withdrawn = Signal()
# A question: a receiver answers with a queryset of keys of submissions that no quota counts.
uncounted = Signal()
# A question: a receiver answers with a queryset of keys of submissions that are judged already, or will be.
judged = Signal()


def answers(question: Signal) -> list[Any]:
    """What every receiver answers."""
    return [answer for _, answer in question.send(Submission)]
