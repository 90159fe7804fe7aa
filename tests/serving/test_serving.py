"""`redoubt serve` meets a folder, a database, a port or a terminal that is not as it should be: one line, and nothing left."""

from __future__ import annotations

import errno
import io
import logging
import os
import pty
import select
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from django.db.utils import ConnectionHandler

from arena.api.errors import handle
from arena.cli.data_folder import check_folder, held
from arena.serving.storage_faults import InOneLine, in_one_sentence
from evaluator.errors import InputError, PlatformError

ROOT = Path(__file__).resolve().parents[2]
SERVE = [sys.executable, "-c", "from arena.cli.main import main; main()", "serve", "--workers", "1"]


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def surroundings(data: Path) -> dict[str, str]:
    """This process's environment, with a data folder and the settings of one machine."""
    return os.environ | {"REDOUBT_DATA": str(data), "DJANGO_SETTINGS_MODULE": "arena.settings.embedded"}


def refused(data: Path, *options: str) -> str:
    """The one line on stderr with which `redoubt serve` ends."""
    options = options or ("--port", str(free_port()))
    done = subprocess.run(
        [*SERVE, *options], cwd=ROOT, env=surroundings(data), capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode in (2, 3)
    [line] = done.stderr.splitlines()
    assert line.startswith("redoubt: ")
    return line


def children_of(process: int) -> set[int]:
    """The processes that it has started and those that they have started, now."""
    threads = Path(f"/proc/{process}/task").glob("*/children")
    found = {int(child) for thread in threads for child in thread.read_text().split()}
    return found.union(*map(children_of, found)) if found else found


def alive(process: int) -> bool:
    return Path(f"/proc/{process}").exists() and Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


@contextmanager
def on_a_terminal(data: Path, port: int) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A running site and the other end of its terminal."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*SERVE, "--port", str(port)],
        cwd=ROOT,
        env=surroundings(data),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=_take_terminal,
    )
    os.close(theirs)
    try:
        seen = b""
        while b"Redoubt is at" not in seen:
            seen += read(ours)
        yield process, ours
    finally:
        process.kill()
        process.wait()


def read(terminal: int) -> bytes:
    """What has been printed since, after a moment: a terminal that nobody reads would stop who writes."""
    ready, _, _ = select.select([terminal], [], [], 0.2)
    return os.read(terminal, 65536) if ready else b""


