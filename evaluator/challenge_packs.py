"""Finding and reading challenge packs: folders with a `challenge.toml`, a README.md and golden entries. Torch-free."""

from __future__ import annotations

import difflib
import hashlib
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, ValidationError

from evaluator.errors import InputError
from evaluator.report import Report
from evaluator.spec import Challenge, Pack, load_manifest
from evaluator.strict import Strict

Share = Annotated[float, Field(ge=0, le=1)]


def _ordered(value: tuple[float, float]) -> tuple[float, float]:
    if value[0] > value[1]:
        raise ValueError(f"the lowest accuracy {value[0]:g} is above the highest, {value[1]:g}")
    return value


Range = Annotated[tuple[Share, Share], AfterValidator(_ordered)]
PACKS = Path(__file__).resolve().parent.parent / "challenges"


def load_pack(where: str | Path, *, root: Path = PACKS) -> Pack:
    """Loads the pack at a folder, or the one named by a slug below `root`.

    Raises InputError naming the nearest known slug when there is none, or the field that is wrong.
    """
    folder = Path(where)
    if not (folder / "challenge.toml").is_file():
        folder = root / str(where)
    if not (folder / "challenge.toml").is_file():
        near = difflib.get_close_matches(str(where), list_packs(root=root), n=1)
        help = f'Did you mean "{near[0]}"?' if near else f"Known packs: {', '.join(list_packs(root=root)) or 'none'}."
        raise InputError("is neither a folder with a challenge.toml nor a known pack.", where=str(where), help=help)
    challenge = load_manifest(folder / "challenge.toml", Challenge)
    folder = folder.resolve()
    try:
        return Pack(slug=folder.name, folder=folder, challenge=challenge, digest=_digest(folder))
    except ValidationError as error:
        help = "Rename it: lower-case letters and digits in words joined by single hyphens, at most 60 characters."
        raise InputError("its folder's name cannot be the pack's slug.", where=str(folder), help=help) from error


def list_packs(*, root: Path = PACKS) -> list[str]:
    """Slugs of the packs below `root`, sorted."""
    return sorted(path.parent.name for path in root.glob("*/challenge.toml"))


class ExpectedScore(Strict):
    """The score that a golden entry must get on the first `examples` images: each accuracy, a share, in [lowest, highest].

    certified_accuracy: of the certificate that the entry asks for, of itself or of its smoothed version.
    """

    examples: int = Field(gt=0)
    clean_accuracy: Range
    robust_accuracy: Range
    certified_accuracy: Range | None = None

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
    for name in golden.entries:
        if not (pack.folder / "golden" / name / "defense.toml").is_file():
            raise InputError(f"entries.{name}: there is no {name}/defense.toml beside it.", where="golden/expected.toml")
    return golden


def _digest(folder: Path) -> str:
    """SHA-256 of the manifest's bytes: what determines a verdict. The README and the golden entries do not."""
    return hashlib.sha256((folder / "challenge.toml").read_bytes()).hexdigest()
