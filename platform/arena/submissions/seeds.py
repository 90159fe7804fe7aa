"""The seeds under which entries are judged."""

from __future__ import annotations

from django.utils.crypto import salted_hmac

from arena.submissions.models import Submission


def seed_of(*submissions: Submission, what: str) -> int:
    """63 bits that follow from the entries' files, their challenge and this site's secret key.

    what: tells apart what the same entries are judged by. Nobody can know the seed before the files are fixed, and the same
    files meet the same seed however they are packed, how often and by whom they are entered. So trying again buys no luck.
    """
    named = [what, str(submissions[0].challenge_id), *(each.contents or each.public_id for each in submissions)]
    digest = salted_hmac("arena.submissions.seeds", "\0".join(named), algorithm="sha256").digest()
    return int.from_bytes(digest[:8], "big") >> 1
