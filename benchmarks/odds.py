"""At what odds each family of cheats is caught: the share of evaluations that it does not win, over secret seeds.

    python -m benchmarks.odds [--images N] [--seeds N] [--only WORD ...] [--write]

One evaluation is one variant of a family (`tests/evaluator/families.py`) under one secret seed; the seeds take the variants in
turn. A cheat wins when it stands better than the honest network with the same weights and no flag bars it from a rank. Checks,
search and audit are the official ones; only the adaptive attack is cut short, so that detection owes it nothing.
--write: the table goes to docs/honesty-benchmarks.md.
"""

from __future__ import annotations

import argparse
import functools
from collections import Counter
from unittest import mock

import torch

from benchmarks.pages import PAGE, provenance, write_section
from evaluator.adaptive.automatic import Automatic
from evaluator.checks import honest as checks
from evaluator.records.intervals import clopper_pearson
from tests.evaluator.families import FAMILIES, Caught, caught

HEAD = "| family | variants | evaluations | won | caught | 95 % interval | what caught it, most often |\n" + "|---" * 7 + "|"


def measure(family: str, images: int, seeds: int) -> list[tuple[str, Caught]]:
    """One evaluation a seed: (variant, what became of it)."""
    variants = list(FAMILIES[family].items())
    short = functools.partial(Automatic, steps=5, queries=20)
    with mock.patch.object(checks, "Automatic", short):
        chosen = [variants[seed % len(variants)] for seed in range(seeds)]
        return [(name, caught(cheat, images, 1000 + seed)) for seed, (name, cheat) in enumerate(chosen)]


def line(family: str, found: list[tuple[str, Caught]]) -> str:
    """The family's line of the table."""
    won = [name for name, result in found if result.won]
    low, high = clopper_pearson(len(found) - len(won), len(found))
    by = Counter(flag for _, result in found for flag in result.flags)
    named = ", ".join(f"`{flag}`" for flag, _ in by.most_common(3)) or "stands no better"
    lost = f"{len(won)} ({', '.join(sorted(set(won)))})" if won else "0"
    share = 1 - len(won) / len(found)
    return f"| {family} | {len(FAMILIES[family])} | {len(found)} | {lost} | {share:.0%} | {low:.0%} to {high:.0%} | {named} |"


def main() -> int:
    """Prints the table; the status is 1 when a cheat won."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100, help="that rank")
    parser.add_argument("--seeds", type=int, default=20, help="evaluations of each family")
    parser.add_argument("--only", nargs="*", default=[], help="words of families")
    parser.add_argument("--write", action="store_true", help="put the table into docs/honesty-benchmarks.md")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{options.images} images\n\n{HEAD}", flush=True)
    rows, lost = [], 0
    for family in FAMILIES:
        if not options.only or any(word in family for word in options.only):
            found = measure(family, options.images, options.seeds)
            lost += sum(result.won for _, result in found)
            rows.append(line(family, found))
            print(rows[-1], flush=True)
    if options.write:
        heading, page = f"Odds of being caught, {options.images} images", PAGE.with_name("honesty-benchmarks.md")
        write_section(heading, "\n".join([provenance(), "", HEAD, *rows]), page)
    return 1 if lost else 0


if __name__ == "__main__":
    raise SystemExit(main())
