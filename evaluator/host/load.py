"""Loads a submission's folder into an nn.Module. A Python submission's code runs here: call it in the sandbox only."""

from __future__ import annotations

import importlib.util
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from evaluator.errors import InputError, SubmissionError
from evaluator.host.placing import folded
from evaluator.rejection import with_score
from evaluator.report import SubmissionReason
from evaluator.spec import DefenseManifest, load_manifest
from evaluator.torchvision_compat import let_torchvision_be_imported

MANIFEST = "defense.toml"
_MODULE = "redoubt_submission"


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
    """Runs the submission's `load(directory)`. Raises SubmissionError(load) with the tail of its own traceback."""
    entry = str(manifest.entry)
    try:
        model = load_function(folder, entry, "load(directory)", where=MANIFEST)(folder)
    except SubmissionError:
        raise
    except BaseException as error:
        raise SubmissionError(SubmissionReason.LOAD, f"loading failed: {tail(error)}", where=entry) from error
    if not isinstance(model, nn.Module):
        what = f"load(directory) returned a {type(model).__name__}; it must return a torch.nn.Module."
        raise SubmissionError(SubmissionReason.LOAD, what, where=entry)
    return frozen(_answering_with_score(model) if manifest.detector else model)


def load_function(folder: Path, entry: str, signature: str, *, where: str) -> Callable[..., Any]:
    """Runs the submission's file `entry` and returns the function it defines by the name in `signature`.

    where: the manifest, for messages. Raises SubmissionError(load) with the tail of the file's own traceback.
    """
    path = folder / entry
    if not path.is_file():
        raise SubmissionError(SubmissionReason.LOAD, f"{entry} is not in the submission.", where=where)
    let_torchvision_be_imported()
    try:
        spec = importlib.util.spec_from_file_location(_MODULE, path)
        if spec is None or spec.loader is None:
            raise ImportError(f"{entry} is not a Python file")
        module = importlib.util.module_from_spec(spec)
        sys.modules[_MODULE] = module
        sys.path.insert(0, str(folder))
        spec.loader.exec_module(module)
        function = getattr(module, signature.partition("(")[0], None)
        if not callable(function):
            raise AttributeError(f"it defines no {signature}")
    except BaseException as error:
        raise SubmissionError(SubmissionReason.LOAD, f"loading failed: {tail(error)}", where=entry) from error
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


def _answering_with_score(model: nn.Module) -> nn.Module:
    """A hook, not a wrapper: the names of submodules stay those that a `bpda` file declares."""
    model.register_forward_hook(lambda part, inputs, answers: with_score(answers))
    return model


def frozen(model: nn.Module) -> nn.Module:
    """Eval mode, parameters without gradients: only inputs are differentiated."""
    return model.eval().requires_grad_(False)


def tail(error: BaseException, *, lines: int = 3, characters: int = 600) -> str:
    """The end of an exception's traceback as one bounded line, for the team that wrote the code."""
    text = traceback.format_exception(error)[-lines:]
    return " | ".join("".join(text).split("\n")).strip(" |")[-characters:]
