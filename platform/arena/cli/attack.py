"""`redoubt attack NAME --against ...`: one attack against one defense, verified, with its adversarial inputs."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from arena.cli.server import Server
from arena.cli.submit import ServerOption, TokenOption
from evaluator.data.own import open_pack
from evaluator.errors import InputError
from evaluator.manifests.spec import Pack

_ENTRY = re.compile(r"[0-9a-z]{26}", re.IGNORECASE)  # as arena.identifiers makes them


def attack(
    name: Annotated[str, typer.Argument(help="An attack's name; see `redoubt attacks`.")],
    against: Annotated[
        str, typer.Option(help="A submission's folder, a shipped baseline such as mnist-pgd, or the id of your entry.")
    ],
    pack: Annotated[str, typer.Option(help="The challenge whose images and threat are used.")] = "mnist-linf",
    examples: Annotated[int, typer.Option(min=1, help="How many of its images.")] = 100,
    epsilon: Annotated[float | None, typer.Option(help="Another budget than the challenge's.")] = None,
    threat: Annotated[str | None, typer.Option(help="Another threat than the challenge's; needs --epsilon.")] = None,
    target: Annotated[
        str | None,
        typer.Option(help="The goal: a class by number or name, random, least-likely or each; else the challenge's."),
    ] = None,
    option: Annotated[list[str] | None, typer.Option("--option", "-o", help="A hyperparameter, such as steps=100.")] = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    save: Annotated[Path | None, typer.Option(help="Write the verified adversarial array here (.npz).")] = None,
    gallery: Annotated[Path | None, typer.Option(help="Write a page of broken images here (.html).")] = None,
    sandbox: Annotated[str, typer.Option(help="bubblewrap, docker or auto.")] = "auto",
    server: ServerOption = None,
    token: TokenOption = None,
) -> None:
    """Run one attack against one defense; what it claims is verified on a fresh copy of the model."""
    from arena.cli.attacking import Order, allowed_time, carry_out, rows, write_array, write_gallery
    from evaluator.attacks import create
    from evaluator.threats import build

    for file in (save, gallery):
        if file is not None and not file.parent.is_dir():
            raise InputError("there is no such folder.", where=str(file.parent), help="Make it first.")
    chosen = _with_target(_with_threat(open_pack(pack), threat, epsilon), target)
    weapon, budget = create(name, **_options(option or [])), build(chosen.challenge.threat)
    weapon.check(budget, targeted=chosen.challenge.goal.targeted)
    with defense_folder(against, server, token) as folder:
        done = carry_out(Order(name, weapon, chosen, folder, examples, seed, sandbox))
    table = Table(
        title=f"{name} against {escape(against)}, {chosen.challenge.threat.kind} {budget.epsilon:g}", title_justify="left"
    )
    for column in ("", "value"):
        table.add_column(column, justify="right" if column else "left")
    for label, value in rows(done):
        table.add_row(label, value)
    table.add_row("time on the site", allowed_time(chosen.challenge))
    Console().print(table)
    if save is not None:
        write_array(save, done)
        print(f"wrote {save}")
    if gallery is not None:
        write_gallery(gallery, done, title=f"{name} against {against}", kind=budget.kind)
        print(f"wrote {gallery}")


def _with_threat(pack: Pack, kind: str | None, epsilon: float | None) -> Pack:
    """The pack with another threat or budget, validated like a manifest."""
    same = kind in (None, pack.challenge.threat.kind)
    if epsilon is None:
        if same:
            return pack
        raise InputError(f"--threat {kind} needs its budget.", help="Add --epsilon.")
    table = pack.challenge.model_dump()
    changed: dict[str, Any] = dict(table["threat"]) if same else {"kind": kind}
    table["threat"] = {**changed, "epsilon": int(epsilon) if epsilon.is_integer() else epsilon}  # l0 counts pixels
    return _changed(pack, table)


def _with_target(pack: Pack, target: str | None) -> Pack:
    """The pack with another goal, validated like a manifest."""
    if target is None:
        return pack
    goal = {"kind": "targeted", "target": int(target) if target.isdecimal() else target}
    return _changed(pack, {**pack.challenge.model_dump(), "goal": goal})


def _changed(pack: Pack, table: dict[str, Any]) -> Pack:
    """The pack with another manifest. Raises InputError where that cannot be."""
    from pydantic import ValidationError

    from evaluator.manifests.manifest_errors import explain
    from evaluator.manifests.spec import Challenge

    try:
        challenge = Challenge.model_validate(table)
    except ValidationError as error:
        raise explain(error, Challenge, where="redoubt attack") from error
    return pack.model_copy(update={"challenge": challenge})


def _options(texts: list[str]) -> dict[str, Any]:
    """`steps=100` -> {"steps": 100}; numbers and true/false are read as such."""
    import tomllib

    options: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key.isidentifier():
            raise InputError(f'"{text}" is not NAME=VALUE.', where="--option", help="For example: -o steps=100.")
        try:
            options[key] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            options[key] = value
    return options


@contextmanager
def defense_folder(against: str, server: str | None, token: str | None) -> Iterator[Path]:
    """The folder of a submission, of a shipped baseline, or, for the time of the attack, of an entry on the server."""
    import evaluator

    shipped = Path(evaluator.__file__).parent / "defenses" / "baselines"
    for folder in (Path(against), shipped / against):
        if (folder / "defense.toml").is_file():
            yield folder
            return
    if _ENTRY.fullmatch(against):
        with TemporaryDirectory(prefix="redoubt-") as temporary:
            yield _fetched(against, Server(server, token), Path(temporary))
        return
    names = ", ".join(sorted(path.parent.name for path in shipped.glob("*/defense.toml")))
    help = f"Pass a folder with a defense.toml, the id of your entry on a server, or one of: {names}."
    raise InputError("is neither a submission's folder, nor a shipped baseline, nor an entry.", where=against, help=help)


def _fetched(identifier: str, remote: Server, folder: Path) -> Path:
    """The entry's archive, unpacked into `folder`. Only its own team is given it."""
    from arena.submissions.intake import ArchiveLimits, unpack

    packed = remote.download(f"submissions/{identifier.lower()}/archive")
    unpack(io.BytesIO(packed), folder, limits=ArchiveLimits(archive_bytes=len(packed)))
    if not (folder / "defense.toml").is_file():
        raise InputError("is not a defense.", where=identifier, help="Attacks are run against defenses.")
    return folder
