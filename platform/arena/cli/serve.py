"""`redoubt serve`: the whole product on one machine in one foreground command; what `make run` starts."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from arena.cli.data_folder import check_folder, held
from arena.cli.fleet import Child, Fleet, address, on_stop, say
from evaluator.data.fetching import Fetching, fetch
from evaluator.errors import InputError, PlatformError


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8000,
    workers: Annotated[int, typer.Option(min=0, max=16, help="Evaluation workers to run beside the web.")] = 1,
) -> None:
    """Migrate, fetch MNIST, publish the packs, enter the baselines, and serve web and workers until Ctrl-C."""
    from arena.serving.storage_faults import in_one_sentence
    from arena.settings.base import DATA_DIR

    on_stop(_interrupt)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "arena.settings.embedded")
    try:
        with in_one_sentence(data=DATA_DIR):
            _serve(DATA_DIR, host, port, workers)
    except KeyboardInterrupt:
        say("\nstopped while it was starting; the next start goes on from here", wrong=True)
        raise typer.Exit(130) from None


def _serve(data: Path, host: str, port: int, workers: int) -> None:
    """Raises KeyboardInterrupt when it is stopped before everything runs."""
    check_folder(data)
    with held(data, address(host, port)):
        _refuse_taken(host, port)
        _prepare()
        listen = ["--host", host, "--port", str(port)]
        web = [sys.executable, "-m", "uvicorn", "arena.asgi:application", *listen]
        web += ["--no-access-log", "--log-level", "warning", "--timeout-graceful-shutdown", "2"]
        worker = [sys.executable, "-m", "django", "worker"]
        Fleet([Child("web", web), *(Child(f"worker {n + 1}", worker) for n in range(workers))]).run(host, port)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Until the fleet runs, to be stopped is to be interrupted: what was begun is tidied up on the way out."""
    raise KeyboardInterrupt


def _refuse_taken(host: str, port: int) -> None:
    where = f"{host}:{port}"
    try:
        family, kind, protocol, _, name = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except socket.gaierror as error:
        raise InputError(f"is no address of this machine: {error.strerror}.", where=host) from error
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(name)
        except PermissionError as error:
            help = "Ports below 1024 are the system's; choose another: make run PORT=8000."
            raise InputError("this user may not listen there.", where=where, help=help) from error
        except OSError as error:
            help = f"Stop what uses it, or choose another: make run PORT={port + 1}."
            raise InputError(f"cannot listen: {error.strerror}.", where=where, help=help) from error


def _prepare() -> None:
    """Everything that must be there before the first page: idempotent, and quick the second time."""
    import django
    from django.conf import settings
    from django.core.management import CommandError, call_command

    from arena.serving.storage_faults import in_one_sentence

    django.setup()
    with in_one_sentence(data=settings.DATA_DIR, database=Path(str(settings.DATABASES["default"]["NAME"]))):
        say("database: migrating")
        _check_database()
        call_command("migrate", verbosity=0, interactive=False)
        say("MNIST: checking")
        try:
            fetch("mnist", on_progress=_tell_source())
        except PlatformError as error:  # the boards and the site work without it; evaluations will say the same
            say(f"MNIST: {error}", wrong=True)
        try:
            call_command("publish_packs", keep_going=True)
        except CommandError as error:  # no packs at all: what was published earlier is still there
            say(f"packs: {error}", wrong=True)
        call_command("seed_baselines")


def _check_database() -> None:
    """Raises DatabaseError where SQLite finds its file damaged; that a page of it is torn shows nowhere else at once."""
    from django.db import DatabaseError, connection

    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA quick_check(1)")
            if (found := cursor.fetchone()) != ("ok",):
                raise DatabaseError(f"malformed: {found}")


def _tell_source() -> Callable[[Fetching], None]:
    """Prints each source once as it is tried."""
    seen: set[str] = set()

    def report(step: Fetching) -> None:
        if step.source not in seen:
            seen.add(step.source)
            say(f"MNIST: trying {step.source}")

    return report
