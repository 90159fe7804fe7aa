"""`redoubt replay RECEIPT PATH`: run a published result again and compare it bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from arena.cli.evaluate import run
from arena.running.staging import folder_digest
from evaluator.data.own import open_pack
from evaluator.errors import InputError, SubmissionError
from evaluator.records import receipt
from evaluator.records.report import Completed


def replay(
    file: Annotated[
        Path, typer.Argument(metavar="RECEIPT", help="The report that `redoubt evaluate --json` or the site wrote.")
    ],
    path: Annotated[Path, typer.Argument(help="The folder of the submission it is about.")],
    pack: Annotated[str | None, typer.Option(help="The challenge pack, when it is not one of the known ones.")] = None,
    key: Annotated[str | None, typer.Option(help="The public key (hex) that must have signed it.")] = None,
    sandbox: Annotated[str, typer.Option(help="bubblewrap, docker or auto.")] = "auto",
) -> None:
    """Check a receipt's signature and digests, evaluate again with its seed, and compare every bit."""
    out = Console()
    original = receipt.read(file)
    signer = receipt.verify(original, trusted=key)
    out.print(f"signature: valid, by {signer}", highlight=False)
    if other := receipt.other_code(original.environment):
        out.print(f"note: {other}", style="yellow", highlight=False)
    challenge = open_pack(pack or original.challenge)
    if challenge.digest != original.digests.pack:
        raise InputError(
            "has changed since the receipt was signed.", where=f"pack {challenge.slug}", help="Get its old version."
        )
    if original.ids != list(range(len(original.ids))):
        raise InputError("the receipt is about a part of the images; replay the whole evaluation's receipt.")
    if original.digests.submission != (found := folder_digest(path)):
        what = f"is another submission than the receipt's: its files have the digest {found[:16]}, not "
        help = "Pass the folder that the receipt is about, with its files as they were."
        raise InputError(f"{what}{original.digests.submission[:16]}.", where=str(path), help=help)
    there = original.environment
    outcome = run(challenge, path, original.examples, original.seed, sandbox, there.lane, there.device)
    if not isinstance(outcome, Completed):
        raise SubmissionError(outcome.reason, outcome.detail, where="the replay gave no verdict")
    differences = receipt.compare(original, outcome.report)
    for item in differences:
        out.print(f"differs: {item.field}: was {item.original}, is {item.replayed}", style="red", highlight=False)
    if differences:
        help = "Versions, threads and hardware are in the receipt's environment; the submission's digest must agree first."
        raise SubmissionError("replay", f"the replay differs in {len(differences)} fields.", help=help)
    out.print(f"reproduced bit for bit: {original.robust_accuracy:.2%} robust on {original.examples} images")
