"""What the literature claims for each reference entry, what it is worth, and which flags must fire."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Golden:
    """One reference entry on MNIST at Linf 0.3.

    falls: its true robust accuracy is about 0 (False: ours does not get there, and the flags refuse the entry).
    flags: checks that must fire; vouched: nothing "unverified" may remain, because the entry declares what it does.
    """

    name: str
    paper: str
    flags: tuple[str, ...]
    falls: bool = True
    vouched: bool = False

    @property
    def folder(self) -> Path:
        """The submission."""
        return FOLDER / self.name


GOLDEN = (
    Golden("anti_adversary", "Alfarra et al. 2022", ("zero-gradients",)),
    Golden("ape_gan", "Jin et al. 2019", ("zero-gradients",)),
    Golden("defense_gan", "Samangouei et al. 2018", ("zero-gradients",)),
    Golden("detector", "Xu et al. 2018", ("non-differentiable-operations",)),
    Golden("distillation", "Papernot et al. 2016", ("zero-gradients",)),
    Golden("jpeg", "Guo et al. 2018", ("gradient-accuracy",), vouched=True),
    Golden("k_bit", "Xu et al. 2018", ("gradient-accuracy",), vouched=True),
    Golden("kwta", "Xiao et al. 2020", ("non-differentiable-operations",)),
    Golden("lookup", "none: a cheat", ("memorized-inputs", "zero-gradients"), falls=False),  # on the test set it does stand
    Golden("lying_backward", "none: a cheat", ("gradient-accuracy",)),
    Golden("magnet", "Meng and Chen 2017", ("zero-gradients",)),
    Golden("mean_sparse", "Amini et al. 2024", ("non-differentiable-operations",)),
    Golden("noise_layers", "Liu et al. 2018", ("randomness",), vouched=True),
    Golden("pixel_defend", "Song et al. 2018", ("zero-gradients",)),
    Golden("resize_pad", "Xie et al. 2018", ("randomness",), vouched=True),
    Golden("saturated_softmax", "none: a cheat", ("softmax-output", "zero-gradients")),
    Golden("stateful", "none: a cheat", ("state", "zero-gradients"), falls=False),
    Golden("stochastic_pruning", "Dhillon et al. 2018", ("randomness",), vouched=True),
    Golden("thermometer", "Buckman et al. 2018", ("gradient-accuracy",), vouched=True),
)
