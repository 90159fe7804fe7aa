"""A challenge's `[goal]` table: what an adversary wants. Torch-free: the web reads this."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from evaluator.manifests.data_specs import DataSpec
from evaluator.manifests.kinds import Kinded, register
from evaluator.manifests.strict import FieldError
from evaluator.manifests.threat_base import ThreatSpec

EACH, LEAST_LIKELY, RANDOM = "each", "least-likely", "random"
DRAWN = (RANDOM, LEAST_LIKELY, EACH)  # targets that the evaluator chooses


class GoalSpec(Kinded):
    """Base of all kinds of goal; as the type of a field it stands for every one of them.

    about: what the kind wants, a line for the documentation. targeted: attacks get a class for each image.
    """

    registry: ClassVar[dict[str, type[Kinded]]] = {}
    about: ClassVar[str]
    targeted: ClassVar[bool] = False

    if TYPE_CHECKING:
        kind: str

    @property
    def words(self) -> str:
        """What counts as a success, in words for chips and tables."""
        raise NotImplementedError

    def misfits(self, data: DataSpec, threat: ThreatSpec) -> Iterator[FieldError]:
        """What this goal cannot have with these images or under this threat; nothing by default."""
        yield from ()


@register
class UntargetedSpec(GoalSpec):
    """Any wrong class."""

    about = "any class but the true one; what is misclassified without attack counts as broken"
    kind: Literal["untargeted"] = "untargeted"

    @property
    def words(self) -> str:
        return "any wrong class"


@register
class MinimalNormSpec(GoalSpec):
    """Any wrong class, as near as possible: attacks rank by the area under accuracy against epsilon, and by distance."""

    about = "any wrong class, as near to the image as possible; epsilon is the farthest that counts"
    kind: Literal["minimal-norm"]

    @property
    def words(self) -> str:
        return "the nearest wrong class"

    def misfits(self, data: DataSpec, threat: ThreatSpec) -> Iterator[FieldError]:
        if not threat.norm and threat.kind != "l0":
            yield FieldError(f'"minimal-norm" needs linf, l2, l1 or l0, not "{threat.kind}"', "goal", "kind")


@register
class TargetedSpec(GoalSpec):
    """One class t in particular: success is argmax = t, and nothing else.

    target: "random", "least-likely", "each", a class by number or name, or a column of the data.
    """

    about = "one class t of each image: success is argmax = t, and nothing else"
    targeted = True
    kind: Literal["targeted"]
    target: int | str

    @property
    def words(self) -> str:
        known = {
            RANDOM: "a target class drawn for each image",
            LEAST_LIKELY: "the class that the defense finds least likely",
            EACH: "every other class in turn, the worst case counts",
        }
        return f"targeted: {known.get(str(self.target), str(self.target))}"

    def misfits(self, data: DataSpec, threat: ThreatSpec) -> Iterator[FieldError]:
        if self.target in DRAWN or self.column(data) is not None or self.named(data) is not None:
            return
        columns = "".join(f', "{name}"' for name in data.columns)
        classes = ", ".join(f'"{name}"' for name in data.class_names)
        known = ", ".join(f'"{word}"' for word in DRAWN)
        what = f"must be {known}, a class from 0 to {len(data.class_names) - 1} ({classes}) or a column of the data{columns}"
        yield FieldError(f'{what}, not "{self.target}"', "goal", "target")

    def named(self, data: DataSpec) -> int | None:
        """The class that `target` names by number or name; None where it names none."""
        if isinstance(self.target, int):
            return self.target if 0 <= self.target < len(data.class_names) else None
        return data.class_names.index(self.target) if self.target in data.class_names else None

    def column(self, data: DataSpec) -> tuple[int, ...] | None:
        """The column of the data that `target` names: one class for each ranked image."""
        return data.columns.get(str(self.target)) if isinstance(self.target, str) else None


@register
class UniversalSpec(GoalSpec):
    """One perturbation for all: found on the `images` images of the split that follow those that rank, scored on these."""

    about = "any wrong class, by one perturbation that is added to every image; found on other images than those that rank"
    kind: Literal["universal"]
    images: int = Field(default=500, ge=1, le=10_000)

    @property
    def words(self) -> str:
        return f"universal: one perturbation, found on {self.images:,} other images"

    def misfits(self, data: DataSpec, threat: ThreatSpec) -> Iterator[FieldError]:
        if threat.kind not in ("linf", "l2"):
            yield FieldError(f'"universal" needs a threat of kind linf or l2, not "{threat.kind}"', "goal", "kind")
        room = self.images if data.size is None else data.size - data.examples
        if self.images > room:
            what = f"must be at most {room}, the images of the split that do not rank, not {self.images}"
            yield FieldError(what, "goal", "images")
