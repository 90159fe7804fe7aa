"""Runs a submission's entry as a module of a package that is its folder, so that relative imports mean what they say."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import Any

_PACKAGE = "redoubt_submission"


def imported(folder: Path, entry: str) -> ModuleType:
    """The module that the file `entry` of `folder` is. `from .model import Net` and `from model import Net` both work in it.

    Raises whatever the file raises, ImportError for a file that is no Python.
    """
    path = folder / entry
    for place in (path.parent, folder):  # the folder first
        if str(place) not in sys.path:
            sys.path.insert(0, str(place))
    name, place = _PACKAGE, folder
    _package(name, place)
    for part in PurePosixPath(entry).parts[:-1]:
        name, place = f"{name}.{part}", place / part
        _package(name, place)
    module_name = f"{name}.{path.stem.replace('.', '_')}"
    spec = spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{entry} is not a Python file")
    module = module_from_spec(spec)
    sys.modules[module_name] = module
    spec.loader.exec_module(module)
    return module


def _package(name: str, folder: Path) -> None:
    """A package for the folder, as Python makes one of a folder without __init__.py.

    One that is there runs only when something is asked of it: an entry that needs nothing of it may lie beside any.
    """
    if name in sys.modules:
        return
    package = ModuleType(name)
    package.__path__ = [str(folder)]
    file = folder / "__init__.py"
    if file.is_file():
        package.__file__ = str(file)
        package.__getattr__ = _on_demand(package, file)  # type: ignore[method-assign]  # PEP 562
    sys.modules[name] = package


def _on_demand(package: ModuleType, file: Path) -> Callable[[str], Any]:
    def ask(attribute: str) -> Any:
        if not attribute.startswith("__") and package.__dict__.pop("__getattr__", None) is not None:
            SourceFileLoader(package.__name__, str(file)).exec_module(package)
            if attribute in package.__dict__:
                return package.__dict__[attribute]
        raise AttributeError(f"module {package.__name__!r} has no attribute {attribute!r}")

    return ask
