"""Where a challenge stands in its phases: pure functions of the clock, and what is refused because of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.core.exceptions import PermissionDenied

from evaluator.errors import InputError
from evaluator.manifests.phase_specs import PhaseSpec


@dataclass(frozen=True)
class Season:
    """What the clock says. phased: whether there are phases at all; now: the open one; next: the one after; last: the one that
    closed last.
    """

    phased: bool
    now: PhaseSpec | None
    next: PhaseSpec | None
    last: PhaseSpec | None

    @property
    def open(self) -> bool:
        """Whether entries are taken: always where there are no phases."""
        return not self.phased or self.now is not None

    @property
    def sealed_until(self) -> datetime | None:
        """When verdicts of single examples may be read; None for now: no phase is open."""
        return None if self.now is None else self.now.closes


def season(phases: Sequence[PhaseSpec], at: datetime) -> Season:
    """Where a challenge with these phases (in order of time) stands; each is open from `opens` on and before `closes`."""
    return Season(
        phased=bool(phases),
        now=next((phase for phase in phases if phase.opens <= at < phase.closes), None),
        next=next((phase for phase in phases if at < phase.opens), None),
        last=next((phase for phase in reversed(phases) if phase.closes <= at), None),
    )


def check_open(stands: Season) -> None:
    """Raises InputError, saying when the next phase opens, where entries are not taken."""
    if stands.open:
        return
    if stands.next is not None:
        what = f'Entries are not taken now: "{stands.next.name}" opens on {moment(stands.next.opens)}.'
        raise InputError(what, where="challenge", help="Enter it then; the official evaluation runs on your machine any time.")
    assert stands.last is not None
    what = f'Entries are no longer taken: "{stands.last.name}", the last phase, closed on {moment(stands.last.closes)}.'
    raise InputError(what, where="challenge", help="The board stays as it is; the official evaluation runs on your machine.")


def check_unsealed(stands: Season) -> None:
    """Raises PermissionDenied, saying until when, while a phase is open."""
    if stands.now is not None:
        raise PermissionDenied(
            f'Verdicts of single examples are sealed while a phase is open: "{stands.now.name}" closes on '
            f"{moment(stands.now.closes)}."
        )


def moment(at: datetime) -> str:
    """A time as people read it."""
    return f"{at:%Y-%m-%d %H:%M} UTC"
