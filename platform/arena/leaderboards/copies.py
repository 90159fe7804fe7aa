"""What each attack of a board repeats of earlier entries, in one query."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from arena.challenges.models import Challenge
from arena.matrix.models import Repeat
from arena.rankings.bits import count, overlap_of, packed_union
from arena.rankings.copies import COPY, share_repeated

Results = Mapping[int, Mapping[str, bytes]]  # attack -> defense's public id -> packed breaks, of cells that count


@dataclass(frozen=True)
class Repeated:
    """The earlier entry of which an attack repeats the most. share: of the attack's results, in [0, 1]."""

    public_id: str
    name: str
    team_name: str
    share: float


@dataclass(frozen=True)
class Copies:
    """bits: (attack, defense) -> packed results that any earlier entry had; foreign: attack -> share of its results that other
    teams' entries had; family: attack -> its own team's entries that it is a copy of; shown: attack -> what boards say.
    """

    bits: Mapping[tuple[int, str], bytes]
    foreign: Mapping[int, float]
    family: Mapping[int, frozenset[int]]
    shown: Mapping[int, Repeated]


def copies_of(challenge: Challenge, results: Results, teams: Mapping[int, int]) -> Copies:
    """Copies among the attacks in `results`. teams: attack -> its team.

    Entries that another team withdrew were earlier all the same; those that an attack's own team withdrew are forgotten.
    """
    columns = (
        "cell__attack_id", "cell__defense__public_id", "of__attack_id", "of__attack__team_id", "of__attack__withdrawn",
        "of__attack__public_id", "of__attack__name", "of__attack__team__name", "bits",
    )  # fmt: skip
    rows = Repeat.objects.filter(cell__challenge=challenge, cell__rules_digest=challenge.rules_digest).values_list(*columns)
    bits: dict[tuple[int, str], bytes] = {}
    foreign: dict[tuple[int, str], bytes] = {}
    counts: dict[tuple[int, int], int] = {}
    names: dict[int, tuple[str, str, str]] = {}
    for attack, defense, of, team, withdrawn, *named, packed in rows:
        found = results.get(attack, {}).get(defense)
        if found is None or (team == teams[attack] and withdrawn is not None):
            continue
        same = overlap_of(found, bytes(packed))
        place = (attack, defense)
        bits[place] = packed_union(bits[place], same) if place in bits else same
        if team != teams[attack]:
            foreign[place] = packed_union(foreign[place], same) if place in foreign else same
        counts[attack, of] = counts.get((attack, of), 0) + count(same)
        names[of] = (named[0], named[1], named[2])
    total = {attack: sum(map(count, cells.values())) for attack, cells in results.items()}
    shares = {pair: share_repeated(number, total[pair[0]]) for pair, number in counts.items()}
    shown: dict[int, Repeated] = {}
    for (attack, of), share in sorted(shares.items(), key=lambda item: (item[1], -item[0][1])):
        shown[attack] = Repeated(*names[of], share)  # the largest share comes last, and of equals the earliest entry's
    return Copies(
        bits=bits,
        foreign={
            attack: share_repeated(sum(count(each) for (whose, _), each in foreign.items() if whose == attack), number)
            for attack, number in total.items()
        },
        family={
            attack: frozenset(
                of
                for (whose, of), share in shares.items()
                if whose == attack and teams.get(of) == teams[attack] and share >= COPY
            )
            for attack in results
        },
        shown=shown,
    )