def _heed_a_closed_terminal() -> None:
    """Undoes what nohup hands down: who started these tests may have told all its processes to ignore SIGHUP."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def _take_terminal() -> None:
    import fcntl
    import termios

    _heed_a_closed_terminal()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@pytest.fixture
def data() -> Iterator[Path]:
    """A folder that other users can reach, too."""
    with tempfile.TemporaryDirectory(prefix="redoubt-serve-") as folder:
        yield Path(folder)


@pytest.mark.slow
def test_a_second_run_is_shown_of_the_first_and_a_closed_terminal_stops_that_one_with_all_its_processes(data: Path) -> None:
    port = free_port()
    with on_a_terminal(data, port) as (site, terminal):
        for options in ((), ("--port", str(port))):
            line = refused(data, *options)
            assert f"{data}: another Redoubt runs on this folder: process {site.pid}, http://localhost:{port}/." in line
        started = children_of(site.pid)
        assert len(started) >= 2
        os.close(terminal)
        assert site.wait(timeout=60) == 0
        for _ in range(100):
            if not any(map(alive, started)):
                break
            time.sleep(0.1)
        assert not [process for process in started if alive(process)]
    with closing(sqlite3.connect(data / "redoubt.sqlite3")) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert database.execute("SELECT count(*) FROM submissions_submission").fetchone() > (0,)


def test_a_stop_while_it_starts_is_reported_in_one_line(data: Path) -> None:
    command = [*SERVE, "--port", str(free_port())]
    starting = subprocess.Popen(
        command,
        cwd=ROOT,
        env=surroundings(data),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_heed_a_closed_terminal,
    )
    assert starting.stdout is not None
    assert starting.stdout.readline() == "database: migrating\n"
    starting.send_signal(signal.SIGHUP)
    _, told = starting.communicate(timeout=60)
    assert (starting.returncode, told.strip()) == (130, "stopped while it was starting; the next start goes on from here")


def test_a_taken_port_and_an_address_of_nobody_are_one_line_each(data: Path) -> None:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert f"127.0.0.1:{port}: cannot listen: Address already in use." in refused(data, "--port", str(port))
    assert "no.such.host.invalid: is no address of this machine" in refused(data, "--host", "no.such.host.invalid")


def test_a_damaged_database_is_one_line_and_stays_as_it_is(data: Path) -> None:
    file = data / "redoubt.sqlite3"
    file.write_bytes(b"not a database" * 1000)
    assert f"{file}: it is damaged. Restore it from your backup" in refused(data)
    assert file.read_bytes() == b"not a database" * 1000
    file.unlink()
    with closing(sqlite3.connect(file)) as database:
        database.execute("CREATE TABLE numbers (number)")
        database.executemany("INSERT INTO numbers VALUES (?)", [(str(number) * 100,) for number in range(1000)])
        database.commit()
    torn = bytearray(file.read_bytes())
    torn[3 * 4096 : 6 * 4096] = os.urandom(3 * 4096)
    file.write_bytes(torn)
    assert f"{file}: it is damaged." in refused(data)


def test_a_file_in_the_place_of_the_folder_is_one_line(data: Path) -> None:
    (data / "var").touch()
    assert f"{data / 'var'}: is a file, not a folder." in refused(data / "var")
    assert f"{data / 'var' / 'below'}: lies below a file" in refused(data / "var" / "below")


@contextmanager
def as_ordinary_user(data: Path) -> Iterator[None]:
    """Permissions mean nothing to root: what is inside is done by somebody to whom they do, and whose the folder is."""
    if os.geteuid() != 0:
        yield
        return
    os.chown(data, 65534, 65534)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
        os.chown(data, 0, 0)


def test_a_folder_that_cannot_be_read_or_written_is_one_line_that_names_what(data: Path) -> None:
    with as_ordinary_user(data):
        (data / "secret_key").touch(0o200)
        with pytest.raises(InputError, match="secret_key: this user may not write or read it"):
            check_folder(data)
        (data / "secret_key").unlink()
        (data / "lost+found").mkdir(0o000)
        check_folder(data)
        for mode in (0o000, 0o500):
            data.chmod(mode)
            with pytest.raises(InputError, match="this user may not"):
                check_folder(data)
        with pytest.raises(InputError, match="this user may not make, read or write it"):
            check_folder(data / "below")
        data.chmod(0o700)
        check_folder(data)


def test_a_folder_of_another_user_is_refused_by_name(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: mine + 1)
    with pytest.raises(InputError, match=r"belongs to \w+, and you are .* Run this as \w+\. Name another folder"):
        check_folder(data)


def test_the_folder_is_let_go_of_at_the_end(data: Path) -> None:
    first = held(data, "http://localhost:1/")
    first.__enter__()
    with pytest.raises(InputError, match="another Redoubt runs on this folder"), held(data, "x"):
        pass
    first.__exit__(None, None, None)
    with held(data, "y"):
        pass


def fill(file: Path) -> None:
    """Writes to a database that may not grow, as on a full disk."""
    database = ConnectionHandler({"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": file}})["default"]
    try:
        with database.cursor() as cursor:
            cursor.execute("PRAGMA max_page_count = 2")
            cursor.execute("CREATE TABLE large AS SELECT randomblob(1000000) AS bytes")
    finally:
        database.close()


@pytest.mark.django_db
def test_a_full_disk_is_one_line_whoever_meets_it(data: Path) -> None:
    file = data / "redoubt.sqlite3"
    with pytest.raises(PlatformError, match=r"redoubt\.sqlite3: the disk is full\. Make room"):
        within(lambda: fill(file), data)
    with pytest.raises(PlatformError, match=r"the disk is full\. Make room; what was stored is still there\."):
        within(lambda: Path("/dev/full").write_text("x"), data)
    with pytest.raises(ValueError, match="other"):
        within(lambda: int("other"), data)


def within(work: Callable[[], object], data: Path) -> None:
    with in_one_sentence(data=data, database=data / "redoubt.sqlite3"):
        work()


def test_a_full_disk_is_logged_as_one_line_once_a_minute_and_other_errors_whole() -> None:
    handler = logging.StreamHandler(io.StringIO())
    handler.addFilter(InOneLine())
    logger = logging.Logger("test")
    logger.addHandler(handler)
    for number in range(3):
        try:
            Path("/dev/full").write_text("x")
        except OSError:
            logger.exception("try %d", number)
    logger.exception("other", exc_info=ValueError("other"))
    logged = handler.stream.getvalue().splitlines()
    assert logged[0].endswith(": the disk is full. Make room; what was stored is still there.")
    assert logged[1:] == ["other", "ValueError: other"]


def test_a_full_disk_is_a_503_with_a_sentence_to_whoever_uses_the_api() -> None:
    answer = handle(OSError(errno.ENOSPC, "No space left on device"), {})
    assert answer is not None
    assert (answer.status_code, answer.data["help"]) == (503, "Nothing was stored; try again later.")
