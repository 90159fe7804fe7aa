"""`redoubt`: the command line. One command a file; errors are sentences, exit codes are stable.

Exit codes: 0 completed; 1 the submission failed; 2 wrong input; 3 the platform failed; 130 interrupted.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Annotated

import typer

from arena.cli import attack, catalog, certify, challenge, doctor, evaluate, replay, serve, submit
from evaluator import __version__
from evaluator.errors import Cancelled, PlatformError, RedoubtError, SubmissionError
from evaluator.records.identity import JUDGING, source_digest

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _tell_version(asked: bool) -> None:
    if asked:
        print(f"redoubt {__version__} (judging {JUDGING}, evaluator's source {source_digest()[:12]})")
        raise typer.Exit


@app.callback()
def redoubt(
    version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Evaluate defenses and attacks, submit them, and replay results."""


app.command("evaluate")(evaluate.evaluate)
app.command("submit")(submit.submit)
app.command("status")(submit.status)
app.command("replay")(replay.replay)
app.command("challenges")(catalog.challenges)
app.add_typer(challenge.app, name="challenge")
app.command("data")(challenge.data)
app.command("attack")(attack.attack)
app.command("certify")(certify.certify)
app.command("attacks")(catalog.attacks)
app.command("architectures")(catalog.architectures)
app.command("doctor")(doctor.doctor)
app.command("serve")(serve.serve)


def main() -> None:
    """Runs the command line; every known error becomes one line on stderr and an exit code."""
    try:
        app()
    except (KeyboardInterrupt, Cancelled):
        _fail("interrupted; nothing was stored.", 130)
    except SubmissionError as error:
        _fail(str(error), 1)
    except PlatformError as error:
        _fail(str(error), 3)
    except RedoubtError as error:
        _fail(str(error), 2)


def _fail(message: str, code: int) -> None:
    with suppress(OSError):  # a closed terminal
        print(f"redoubt: {message}", file=sys.stderr)
    sys.exit(code)
