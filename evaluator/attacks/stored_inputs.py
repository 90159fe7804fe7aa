"""Transfer of stored adversarial inputs: what broke another entry is projected into the threat and played again."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from evaluator.attacks.base import Attack, Batch, Model
from evaluator.attacks.registry import register
from evaluator.errors import InputError
from evaluator.threats.base import Threat


@register(
    "stored_inputs",
    title="Stored inputs",
    access="none",
    threats=("linf", "l2", "l1", "l0"),
    paper="Szegedy et al. 2014, sec. 4.2",
)
@dataclass(frozen=True, eq=False)
class StoredInputs(Attack):
    """Answers each example with the adversarial input stored for the same image, without one question to the model.

    originals: (N, *shape) float32 clean images; adversarial: (N, *shape) float32, what is stored for each. Examples are
    recognised by the bits of their image, so that shards and orders do not matter; one that is not stored stays clean. Of an
    image stored twice the first counts: several stored arrays are several attacks. Inputs are projected into the threat
    (nothing is left of a bigger perturbation but its nearest point). Raises InputError when the arrays do not fit.
    """

    originals: Tensor = field(default_factory=lambda: torch.empty(0), repr=False)
    adversarial: Tensor = field(default_factory=lambda: torch.empty(0), repr=False)

    def __post_init__(self) -> None:
        if self.originals.shape != self.adversarial.shape:
            what = (
                f"stored originals {tuple(self.originals.shape)} and adversarial inputs {tuple(self.adversarial.shape)} differ."
            )
            raise InputError(what, help="Store one adversarial input per original.")
        if not bool(torch.isfinite(self.adversarial).all()):
            raise InputError("a stored adversarial input is not finite.", help="Store images in [0, 1].")

    @staticmethod
    def load(path: Path) -> StoredInputs:
        """Reads the arrays `x` and `x_adv` of an .npz file (never a pickle). Raises InputError when it has none."""
        try:
            with np.load(path, allow_pickle=False) as stored:
                originals, adversarial = (torch.from_numpy(stored[name].astype(np.float32)) for name in ("x", "x_adv"))
        except (OSError, KeyError, ValueError, EOFError) as error:
            what = f"holds no arrays x and x_adv: {error}."
            raise InputError(what, where=str(path), help="`redoubt attack --save` writes such a file.") from error
        return StoredInputs(originals, adversarial)

    def run(self, model: Model, batch: Batch, threat: Threat) -> Tensor:
        points = threat.start(batch.x)
        if not len(batch) or self.originals.shape[1:] != batch.x.shape[1:]:
            return points
        index: dict[bytes, int] = {}
        for number, image in enumerate(self.originals.cpu()):
            index.setdefault(_bits(image), number)
        known = [index.get(_bits(image), -1) for image in batch.x.cpu()]
        rows = torch.tensor([row for row, number in enumerate(known) if number >= 0], dtype=torch.int64)
        if not len(rows):
            return points
        stored = self.adversarial[[number for number in known if number >= 0]].to(points)
        rows = rows.to(points.device)
        points[rows] = threat.project(batch.x[rows], stored)
        return points


def _bits(image: Tensor) -> bytes:
    return bytes(image.contiguous().float().numpy().tobytes())
