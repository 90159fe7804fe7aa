"""`redoubt doctor`: what this machine can do, what is missing, and what to do about it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from sandbox.base import Capabilities


@dataclass(frozen=True)
class Health:
    """One line of the report. good: False is a thing to mend, None is optional."""

    what: str
    state: str
    good: bool | None
    advice: str = ""


def doctor() -> None:
    """Tell what this machine can do and what is missing; exits 1 when untrusted code could not be run safely."""
    import typer

    out = Console()
    table = Table(title="redoubt doctor", title_justify="left")
    for name in ("", "what", "state", "what to do"):
        table.add_column(name)
    parts = [*_runtime(), *_data(), *_tools(), *_workers()]
    capabilities = _sandboxes()
    parts += [part for backend in capabilities for part in _promises(backend)]
    for part in parts:
        mark = {True: "[green]✓[/]", False: "[red]✗[/]", None: "[dim]–[/]"}[part.good]
        table.add_row(mark, part.what, part.state, part.advice)
    out.print(table)
    if not any(backend.available and not backend.missing(("network", "filesystem")) for backend in capabilities):
        out.print("No sandbox here isolates files and network: only weights-only (safetensors) entries can be evaluated.")
        raise typer.Exit(1)


def _runtime() -> list[Health]:
    import torch

    cuda = torch.cuda.is_available()
    state = torch.cuda.get_device_name(0) if cuda else "none; evaluations run on the CPU"
    return [
        Health("Python", platform.python_version(), platform.python_version_tuple()[:2] in {("3", "11"), ("3", "12")}),
        Health("PyTorch", importlib.metadata.version("torch"), True),
        _torchvision(),
        Health("processors", str(os.cpu_count()), True),
        Health("CUDA device", state, True if cuda else None),
    ]


def _torchvision() -> Health:
    """Imported, as submitted code may: its wheel and torch's can be of builds that do not fit."""
    from evaluator.torchvision_compat import let_torchvision_be_imported

    let_torchvision_be_imported()
    try:
        import torchvision
    except Exception as error:  # whatever a wheel of another build raises
        return Health("torchvision", f"cannot be imported: {error}", False, "install the build that goes with this PyTorch")
    return Health("torchvision", torchvision.__version__, True)


def _data() -> list[Health]:
    from evaluator.data.fetching import RECIPES, cache_folder

    parts = []
    for name, recipe in RECIPES.items():
        here = all((cache_folder() / name / file.name).is_file() for file in recipe.files)
        state, advice = ("in the cache", "") if here else ("not fetched yet", f"fetched on first use, or set {recipe.setting}")
        parts.append(Health(recipe.title, state, True if here else None, advice))
    return parts


def _tools() -> list[Health]:
    wanted = {"npm": "lets data sets come from the npm registry", "chromium": "lets `make test` run the browser tests"}
    return [
        Health(name, shutil.which(name) or "absent", True if shutil.which(name) else None, why) for name, why in wanted.items()
    ]


def _workers() -> list[Health]:
    """The machines of the installation here, if there is one, that take no work."""
    from arena.cli.held_back import held_back

    try:
        machines = held_back()
    except Exception as error:  # each database has errors of its own
        return [Health("workers", f"the database does not answer: {error}", False, "see deploy/README.md")]
    if machines is None:
        return []
    advice = "each comes back by itself once its self-check passes"
    return [Health("workers", each, False, advice) for each in machines] or [Health("workers", "none is held back", True)]


def _sandboxes() -> list[Capabilities]:
    from sandbox.choose import BACKENDS

    return [make().capabilities() for make in BACKENDS.values()]


def _promises(backend: Capabilities) -> list[Health]:
    title = f"sandbox {backend.backend}"
    if not backend.available:
        return [Health(title, "not usable", None, " ".join(backend.notes))]
    kept = ", ".join(f"{name}: {how}" for name, how in backend.promises.items())
    return [Health(title, kept, not backend.missing(("network", "filesystem")), " ".join(backend.notes))]
