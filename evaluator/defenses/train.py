"""`python -m evaluator.defenses.train NAME --out DIR`: trains a baseline and leaves a submission folder that can be entered.

Writes weights.safetensors, defense.toml and TRAINING.md (command, machine, time and the figures it measured).
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import platform
import shlex
import sys
import time
from pathlib import Path
from typing import Literal

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from safetensors.torch import save_file
from torch import Tensor, nn

from evaluator.attacks.base import Attack
from evaluator.attacks.fgsm import FGSM
from evaluator.attacks.pgd import PGD
from evaluator.data import load
from evaluator.defenses.architectures import build, load_weights
from evaluator.defenses.recipes import BASELINES, RECIPES, Recipe, find_recipe
from evaluator.defenses.training.fit import Step, fit
from evaluator.errors import InputError, RedoubtError
from evaluator.manifests.spec import DefenseManifest, load_manifest

_BATCH = 500
_LOSSES: tuple[Literal["ce", "margin"], ...] = ("ce", "margin")


def main() -> int:
    """Returns the exit status: 0, or 1 after an error that is printed."""
    parser = argparse.ArgumentParser(prog="python -m evaluator.defenses.train", description="Trains a shipped baseline.")
    parser.add_argument("name", metavar="NAME", help=f"one of {', '.join(RECIPES)}")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the trained submission")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, help="instead of the recipe's own number")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ... (default: auto)")
    arguments = parser.parse_args()
    console = Console(stderr=True)
    try:
        recipe = find_recipe(arguments.name)
        if arguments.epochs is not None:
            if arguments.epochs < 1:
                raise InputError(f"must be at least 1, got {arguments.epochs}.", where="--epochs")
            recipe = dataclasses.replace(recipe, settings=dataclasses.replace(recipe.settings, epochs=arguments.epochs))
        device = choose_device(arguments.device)
        started = time.monotonic()
        network = train(recipe, seed=arguments.seed, device=device, console=console)
        seconds = time.monotonic() - started
        figures = measure(network, recipe, seed=arguments.seed, console=console)
    except RedoubtError as error:
        console.print(f"error: {error}", style="red", markup=False, highlight=False)
        return 1
    command = shlex.join(["python", "-m", "evaluator.defenses.train", *sys.argv[1:]])
    write(arguments.out, arguments.name, recipe, network, command=command, seconds=seconds, figures=figures)
    print(f"{arguments.out}: {'; '.join(figures)}")
    return 0


def choose_device(name: str) -> torch.device:
    """`auto` is a CUDA device when there is one. Raises InputError for a device this machine has not got."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f'"{name}" cannot be used here: {error}.', where="--device", help="Use auto or cpu.") from error
    return device


def train(recipe: Recipe, *, seed: int, device: torch.device, console: Console) -> nn.Module:
    """The trained network, in eval mode. Weights are initialised from `seed` without touching torch's global generator."""
    data = load(recipe.dataset, "train")
    network = initialised(recipe, seed=seed).to(device)
    with _bar(console) as progress:
        task = progress.add_task("training", total=None)

        def show(step: Step) -> None:
            text = f"epoch {step.epoch}/{recipe.settings.epochs}  loss {step.loss:.3f}  accuracy {100 * step.accuracy:5.1f} %"
            progress.update(task, description=text, completed=step.number, total=step.total)
            if step.number * recipe.settings.epochs % step.total == 0:
                progress.console.print(text, highlight=False)

        fit(network, data.images, data.labels, recipe.method, recipe.settings, seed=seed, on_step=show)
    return network


