"""Works on the database of the current settings, for a site under test: `season` fills it, `challenge N` publishes one
challenge of N examples, `targets N` one with two real defenses, `fall NAME SHARE` lowers an entry's robust accuracy.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

root = Path(__file__).resolve().parents[2]
sys.path += [str(root), str(root / "platform")]  # the project is found as manage.py finds it
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "arena.settings.embedded")
import django  # noqa: E402

django.setup()

from tests.e2e.certified_season import make_certified_season  # noqa: E402
from tests.e2e.phased_season import make_phased_season  # noqa: E402
from tests.e2e.season import fall, make_challenge, make_season  # noqa: E402
from tests.e2e.season_matrix import make_matrix, make_targets  # noqa: E402


def main(command: str, *arguments: str) -> None:
    """Runs one command; prints the entries' public ids by key."""
    match command, arguments:
        case "season", ():
            ids = {key: made.submission.public_id for key, made in make_season().items()}
            proven = {"proven": "CNN, trained under noise of 0.5", "refuted": "refuted"}
            made = make_certified_season()
            ids |= {key: made[name].submission.public_id for key, name in proven.items()}
            ids |= {key: each.submission.public_id for key, each in make_phased_season().items()}
            print(json.dumps(ids | make_matrix()))
        case "challenge", (examples,):
            make_challenge(examples=int(examples))
        case "targets", (examples,):
            make_targets(examples=int(examples))
        case "fall", (name, share):
            fall(name, float(share))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(*sys.argv[1:])
