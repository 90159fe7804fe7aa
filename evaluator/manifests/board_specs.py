"""What a challenge says about its board: by what it ranks, who is entered by itself, which published figures are beside it.

Torch-free: the web reads this.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from evaluator.manifests.strict import Real, Strict


class PublishedRow(Strict):
    """A figure published elsewhere, shown apart and labelled "published, not measured here". `accuracy` is in percent."""

    attack: str
    by: str = ""
    accuracy: Real = Field(ge=0, le=100)
    date: str = ""
    source: str = ""


class PublishedSpec(Strict):
    """Published figures of one model under this threat."""

    title: str
    url: str = ""
    rows: tuple[PublishedRow, ...] = ()


class RankingSpec(Strict):
    """What a board ranks by: "robust", the worst case under the threat, or "mce", the mean corruption error."""

    by: Literal["robust", "mce"] = "robust"


class BaselinesSpec(Strict):
    """Which of the shipped defenses the site enters by itself, in this order; one that cannot enter is skipped, and named."""

    enter: tuple[Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=60)], ...] = Field(
        default=(), max_length=32
    )
