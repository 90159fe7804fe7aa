"""What a job needs to run Python code: this process's own interpreter and packages, read-only, at fixed places."""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from sandbox.base import Mount, SandboxError

_PREFIX, _PACKAGES, _EXTRA = PurePosixPath("/py"), PurePosixPath("/venv"), PurePosixPath("/app")


class PythonEnvironment(NamedTuple):
    """mounts, the interpreter's path inside, and the environment variables that it needs."""

    mounts: tuple[Mount, ...]
    interpreter: str
    env: dict[str, str]


def python_mounts(extra: Sequence[Path] = ()) -> PythonEnvironment:
    """The current interpreter with the packages of its virtual environment.

    extra: packages (folders) or modules (files) that are not installed there, such as editable installs; each is importable
    inside under its own name. Give the package and not the folder around it, which may hold anything. Raises SandboxError when
    one is missing or two share a name.
    """
    mounts = [*_interpreter_mounts()]
    search = [str(_EXTRA)] if extra else []
    for number, folder in enumerate(_package_folders()):
        target = _PACKAGES / str(number)
        mounts.append(Mount(folder, target))
        search.append(str(target))
    names: set[str] = set()
    for path in extra:
        if not path.exists() or path.name in names:
            raise SandboxError(f"{path} cannot be given to a job as a package: it is missing, or a second {path.name!r}.")
        names.add(path.name)
        mounts.append(Mount(path.resolve(), _EXTRA / path.name))
    interpreter = _PREFIX / "bin" / _executable().name if _needs_mounts() else PurePosixPath(_executable())
    env = {
        "PATH": f"{interpreter.parent}:/usr/bin",
        "HOME": "/tmp",  # noqa: S108
        "LANG": "C.UTF-8",
        "PYTHONPATH": ":".join(search),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONNOUSERSITE": "1",
        "PYTHONSAFEPATH": "1",
        "PYTHONUNBUFFERED": "1",
    }
    if sysconfig.get_config_var("Py_ENABLE_SHARED") and _needs_mounts():
        env["LD_LIBRARY_PATH"] = str(_PREFIX / "lib")
    return PythonEnvironment(tuple(mounts), str(interpreter), env)


def _executable() -> Path:
    """The interpreter itself, not the virtual environment's link to it."""
    return Path(sys.executable).resolve()


def _needs_mounts() -> bool:
    """Whether the interpreter is outside what every job sees: /usr without /usr/local."""
    prefix = Path(sys.base_prefix).resolve()
    return prefix != Path("/usr")


def _interpreter_mounts() -> list[Mount]:
    """The program, its standard library and its shared library, but nothing else of the prefix, which may be /usr/local."""
    if not _needs_mounts():
        return []
    prefix = Path(sys.base_prefix).resolve()
    library = Path("lib") / f"python{sysconfig.get_python_version()}"
    mounts = [Mount(_executable(), _PREFIX / "bin" / _executable().name), Mount(prefix / library, _PREFIX / str(library))]
    shared = (file for file in sorted((prefix / "lib").glob("libpython*.so*")))
    return mounts + [Mount(file.resolve(), _PREFIX / "lib" / file.name) for file in shared]


def _package_folders() -> list[Path]:
    """site-packages for pure and for compiled packages (usually one folder), unless already within what is mounted."""
    folders = dict.fromkeys(Path(sysconfig.get_path(kind)).resolve() for kind in ("purelib", "platlib"))
    return [folder for folder in folders if folder.is_dir() and sys.prefix != sys.base_prefix]
