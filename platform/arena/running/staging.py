"""A submission's folder as the sandbox will see it: a private copy of its regular files, readable by any user, digested."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from evaluator.errors import InputError, SubmissionError
from evaluator.folders import submission_files
from evaluator.records.report import SubmissionReason
from sandbox.scratch import owned_folder

MAX_FILES = 2000
MAX_BYTES = 4 << 30


@dataclass(frozen=True)
class Staged:
    """folder: the copy; digest: SHA-256 over the sorted relative names and contents of its files."""

    folder: Path
    digest: str


@contextmanager
def staged(submission: Path) -> Iterator[Staged]:
    """Copies the submission for the time of an evaluation.

    Raises SubmissionError(manifest) for links, special files, too many files or too many bytes.
    """
    with owned_folder("redoubt-staged-") as temporary:
        temporary.chmod(0o755)
        folder = temporary / "submission"
        folder.mkdir(mode=0o755)
        yield Staged(folder, _copy(submission, folder))


def folder_digest(folder: Path) -> str:
    """The digest that a staged copy of the folder would have. Raises InputError for links and special files."""
    digest = hashlib.sha256()
    for name, path in submission_files(folder):
        digest.update(_line(name, path))
    return digest.hexdigest()


def _line(name: str, path: Path) -> bytes:
    with path.open("rb") as stream:
        return f"{name}\0{hashlib.file_digest(stream, 'sha256').hexdigest()}\n".encode()


def _copy(source: Path, target: Path) -> str:
    total, digest = 0, hashlib.sha256()
    try:
        files = submission_files(source)
    except InputError as error:
        raise SubmissionError(SubmissionReason.MANIFEST, error.what, where=error.where, help=error.help) from error
    if len(files) > MAX_FILES:
        raise SubmissionError(SubmissionReason.MANIFEST, f"has {len(files)} files; at most {MAX_FILES} are taken.")
    for name, path in files:
        total += path.stat().st_size
        if total > MAX_BYTES:
            raise SubmissionError(SubmissionReason.MANIFEST, f"is larger than {MAX_BYTES >> 30} GiB.")
        copy = target / name
        copy.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
        copy.chmod(0o644)
        digest.update(_line(name, copy))
    return digest.hexdigest()
