"""What the literature claims for each reference entry, what it is worth, and which flags must fire."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from evaluator.threats import Linf

FOLDER = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Golden:
    """One reference entry: on MNIST at Linf 0.3, or on CIFAR-10 at Linf 8/255.

    claimed: the share of images that naive PGD-100 on the cross-entropy leaves standing, as measured here (to 5 points).
    falls: its true robust accuracy is about 0 (False: ours does not get there, and the flags refuse the entry).
    flags: checks that must fire; vouched: nothing "unverified" may remain, because the entry declares what it does.
    """

    name: str
    claimed: float
    paper: str
    flags: tuple[str, ...]
    falls: bool = True
    vouched: bool = False
    dataset: Literal["mnist", "cifar10"] = "mnist"

    @property
    def threat(self) -> Linf:
        """What it claims to withstand."""
        return Linf(0.3 if self.dataset == "mnist" else 8 / 255)

    @property
    def folder(self) -> Path:
        """The submission."""
        return FOLDER / self.name


GOLDEN = (
    Golden("anti_adversary", 1.0, "Alfarra et al. 2022", ("zero-gradients",)),
    Golden("ape_gan", 1.0, "Jin et al. 2019", ("zero-gradients",)),
    Golden("cifar_jpeg", 0.7, "Guo et al. 2018", ("non-differentiable-operations",), vouched=True, dataset="cifar10"),
    Golden("cifar_k_bit", 0.75, "Xu et al. 2018", ("non-differentiable-operations",), vouched=True, dataset="cifar10"),
    Golden("cifar_resize_pad", 0.5, "Xie et al. 2018", ("randomness",), vouched=True, dataset="cifar10"),
    Golden("cifar_saturated_softmax", 0.8, "none: a cheat", ("softmax-output", "zero-gradients"), dataset="cifar10"),
    Golden("defense_gan", 0.9, "Samangouei et al. 2018", ("zero-gradients",)),
    Golden("detector", 0.55, "Xu et al. 2018", ("non-differentiable-operations",)),
    Golden("distillation", 0.45, "Papernot et al. 2016", ("zero-gradients",)),
    Golden("jpeg", 0.9, "Guo et al. 2018", ("gradient-accuracy",), vouched=True),
    Golden("k_bit", 1.0, "Xu et al. 2018", ("gradient-accuracy",), vouched=True),
    Golden("kwta", 0.0, "Xiao et al. 2020", ("non-differentiable-operations",)),
    Golden("lookup", 1.0, "none: a cheat", ("memorized-inputs", "zero-gradients"), falls=False),
    Golden("lying_backward", 1.0, "none: a cheat", ("gradient-accuracy",)),
    Golden("magnet", 1.0, "Meng and Chen 2017", ("zero-gradients",)),
    Golden("mean_sparse", 0.0, "Amini et al. 2024", ("non-differentiable-operations",)),
    Golden("noise_layers", 0.45, "Liu et al. 2018", ("randomness",), vouched=True),
    Golden("pixel_defend", 1.0, "Song et al. 2018", ("zero-gradients",)),
    Golden("resize_pad", 0.55, "Xie et al. 2018", ("randomness",), vouched=True),
    Golden("saturated_softmax", 1.0, "none: a cheat", ("softmax-output", "zero-gradients")),
    Golden("squeezing_detector", 0.9, "Xu et al. 2018", ("non-differentiable-operations",), vouched=True),
    Golden("stateful", 1.0, "none: a cheat", ("state", "zero-gradients"), falls=False),
    Golden("stochastic_pruning", 0.75, "Dhillon et al. 2018", ("randomness",), vouched=True),
    Golden("thermometer", 0.85, "Buckman et al. 2018", ("gradient-accuracy",), vouched=True),
)