def initialised(recipe: Recipe, *, seed: int) -> nn.Module:
    """The recipe's network before training; a frozen classifier inside has its baseline's weights already."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build(recipe.architecture)
    if recipe.classifier is not None:
        folder = BASELINES / recipe.classifier
        manifest = load_manifest(folder / "defense.toml", DefenseManifest)
        weights = load_weights(str(manifest.architecture), folder / str(manifest.weights)).state_dict()
        network.load_state_dict({f"classifier.{name}": value for name, value in weights.items()}, strict=False)
    return network


def measure(network: nn.Module, recipe: Recipe, *, seed: int, console: Console) -> list[str]:
    """Figures as sentences: clean accuracy on the whole test split, robust accuracy on its first images.

    Robust accuracy is the share that survives FGSM; and the share that survives both PGD on the cross-entropy and PGD on the
    margin loss, as strong as the recipe says.
    """
    data = load(recipe.dataset, "test")
    device = next(network.parameters()).device
    network.requires_grad_(False)
    x, y = (data.images.to(torch.float32) / 255).to(device), data.labels.to(device)
    clean = torch.cat([network(part).argmax(dim=1) for part in x.split(_BATCH)]) == y
    x, y = x[: recipe.measured], y[: recipe.measured]
    step_size = 10 * recipe.threat.epsilon / (3 * recipe.steps)
    weak: list[Attack] = [FGSM()]
    strong: list[Attack] = [PGD(recipe.steps, step_size, recipe.restarts, loss) for loss in _LOSSES]
    with _bar(console) as progress:
        task = progress.add_task("measuring", total=3 * len(x))
        fgsm, pgd = (_survivors(network, x, y, attacks, recipe, seed, progress, task) for attacks in (weak, strong))
    threat = f"{recipe.threat.kind} {recipe.threat.epsilon:.4g}"
    judge = f"PGD-{recipe.steps} with {recipe.restarts} restarts, cross-entropy and margin"
    return [
        f"clean accuracy {100 * clean.float().mean():.2f} % on {len(clean)} test images",
        f"{threat}, FGSM: {100 * fgsm:.1f} % on the first {len(x)}",
        f"{threat}, {judge}: {100 * pgd:.1f} % on the first {len(x)}",
    ]


def _survivors(
    network: nn.Module, x: Tensor, y: Tensor, attacks: list[Attack], recipe: Recipe, seed: int, progress: Progress, task: object
) -> float:
    """The share of x that is classified correctly under every one of the attacks."""
    standing = torch.ones(len(x), dtype=torch.bool, device=x.device)
    for attack in attacks:
        for ids in torch.arange(len(x), device=x.device).split(_BATCH):
            points = attack(network, x[ids], y[ids], recipe.threat, seed=seed, ids=ids)
            standing[ids] &= network(recipe.threat.apply(x[ids], points)).argmax(dim=1) == y[ids]
            progress.advance(task, len(ids))  # type: ignore[arg-type]
    return float(standing.float().mean())


def write(
    out: Path, name: str, recipe: Recipe, network: nn.Module, *, command: str, seconds: float, figures: list[str]
) -> None:
    """Writes the submission folder."""
    out.mkdir(parents=True, exist_ok=True)
    save_file(
        {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}, out / "weights.safetensors"
    )
    (out / "defense.toml").write_text(
        f'name = "{recipe.title}"\nformat = "safetensors"\narchitecture = "{recipe.architecture}"\n'
        'weights = "weights.safetensors"\n' + _certificate(recipe)
    )
    device = next(network.parameters()).device
    machine = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{platform.machine()} CPU"
    threads = f", {torch.get_num_threads()} thread(s)" if device.type == "cpu" else ""
    lines = [
        f"# {name}",
        "",
        f"Trained with `{command}`",
        f"in {seconds / 60:.1f} minutes on {machine}{threads}, torch {torch.__version__}, Python {platform.python_version()}.",
        "",
        f"- method: `{recipe.method}`",
        f"- settings: `{recipe.settings}`",
        *(f"- {figure}" for figure in figures),
    ]
    (out / "TRAINING.md").write_text("\n".join(lines) + "\n")


def _certificate(recipe: Recipe) -> str:
    """The [certificate] table of defense.toml; nothing for a recipe that asks for none."""
    if recipe.certificate is None:
        return ""
    given = {"method": recipe.certificate.method, **recipe.certificate.parameters()}
    return "\n[certificate]\n" + "".join(f"{name} = {json.dumps(value)}\n" for name, value in given.items())


def _bar(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console)


if __name__ == "__main__":
    sys.exit(main())
