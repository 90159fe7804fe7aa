"""Finding and reading challenge packs: folders with a `challenge.toml`, a README.md and golden entries. Torch-free."""

from __future__ import annotations

import difflib
import hashlib
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, ValidationError

from evaluator.errors import InputError
from evaluator.manifests.spec import Challenge, Pack, load_manifest
from evaluator.manifests.strict import Real, Strict
from evaluator.records.report import Report

Share = Annotated[Real, Field(ge=0, le=1)]


def _ordered(value: tuple[float, float]) -> tuple[float, float]:
    if value[0] > value[1]:
        raise ValueError(f"the lowest accuracy {value[0]:g} is above the highest, {value[1]:g}")
    return value


Range = Annotated[tuple[Share, Share], AfterValidator(_ordered)]
MANIFEST = "challenge.toml"
PACKS = Path(__file__).resolve().parents[2] / "challenges"
BASELINES = Path(__file__).resolve().parents[1] / "defenses" / "baselines"


def load_pack(where: str | Path, *, root: Path = PACKS) -> Pack:
    """Loads the pack at a folder, or the one named by a slug below `root`.

    Raises InputError naming the nearest known slug when there is none, or the file, line and field that is wrong.
    """
    folder = next((found for found in (Path(where), root / str(where)) if is_pack(found)), None)
    if folder is None:
        known = list_packs(root=root)
        near = difflib.get_close_matches(str(where), known, n=1)
        help = f'Did you mean "{near[0]}"?' if near else f"Known packs: {', '.join(known) or 'none'}."
        raise InputError("is neither a folder with a challenge.toml nor a known pack.", where=str(where), help=help)
    folder = folder.resolve()
    challenge = read_manifest(folder)
    try:
        return Pack(slug=folder.name, folder=folder, challenge=challenge, digest=_digest(folder))
    except ValidationError as error:
        help = "Rename it: lower-case letters and digits in words joined by single hyphens, at most 60 characters."
        raise InputError("its folder's name cannot be the pack's slug.", where=str(folder), help=help) from error


def read_manifest(folder: Path) -> Challenge:
    """The pack's challenge.toml. Raises InputError naming the line and field that is wrong."""
    return load_manifest(folder / MANIFEST, Challenge, where=f"{folder.name}/{MANIFEST}")


def list_packs(*, root: Path = PACKS) -> list[str]:
    """Slugs of the packs below `root`, sorted; a pack whose folder cannot be read is among them, and fails to load."""
    return sorted(path.name for path in root.iterdir() if is_pack(path)) if root.is_dir() else []


def read_rules(pack: Pack) -> str:
    """The pack's README.md, "" where there is none. Raises InputError where it is no text."""
    path = pack.folder / "README.md" if pack.folder else None
    if path is None or not path.exists():
        return ""
    where = f"{pack.slug}/README.md"
    try:
        data = path.read_bytes()
        text = data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise InputError(f"line {line}: is not UTF-8 text.", where=where, help="Save it as UTF-8.") from error
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}.", where=where) from error
    if "\0" in text:
        raise InputError(f"line {text[: text.index(chr(0))].count(chr(10)) + 1}: holds a zero byte.", where=where)
    return text


def is_pack(folder: Path) -> bool:
    """Whether the folder holds a challenge.toml, or may: a folder that cannot be looked into counts as one."""
    try:
        return (folder / MANIFEST).exists()
    except PermissionError:
        return folder.is_dir()


class ExpectedScore(Strict):
    """The score that a golden entry must get on the first `examples` images: each accuracy, a share, in [lowest, highest].

    certified_accuracy: of the certificate that the entry asks for, of itself or of its smoothed version. baseline: the shipped
    defense that the entry is, instead of a folder of its name beside the file.
    """

    examples: int = Field(gt=0)
    clean_accuracy: Range
    robust_accuracy: Range
    certified_accuracy: Range | None = None
    baseline: Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=60)] | None = None

    def violations(self, report: Report) -> list[str]:
        """One clause for each accuracy of the report that is outside its range; empty when all is as it must be."""
        found = {"clean accuracy": report.clean_accuracy, "robust accuracy": report.robust_accuracy}
        ranges = {"clean accuracy": self.clean_accuracy, "robust accuracy": self.robust_accuracy}
        if self.certified_accuracy is not None:
            found["certified accuracy"] = 0.0 if report.certificate is None else report.certificate.accuracy
            ranges["certified accuracy"] = self.certified_accuracy
        return [
            f"{name} {value:.3f} is outside {ranges[name][0]:.3f} to {ranges[name][1]:.3f}"
            for name, value in found.items()
            if not ranges[name][0] <= value <= ranges[name][1]
        ]


class Golden(Strict):
    """A pack's `golden/expected.toml`: entries (folders beside it) whose scores show that the evaluator judges rightly."""

    seed: int = 0
    entries: dict[str, ExpectedScore] = Field(min_length=1)


def load_golden(pack: Pack) -> Golden:
    """The expectations of a pack's golden entries.

    Raises InputError when the file is missing or wrong, or names an entry whose folder is not there.
    """
    if pack.folder is None:
        raise InputError("came without its folder, so it has no golden entries.", where=pack.slug)
    golden = load_manifest(pack.folder / "golden" / "expected.toml", Golden)
    for name, expected in golden.entries.items():
        if expected.examples > (most := pack.challenge.data.examples):
            what = f"entries.{name}.examples: must be at most {most}, the examples of the challenge, not {expected.examples}."
            raise InputError(what, where="golden/expected.toml")
        if not (golden_folder(pack, name, expected) / "defense.toml").is_file():
            what = f"there is no {name}/defense.toml beside it"
            if expected.baseline is not None:
                what = f'there is no baseline "{expected.baseline}"'
            raise InputError(f"entries.{name}: {what}.", where="golden/expected.toml")
    return golden


def golden_folder(pack: Pack, name: str, expected: ExpectedScore) -> Path:
    """Where a golden entry's submission is: beside expected.toml, or among the shipped baselines."""
    assert pack.folder is not None, "load_golden refuses a pack without its folder"
    return pack.folder / "golden" / name if expected.baseline is None else BASELINES / expected.baseline


def _digest(folder: Path) -> str:
    """SHA-256 of the manifest's bytes: what determines a verdict. The README and the golden entries do not."""
    return hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()
