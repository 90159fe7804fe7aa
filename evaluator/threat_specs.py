"""A challenge's `[threat]` table, validated: one class a kind. Torch-free: the web reads this."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from evaluator.strict import Strict


class LinfSpec(Strict):
    """Linf ball of radius `epsilon` (in [0, 1] pixel units) intersected with the [0, 1] box."""

    kind: Literal["linf"]
    epsilon: float = Field(gt=0, le=1)


class L2Spec(Strict):
    """L2 ball of radius `epsilon` (Euclidean norm over all pixels, [0, 1] units) intersected with the [0, 1] box."""

    kind: Literal["l2"]
    epsilon: float = Field(gt=0, le=1000)


class L1Spec(Strict):
    """L1 ball of radius `epsilon` (sum of absolute changes, [0, 1] units) intersected with the [0, 1] box."""

    kind: Literal["l1"]
    epsilon: float = Field(gt=0, le=1_000_000)


class L0Spec(Strict):
    """At most `epsilon` pixels change, each by anything; a pixel is all channels of one position."""

    kind: Literal["l0"]
    epsilon: int = Field(gt=0, le=1_000_000, strict=True)


BallSpec = Annotated[LinfSpec | L2Spec | L1Spec | L0Spec, Field(discriminator="kind")]


class UnionSpec(Strict):
    """Any one of `members`, the adversary's choice for each example."""

    kind: Literal["union"]
    members: tuple[BallSpec, ...] = Field(min_length=2, max_length=8)


ThreatSpec = Annotated[LinfSpec | L2Spec | L1Spec | L0Spec | UnionSpec, Field(discriminator="kind")]
