"""A submission's folder as the sandbox will see it: a private copy of its regular files, readable by any user, digested."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from evaluator.errors import SubmissionError
from evaluator.report import SubmissionReason
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


def _copy(source: Path, target: Path) -> str:
    if not source.is_dir():
        raise SubmissionError(SubmissionReason.MANIFEST, "is not a folder.", where=source.name, help="Pass the folder.")
    total, digest = 0, hashlib.sha256()
    files = sorted(path for path in source.rglob("*") if not path.is_dir() or path.is_symlink())
    files = [path for path in files if "__pycache__" not in path.relative_to(source).parts]
    if len(files) > MAX_FILES:
        raise SubmissionError(SubmissionReason.MANIFEST, f"has {len(files)} files; at most {MAX_FILES} are taken.")
    for path in files:
        name = path.relative_to(source)
        if path.is_symlink() or not path.is_file():
            help = "Put the file itself there."
            raise SubmissionError(SubmissionReason.MANIFEST, "is a link or a special file.", where=str(name), help=help)
        total += path.stat().st_size
        if total > MAX_BYTES:
            raise SubmissionError(SubmissionReason.MANIFEST, f"is larger than {MAX_BYTES >> 30} GiB.")
        copy = target / name
        copy.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
        copy.chmod(0o644)
        with copy.open("rb") as stream:
            content = hashlib.file_digest(stream, "sha256").hexdigest()
        digest.update(f"{name.as_posix()}\0{content}\n".encode())
    return digest.hexdigest()
