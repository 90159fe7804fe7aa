"""When a challenge takes entries: its phases, one TOML table each, validated. Torch-free."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise

from pydantic import Field, field_validator, model_validator

from evaluator.manifests.strict import FieldError, Strict


class PhaseSpec(Strict):
    """A span of time, from `opens` up to `closes`, in which entries are taken and verdicts of single examples are sealed."""

    name: str = Field(min_length=1, max_length=40)
    opens: datetime
    closes: datetime

    @field_validator("opens", "closes")
    @classmethod
    def _in_utc(cls, value: datetime) -> datetime:
        if value.tzinfo is None:
            raise ValueError(f"must name its zone: write {value.isoformat()}Z for UTC")
        return value.astimezone(UTC)

    @model_validator(mode="after")
    def _forwards(self) -> PhaseSpec:
        if self.closes <= self.opens:
            raise FieldError(f'phase "{self.name}" closes before it opens', "closes")
        return self


def in_order(phases: tuple[PhaseSpec, ...]) -> tuple[PhaseSpec, ...]:
    """The same phases. Raises FieldError for two that overlap or are not in order of time."""
    for number, (first, second) in enumerate(pairwise(phases), start=1):
        if second.opens < first.closes:
            raise FieldError(f'phase "{second.name}" opens before "{first.name}" closes', number, "opens")
    return phases
