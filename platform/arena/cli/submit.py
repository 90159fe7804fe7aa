"""`redoubt submit` and `redoubt status`: entering a defense or an attack on a server, and following it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from arena.cli.server import Server, packed
from arena.cli.tables import show
from arena.cli.waiting import Following
from evaluator.errors import InputError, PlatformError, SubmissionError

ServerOption = Annotated[str | None, typer.Option(help="Address of the server; REDOUBT_SERVER, else http://localhost:8000.")]
TokenOption = Annotated[str | None, typer.Option(help="API token from your account page; REDOUBT_TOKEN.")]
_FINISHED = {"completed", "submission_failed", "platform_failed", "cancelled"}
_PENDING = ("queued", "running")
_POLL_SECONDS = 2.0


def submit(
    path: Annotated[Path, typer.Argument(help="The submission's folder, with its defense.toml or attack.toml.")],
    challenge: Annotated[str, typer.Option(help="The challenge's slug, such as mnist-linf.")],
    team: Annotated[str | None, typer.Option(help="Slug of the team that enters it; your personal one when left out.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Follow it to its verdict.")] = False,
    server: ServerOption = None,
    token: TokenOption = None,
) -> None:
    """Enter a defense or an attack on a server."""
    archive = packed(path)
    remote = Server(server, token)
    data = {"challenge": challenge} | ({"team": team} if team else {})
    entry = remote.post("submissions", data=data, files={"archive": (f"{path.resolve().name}.zip", archive)})
    identifier = entry["submission"]["id"]
    print(f"entered as {identifier}: {remote.address}/entries/{identifier}/")
    if not wait:
        return
    if entry["submission"]["kind"] == "attack":
        _follow_attack(remote, identifier)
    else:
        _follow(remote, identifier)


def status(
    submission: Annotated[str | None, typer.Argument(help="A submission's id; all of yours when left out.")] = None,
    server: ServerOption = None,
    token: TokenOption = None,
) -> None:
    """Show where your submissions stand."""
    remote = Server(server, token)
    entries = [remote.get(f"submissions/{submission}")] if submission else remote.get("submissions")["results"]
    table = Table()
    for name in ("id", "name", "challenge", "state", "robust", "clean"):
        table.add_column(name, no_wrap=True)
    table.add_column("where it stands")
    for entry in entries:
        described, evaluation = entry["submission"], entry["evaluation"] or {}
        state, where = str(evaluation.get("state", "–")), _where(evaluation)
        if described["kind"] == "attack":
            state, where = _attack_state(remote.get(f"attacks/{described['id']}"))
        shares = [_percent(evaluation.get(key)) for key in ("robust_accuracy", "clean_accuracy")]
        table.add_row(described["id"], escape(described["name"]), described["challenge"], state, *shares, escape(where))
    show(table)


def _attack_state(attack: dict[str, Any]) -> tuple[str, str]:
    """The state of an attack, and where it stands: its first look, then the standing defenses it has played."""
    match attack["verdict"]:
        case "":
            return "queued", "waits for its first look"
        case "accepted":
            cells = attack["cells"]
            ended = sum(cell["state"] not in _PENDING for cell in cells)
            return "completed" if ended == len(cells) else "running", f"played {ended} of {len(cells)} standing defenses"
        case verdict:
            return str(verdict), _first_line(attack["detail"]) or str(attack["reason"])


def _follow(remote: Server, identifier: str) -> None:
    """Prints each change until there is a verdict; a failure is an error like that of `redoubt evaluate`."""
    following = Following(lambda line: print(line, flush=True))
    while True:
        evaluation: dict[str, Any] = remote.get(f"submissions/{identifier}")["evaluation"] or {}
        following.report(f"{evaluation.get('state', 'queued')} · {_where(evaluation)}")
        if evaluation.get("state") in _FINISHED:
            break
        time.sleep(_POLL_SECONDS)
    detail, reason = str(evaluation.get("detail", "")), str(evaluation.get("reason", ""))
    match evaluation["state"]:
        case "submission_failed":
            raise SubmissionError(reason, detail, where=f"submission failed ({reason})")
        case "platform_failed":
            raise PlatformError(reason, detail, where=f"platform failed ({reason})")
        case "cancelled":
            raise InputError("the evaluation was cancelled.")
    print(f"robust accuracy {_percent(evaluation['robust_accuracy'])}, clean {_percent(evaluation['clean_accuracy'])}")


def _follow_attack(remote: Server, identifier: str) -> None:
    """Prints what the first look found, then every cell as it ends, until all are played."""
    reported: set[str] = set()
    following = Following(lambda line: print(line, flush=True))
    while True:
        attack: dict[str, Any] = remote.get(f"attacks/{identifier}")
        verdict = attack["verdict"]
        if verdict == "refused":
            raise SubmissionError(attack["reason"], attack["detail"], where=f"attack refused ({attack['reason']})")
        if verdict == "platform_failed":
            raise PlatformError(attack["reason"], attack["detail"], where=f"platform failed ({attack['reason']})")
        if verdict and "" not in reported:
            reported.add("")
            print("the first look found nothing wrong; it is played against every standing defense", flush=True)
            for violation in attack["violations"]:
                print(f"{violation['count']} examples do not count: {violation['detail']} ids {violation['ids']}", flush=True)
        cells = attack["cells"]
        ended = [cell for cell in cells if cell["state"] not in _PENDING]
        for cell in ended:
            if cell["id"] not in reported:
                reported.add(cell["id"])
                print(f"{cell['defense_name']}: {cell['state']}, {_percent(cell['accuracy_left'])} left", flush=True)
        if verdict and len(ended) == len(cells):
            return
        following.report(" · ".join(_attack_state(attack)))
        time.sleep(_POLL_SECONDS)


def _where(evaluation: dict[str, Any]) -> str:
    """Progress, queue position or reason, in a few words; of a figure that nobody vouches for, that."""
    if evaluation.get("verified") is False:
        return "unverified: it does not rank"
    if progress := evaluation.get("progress"):
        what = progress["attack"] or progress["stage"]
        return f"{what}: {progress['done']} of {progress['total']} settled, {progress['survivors']} still standing"
    if position := evaluation.get("queue_position"):
        return f"number {position} in the queue"
    return _first_line(evaluation.get("detail"))


def _first_line(detail: object) -> str:
    """What a failure says; the lines after it are for its own page."""
    return str(detail or "").partition("\n")[0]


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.2%}"
