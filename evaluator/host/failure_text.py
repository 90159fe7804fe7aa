"""How an exception in submitted code is reported to the team that wrote it: what it says, then where in their files."""

from __future__ import annotations

import traceback
from pathlib import Path

_CHARACTERS = 600
_LINES = 4
_FRAMES = 8


def failure_text(error: BaseException, folder: Path) -> str:
    """The exception itself, then the frames that are in `folder`, the innermost first, each on a line of its own.

    Frames of Python's and other people's packages are left out: they are long, and nothing in them is the team's to mend.
    """
    frames = []
    if isinstance(error, SyntaxError) and (file := _inside(error.filename or "", folder)):
        frames.append(f"  {file}, line {error.lineno}: {(error.text or '').strip()}")
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if file := _inside(frame.filename, folder):
            frames.append(f"  {file}, line {frame.lineno}, in {frame.name}: {frame.line}")
    return "\n".join([_said(error), *(line[:_CHARACTERS] for line in frames[:_FRAMES])])


def message(error: BaseException) -> str:
    """What the exception says of itself. Its class is the submission's, and so is how it says it."""
    try:
        return str(error.msg if isinstance(error, SyntaxError) else error)
    except Exception:
        return "(it does not say why)"


def _said(error: BaseException) -> str:
    """The exception's class and its message, of a long one the beginning and the end."""
    lines = [line.rstrip() for line in message(error).strip().splitlines() if line.strip()]
    if len(lines) > _LINES:  # TorchScript tells its own traceback first and the cause last
        lines = [lines[-1], *lines[: _LINES - 1]] if lines[0].startswith("The following operation failed") else lines[:_LINES]
    text = "\n  ".join(lines)[:_CHARACTERS]
    name = type(error).__name__
    return f"{name}: {text.removeprefix(f'{name}: ')}" if text else name


def _inside(filename: str, folder: Path) -> str:
    """The file's name within the folder, empty where it is not in it."""
    try:
        return Path(filename).relative_to(folder).as_posix()
    except ValueError:
        return ""
