"""The season's defenses: shipped baselines, networks trained in seconds, and baselines that were changed afterwards."""

from __future__ import annotations

import copy
import io
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from arena.submissions.baselines import BASELINES
from arena.submissions.packing import pack_folder
from evaluator.data import load
from evaluator.defenses.architectures import build, load_weights
from evaluator.defenses.training.fgsm_training import FGSMTraining
from evaluator.defenses.training.fit import Settings, fit
from evaluator.defenses.training.method import Method
from evaluator.defenses.training.noise_training import NoiseTraining
from evaluator.defenses.training.pgd_training import PGDTraining
from evaluator.defenses.training.standard import StandardTraining
from evaluator.threats import Linf

EPSILON = 0.2
CNN, CNN_A, SMALL = "mnist-cnn", "mnist-cnn-a", "trades-smallcnn"


@dataclass(frozen=True)
class DemoDefense:
    """name, team: as shown. make: the network, in seconds. architecture: of it. certificate: a [certificate] table or none."""

    name: str
    team: str
    make: Callable[[], nn.Module]
    architecture: str = CNN
    certificate: str = ""

    def archive(self) -> bytes:
        """The folder that a team would hand in, packed."""
        manifest = f'name = "{self.name}"\nformat = "safetensors"\narchitecture = "{self.architecture}"\n'
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            (folder / "defense.toml").write_text(f'{manifest}weights = "weights.safetensors"\n{self.certificate}')
            weights = {name: value.detach().contiguous() for name, value in self.make().state_dict().items()}
            save_file(weights, folder / "weights.safetensors")
            return pack_folder(folder)


def _baseline(name: str, architecture: str = CNN) -> nn.Module:
    return load_weights(architecture, BASELINES / name / "weights.safetensors")


@cache
def _mnist() -> tuple[torch.Tensor, torch.Tensor]:
    data = load("mnist", "train")
    return data.images, data.labels


def _train(network: nn.Module, method: Method, *, images: int, rate: float = 0.002) -> nn.Module:
    x, y = _mnist()
    settings = Settings(epochs=2, batch_size=64, learning_rate=rate, budget_warmup=0.3)
    fit(network, x[:images], y[:images], method, settings, seed=images)
    return network


def _trained(method: Method, *, images: int, architecture: str = CNN) -> nn.Module:
    torch.manual_seed(images)
    return _train(build(architecture), method, images=images)


def _tuned(baseline: str, method: Method, *, images: int) -> nn.Module:
    """A baseline that was trained on for a moment."""
    return _train(_baseline(baseline), method, images=images, rate=0.0005)


def _changed(baseline: str, change: Callable[[torch.Tensor], torch.Tensor]) -> nn.Module:
    """A baseline with every weight tensor changed; biases and the like stay."""
    network = copy.deepcopy(_baseline(baseline))
    with torch.no_grad():
        for value in network.parameters():
            if value.ndim > 1:
                value.copy_(change(value))
    return network


def _rounded(bits: int) -> Callable[[torch.Tensor], torch.Tensor]:
    def change(value: torch.Tensor) -> torch.Tensor:
        step = float(value.abs().max()) / (2 ** (bits - 1) - 1)
        rounded: torch.Tensor = (value / step).round() * step
        return rounded

    return change


def _pruned(share: float) -> Callable[[torch.Tensor], torch.Tensor]:
    def change(value: torch.Tensor) -> torch.Tensor:
        return value * (value.abs() > value.abs().flatten().quantile(share))

    return change


def _noisy(scale: float) -> Callable[[torch.Tensor], torch.Tensor]:
    draw = torch.Generator().manual_seed(7)
    return lambda value: value + scale * value.std() * torch.randn(value.shape, generator=draw)


def _pgd(epsilon: float, steps: int) -> PGDTraining:
    return PGDTraining(Linf(epsilon), steps, 2.5 * epsilon / steps)


ALPINE, PRAGUE, NIGHT, HARBOUR, KELP = "Alpine Robust", "Prague Verify", "Night Shift", "Harbour Lab", "Kelp Forest"
DEFENSES = (
    DemoDefense("Standard CNN", HARBOUR, lambda: _baseline("mnist-standard")),
    DemoDefense("FGSM-trained", KELP, lambda: _baseline("mnist-fgsm")),
    DemoDefense("PGD-trained, L∞ 0.3", ALPINE, lambda: _baseline("mnist-pgd")),
    DemoDefense("IBP, CNN-A", PRAGUE, lambda: _baseline("mnist-ibp", CNN_A), CNN_A, '[certificate]\nmethod = "ibp"\n'),
    DemoDefense("PGD-trained, L2 2.0", ALPINE, lambda: _baseline("mnist-pgd-l2")),
    DemoDefense("Noise 0.5", NIGHT, lambda: _baseline("mnist-smooth")),
    DemoDefense("Two minutes of sleep", NIGHT, lambda: _trained(StandardTraining(), images=6000)),
    DemoDefense("FGSM 0.1, 6k images", KELP, lambda: _trained(FGSMTraining(Linf(0.1)), images=6000)),
    DemoDefense("PGD-5 0.2, 3k images", HARBOUR, lambda: _trained(_pgd(0.2, 5), images=3000)),
    DemoDefense("PGD in 4 bits", KELP, lambda: _changed("mnist-pgd", _rounded(4))),
    DemoDefense("PGD, 80 % pruned", NIGHT, lambda: _changed("mnist-pgd", _pruned(0.8))),
    DemoDefense("Noise 0.25, 6k images", NIGHT, lambda: _trained(NoiseTraining(0.25), images=6000)),
    DemoDefense("Standard, then PGD-3", HARBOUR, lambda: _tuned("mnist-standard", _pgd(0.2, 3), images=2500)),
    DemoDefense("PGD, then forgetting", KELP, lambda: _tuned("mnist-pgd", StandardTraining(), images=4000)),
    DemoDefense("SmallCNN, PGD-3", ALPINE, lambda: _trained(_pgd(0.2, 3), images=2000, architecture=SMALL), SMALL),
    DemoDefense("FGSM in 3 bits", KELP, lambda: _changed("mnist-fgsm", _rounded(3))),
    DemoDefense("L2, then PGD-5", ALPINE, lambda: _tuned("mnist-pgd-l2", _pgd(0.2, 5), images=2000)),
    DemoDefense("PGD with a tremor", NIGHT, lambda: _changed("mnist-pgd", _noisy(0.25))),
    DemoDefense("FGSM 0.3, then PGD-5", HARBOUR, lambda: _tuned("mnist-fgsm", _pgd(0.25, 5), images=2000)),
    DemoDefense("Noise, then PGD-5", PRAGUE, lambda: _tuned("mnist-smooth", _pgd(0.25, 5), images=2000)),
)  # fmt: skip


def network_of(archive: bytes, architecture: str) -> nn.Module:
    """The network of a packed folder, for attacks that are prepared on it."""
    with tempfile.TemporaryDirectory() as temporary, zipfile.ZipFile(io.BytesIO(archive)) as bundle:
        return load_weights(architecture, Path(bundle.extract("weights.safetensors", temporary))).eval()
