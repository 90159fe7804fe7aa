"""Loads a submission's folder into an nn.Module. A Python submission's code runs here: call it in the sandbox only."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from evaluator.errors import InputError, SubmissionError
from evaluator.host.failure_text import failure_text
from evaluator.host.importing import imported
from evaluator.host.placing import folded
from evaluator.manifests.spec import DefenseManifest, load_manifest
from evaluator.records.report import SubmissionReason
from evaluator.torchvision_compat import let_torchvision_be_imported

MANIFEST = "defense.toml"


def read_manifest(folder: Path) -> DefenseManifest:
    """The folder's defense.toml. Raises SubmissionError(manifest)."""
    try:
        return load_manifest(folder / MANIFEST, DefenseManifest)
    except InputError as error:
        raise SubmissionError(SubmissionReason.MANIFEST, error.what, where=error.where, help=error.help) from error


def load_weights_only(folder: Path, manifest: DefenseManifest) -> nn.Module:
    """A named architecture with the folder's safetensors weights, frozen, batch norms folded. Executes nothing submitted.

    Raises SubmissionError(load) for an unknown architecture or weights that do not fit.
    """
    from evaluator.defenses.architectures import load_weights

    if manifest.architecture is None or manifest.weights is None:
        raise SubmissionError(SubmissionReason.MANIFEST, "names no architecture or no weights.", where=MANIFEST)
    try:
        return frozen(folded(load_weights(manifest.architecture, folder / manifest.weights)))
    except InputError as error:
        raise SubmissionError(SubmissionReason.LOAD, error.what, where=error.where, help=error.help) from error


def load_python(folder: Path, manifest: DefenseManifest) -> nn.Module:
    """Runs the submission's `load(directory)`. Raises SubmissionError(load), which tells what was raised and where."""
    entry = str(manifest.entry)
    try:
        model = load_function(folder, entry, "load(directory)", where=MANIFEST)(folder)
    except SubmissionError:
        raise
    except BaseException as error:
        raise SubmissionError(SubmissionReason.LOAD, f"loading failed: {failure_text(error, folder)}", where=entry) from error
    if not isinstance(model, nn.Module):
        what = f"load(directory) returned a {type(model).__name__}; it must return a torch.nn.Module."
        raise SubmissionError(SubmissionReason.LOAD, what, where=entry)
    plain = Scripted(model) if isinstance(model, torch.jit.ScriptModule) else model
    return frozen(plain)


def load_function(folder: Path, entry: str, signature: str, *, where: str) -> Callable[..., Any]:
    """Runs the submission's file `entry` and returns the function it defines by the name in `signature`.

    where: the manifest, for messages. Raises SubmissionError(load) which tells what the file raised and where.
    """
    if not (folder / entry).is_file():
        raise SubmissionError(SubmissionReason.LOAD, f"{entry} is not in the submission.", where=where)
    let_torchvision_be_imported()
    try:
        function = getattr(imported(folder, entry), signature.partition("(")[0], None)
        if not callable(function):
            raise AttributeError(f"it defines no {signature}")
    except BaseException as error:
        raise SubmissionError(SubmissionReason.LOAD, f"loading failed: {failure_text(error, folder)}", where=entry) from error
    return function  # type: ignore[no-any-return]  # callable() has just said so


def load_submission(folder: Path) -> nn.Module:
    """Loads any format. Raises SubmissionError."""
    manifest = read_manifest(folder)
    match manifest.format:
        case "safetensors":
            return load_weights_only(folder, manifest)
        case "python":
            return load_python(folder, manifest)
        case "onnx":
            what = "ONNX submissions are not run by this version."
            help = 'Submit the weights as format = "safetensors" or wrap the model as format = "python".'
            raise SubmissionError(SubmissionReason.UNSUPPORTED, what, where=MANIFEST, help=help)


class Scripted(nn.Module):
    """A TorchScript module as an ordinary one: it takes no hooks of its own."""

    def __init__(self, model: torch.jit.ScriptModule) -> None:
        super().__init__()
        self.scripted = model

    def forward(self, x: Tensor) -> object:
        return self.scripted(x)


def frozen(model: nn.Module) -> nn.Module:
    """Eval mode, parameters without gradients: only inputs are differentiated."""
    for parameter in model.parameters():  # TorchScript has no requires_grad_ of its own
        parameter.requires_grad_(False)
    return model.eval()
