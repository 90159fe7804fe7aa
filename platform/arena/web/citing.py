"""How an entry is cited."""

from __future__ import annotations

import unicodedata

from django.urls import reverse
from django.utils.text import slugify

from arena.evaluations.models import Evaluation
from arena.leaderboards.queries import doubt

_SPECIAL = str.maketrans({"\\": r"\textbackslash{}", "{": r"\{", "}": r"\}"} | {sign: f"\\{sign}" for sign in "&%$#_"})


def bibtex(evaluation: Evaluation, origin: str) -> str:
    """A BibTeX entry: who, what, where, and the digest of the archive that was judged; a figure only where it ranks."""
    submission = evaluation.submission
    key = f"redoubt-{slugify(submission.name)[:30] or 'entry'}-{submission.public_id[-6:]}"
    score = "" if evaluation.robust_accuracy is None else f", robust accuracy {100 * evaluation.robust_accuracy:.2f} \\%"
    if score and (unsure := doubt(evaluation)):
        score = f", {unsure}"
    fields = {
        "title": f"{{{_tex(submission.name)}}} on {{{_tex(submission.challenge.title)}}}",
        "author": f"{{{_tex(submission.team.name)}}}",
        "year": str(submission.created.year),
        "howpublished": f"Redoubt{score}",
        "url": f"{origin}{reverse('web:entry', args=[submission.public_id])}",
        "note": f"sha256 {submission.digest}",
    }
    return "\n".join([f"@misc{{{key},", *(f"  {name} = {{{value}}}," for name, value in fields.items()), "}"])


def _tex(text: str) -> str:
    """Text as TeX takes it, without what it would read as commands."""
    plain = "".join(letter for letter in unicodedata.normalize("NFC", text) if letter.isprintable())
    return plain.translate(_SPECIAL)
