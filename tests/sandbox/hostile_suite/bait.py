"""What is worth attacking on this machine, laid open as a careless administrator might: only the sandbox protects it."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from sandbox import SandboxError
from sandbox.bubblewrap.sandbox import find_bwrap

_LAUNCHED = ("database", "redis", "site")


class Bait(contextlib.ExitStack):
    """A folder of files, services on loopback and AF_UNIX, a process to kill and a secret in the environment.

    A hostile program is told where everything is, but not `secret`, which all of it holds.
    """

    def __enter__(self) -> Bait:
        super().__enter__()
        self.secret = secrets.token_hex(16)
        self.folder = Path(self.enter_context(tempfile.TemporaryDirectory(prefix="bait-")))
        self.folder.chmod(0o755)
        self._make_files()
        self._services = {name: self._listen((socket.AF_INET, ("127.0.0.1", 0))) for name in _LAUNCHED}
        self._services["unix"] = self._listen((socket.AF_UNIX, str(self.folder / "socket")))
        (self.folder / "socket").chmod(0o777)
        self._services["abstract"] = self._listen((socket.AF_UNIX, f"\0bait-{self.secret[:8]}"))
        self._names = self.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        self._names.bind(("127.0.0.1", 0))
        self._names.setblocking(False)
        variable = f"REDOUBT_SECRET_{self.secret[:8]}"
        os.environ[variable] = self.secret
        self.callback(os.environ.pop, variable)
        self._start_victim()
        self._files = self._state()
        return self

    def told(self) -> str:
        """What the hostile program knows, as JSON."""
        ports = {name: self._services[name].getsockname()[1] for name in _LAUNCHED}
        return json.dumps(
            {
                "folder": str(self.folder),
                "ports": {**ports, "dns": self._names.getsockname()[1]},
                "abstract": self._services["abstract"].getsockname().decode().replace("\0", "@"),
                "victim": self.victim.pid,
                "evaluator": os.getpid(),
                "host": _folders(),
            }
        )

    def harm(self) -> list[str]:
        """What has been done to it since the last time, one sentence each."""
        found = [f"the {name} was reached" for name, service in self._services.items() if _was_called(service)]
        with contextlib.suppress(BlockingIOError):
            self._names.recv(1)
            found.append("a name server was asked")
        if self._state() != self._files:
            found.append("files of the host were changed")
        if self.victim.poll() is not None or _stopped(self.victim.pid):
            found.append("a process of the host was killed or stopped")
        return found

    def _make_files(self) -> None:
        (self.folder / "secret").write_text(self.secret)
        (self.folder / "file").write_text(self.secret)
        (self.folder / "file").chmod(0o666)
        (self.folder / "open").mkdir()
        (self.folder / "open").chmod(0o777)
        other = self.folder / "submissions" / "other"
        other.mkdir(parents=True)
        (other / "weights.safetensors").write_text(self.secret)

    def _listen(self, address: tuple[socket.AddressFamily, object]) -> socket.socket:
        service = self.enter_context(socket.socket(address[0]))
        service.bind(address[1])  # type: ignore[arg-type]  # which type it takes depends on the family
        service.listen()
        service.setblocking(False)
        return service

    def _start_victim(self) -> None:
        """It runs as the user that jobs run as, where that can be had: only the sandbox keeps them from killing it."""
        user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"] if os.geteuid() == 0 else []
        self.victim = subprocess.Popen(
            [*user, "/bin/sleep", "86400"], env={"VICTIM_SECRET": self.secret, "PATH": "/usr/bin:/bin"}
        )
        self.callback(self.victim.wait)
        self.callback(self.victim.kill)

    def _state(self) -> dict[str, tuple[int, int, bytes]]:
        files = [path for path in self.folder.rglob("*") if path.is_file()]
        state = {str(path): (path.stat().st_mode, path.stat().st_mtime_ns, path.read_bytes()) for path in files}
        return state | {str(path): (path.lstat().st_mode, 0, b"") for path in self.folder.rglob("*") if not path.is_file()}


def _folders() -> list[str]:
    """Where on the host our packages and programs are."""
    folders = {sys.prefix, sys.base_prefix, str(Path(__file__).resolve().parents[3])}
    with contextlib.suppress(SandboxError):
        folders.add(str(Path(find_bwrap()).parent))
    return sorted(folders - {"/usr", "/usr/bin"})


def _was_called(service: socket.socket) -> bool:
    try:
        service.accept()[0].close()
    except BlockingIOError:
        return False
    return True


def _stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "Tt"
