"""A whole embedded installation in a folder of its own: web and worker processes that can be killed and started again."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

import evaluator
from arena.running import lanes
from sandbox.kernel import cgroups
from sandbox.launcher.client import SCRATCH, SOCKET
from sandbox.python_env import python_mounts
from tests.sandbox.engine import owned_containers

ROOT = Path(__file__).resolve().parents[2]
LEASE_SECONDS = 3.0
_PREPARE = """
from django.core.management import call_command
call_command("migrate", verbosity=0)
from pathlib import Path
from arena.accounts.services import make_token
from arena.challenges.services import publish
from tests.faults.entries import small_pack
from tests.web.backend_support import person
publish(pack=small_pack(Path({folder!r})))
print(make_token(user=person(), name="faults").secret)
"""


@dataclass
class Site:
    """folder: holds all its data, its temporary files too. sandbox: the backend that its workers use.

    docker_host: the engine of workers that use it; with the sandbox "launcher" only the launcher knows it. "" is everybody's.
    """

    folder: Path
    sandbox: str
    docker_host: str = ""
    token: str = ""
    port: int = 0
    web: subprocess.Popen[bytes] | None = None
    launcher: subprocess.Popen[bytes] | None = None
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "arena.settings.embedded",
            "PYTHONPATH": f"{ROOT}:{ROOT / 'platform'}",
            "REDOUBT_DATA": str(self.folder / "data"),
            "REDOUBT_SANDBOX": self.sandbox,
            "REDOUBT_LEASE_SECONDS": str(LEASE_SECONDS),
            "REDOUBT_RETRY_SECONDS": "1",
            "REDOUBT_SUBMISSIONS_PER_DAY": "1000",
            "TMPDIR": str(self.temporary),
            **self._engine(),
        }

    def _engine(self) -> dict[str, str]:
        if self.sandbox == "launcher":
            return {SOCKET: str(self.folder / "launcher"), SCRATCH: str(self.pipes), "DOCKER_HOST": "unix:///nowhere"}
        return {"DOCKER_HOST": self.docker_host} if self.docker_host else {}

    @property
    def temporary(self) -> Path:
        return self.folder / "tmp"

    @property
    def pipes(self) -> Path:
        return self.folder / "pipes"

    @property
    def database(self) -> Path:
        return self.folder / "data" / "redoubt.sqlite3"

    def prepare(self) -> None:
        """Migrates, publishes the small challenge, signs up a person and makes her token."""
        for place in (self.temporary, self.pipes):
            place.mkdir(parents=True, exist_ok=True)
        script = _PREPARE.format(folder=str(self.folder))
        command = [sys.executable, "manage.py", "shell", "-v", "0", "-c", script]
        made = subprocess.run(command, cwd=ROOT, env=self.environment, check=True, capture_output=True, text=True)
        self.token = made.stdout.split()[-1]

    def copy(self, folder: Path) -> Site:
        """The same installation, with nothing running, somewhere else."""
        shutil.copytree(self.folder / "data", folder / "data", ignore=shutil.ignore_patterns("redoubt.sqlite3*"))
        for name in ("tmp", "pipes"):
            (folder / name).mkdir()
        with sqlite3.connect(self.database) as ours, sqlite3.connect(folder / "data" / self.database.name) as theirs:
            ours.backup(theirs)
        ours.close()
        theirs.close()
        return Site(folder, self.sandbox, token=self.token)

    def start_web(self) -> None:
        with socket.socket() as chosen:
            chosen.bind(("127.0.0.1", 0))
            self.port = chosen.getsockname()[1]
        listen = ["--host", "127.0.0.1", "--port", str(self.port), "--no-access-log", "--log-level", "error"]
        command = [sys.executable, "-m", "uvicorn", "arena.asgi:application", *listen]
        self.web = subprocess.Popen(command, cwd=ROOT, env=self.environment)

    def start_launcher(self) -> None:
        """A launcher whose template is what workers would otherwise give their jobs themselves; it alone knows the engine."""
        mounts, python, env = python_mounts([Path(evaluator.__file__).parent])
        named = {"listen": self.folder / "launcher", "python": python, "inputs": self.temporary, "scratch": self.pipes}
        lines = [f"{name} = {json.dumps(str(value))}" for name, value in named.items()]
        lines += ["[programs]", f'"evaluator.host.serve" = "{lanes.SUBMISSION}"']
        lines += ["[ceilings]", "memory_mb = 8192", "seconds = 86400.0", "processes = 1024", "cpus = 8.0"]
        lines += ["[env]", *(f"{name} = {json.dumps(value)}" for name, value in env.items())]
        lines += [f'[[mounts]]\nsource = "{mount.source}"\ntarget = "{mount.target}"' for mount in mounts]
        lines += ["[engine]", f'host = "{self.docker_host}"'] if self.docker_host else []
        settings = self.folder / "launcher.toml"
        settings.write_text("\n".join(lines))
        command = [sys.executable, "-m", "sandbox.launcher", str(settings)]
        with (self.folder / "launcher.log").open("ab") as log:
            self.launcher = subprocess.Popen(command, cwd=ROOT, stderr=log)

    def start_worker(self) -> subprocess.Popen[bytes]:
        if self.sandbox == "launcher" and self.launcher is None:
            self.start_launcher()
        with (self.folder / "worker.log").open("ab") as log:
            worker = subprocess.Popen([sys.executable, "manage.py", "worker"], cwd=ROOT, env=self.environment, stderr=log)
        self.workers.append(worker)
        return worker

    @property
    def worker(self) -> subprocess.Popen[bytes]:
        return self.workers[-1]

    @property
    def holder(self) -> subprocess.Popen[bytes]:
        """The process that made the newest containers, and whose death its guardian waits for."""
        return self.launcher or self.worker

    def stop(self) -> None:
        """Asks the worker to stop, kills the web process; the launcher stays."""
        if self.web is not None:
            kill(self.web)
        for worker in self.workers:
            if worker.poll() is None:
                worker.send_signal(signal.SIGTERM)
        for worker in self.workers:
            try:
                worker.wait(timeout=30)
            except subprocess.TimeoutExpired:
                kill(worker)

    def upload(self, archive: bytes) -> str:
        """POSTs an archive: "created", "known" for one that is there already, or "unreachable"."""
        url, headers = f"http://127.0.0.1:{self.port}/api/v1/submissions", {"Authorization": f"Bearer {self.token}"}
        try:
            answer = httpx.post(
                url, headers=headers, data={"challenge": "small-mnist"}, files={"archive": ("defense.zip", archive)}, timeout=30
            )
        except httpx.TransportError:
            return "unreachable"
        if answer.status_code == 201:
            return "created"
        assert "Exactly these files were entered before" in answer.text, answer.text
        return "known"

    def read(self, sql: str) -> list[tuple[Any, ...]]:
        database = sqlite3.connect(self.database, timeout=20)
        try:
            return database.execute(sql).fetchall()
        finally:
            database.close()

    def count(self, sql: str) -> int:
        return int(self.read(f"select count(*) from {sql}")[0][0])

    def finished(self) -> bool:
        return self.count("jobs_trial where judge = 'official' and state in ('queued', 'running')") == 0

    def settled(self) -> int:
        return self.count("jobs_trial where judge = 'official' and state not in ('queued', 'running')")

    def wait_for(self, what: Callable[[], bool], *, seconds: float, why: str) -> None:
        until = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < until, f"{why}: {self.told()}"
            time.sleep(0.02)

    def told(self) -> str:
        """What explains a failure: what is unfinished or failed, and the last words of worker and launcher."""
        shards = self.read("select state, lease_number, attempts, outcome from jobs_shard where state != 'done'")
        failed = self.read("select state, reason from jobs_trial where judge = 'official' and state != 'completed'")
        logs = [path.read_text()[-6000:] for path in self.folder.glob("*.log")]
        return "\n".join([f"shards {shards[:9]}", f"evaluations {failed[:9]}", f"left {self.leftovers()}", *logs])

    def board(self) -> list[dict[str, Any]]:
        """What the final board rests on, without times and signatures."""
        sql = """
            select s.name, j.state, j.reason, j.seed, e.robust_accuracy, e.clean_accuracy, e.verified, e.forward_rows,
                   e.backward_rows, e.report, t.robust_accuracy
            from submissions_submission s join evaluations_evaluation e on e.submission_id = s.id
            join jobs_trial j on j.key = e.trial_id
            left join leaderboards_standing t on t.evaluation_id = e.id order by s.id
        """
        return [{**_bits(row[9]), "entry": row[:9], "standing": row[10]} for row in self.read(sql)]

    def reports(self) -> list[str]:
        return [row[0] for row in self.read("select report from evaluations_evaluation where report is not null")]

    def hosts(self) -> list[int]:
        """Processes of the worker's jobs, by their control groups or containers."""
        found = set()
        for process in Path("/proc").iterdir():
            if process.name.isdigit():
                with contextlib.suppress(OSError):
                    groups, command = (process / "cgroup").read_text(), (process / "cmdline").read_bytes()
                    if b"evaluator.host" in command and any(mark in groups for mark in self._marks()):
                        found.add(int(process.name))
        return sorted(found)

    def _marks(self) -> list[str]:
        if self.sandbox in ("docker", "launcher"):
            return [container["Id"] for container in self.containers()]
        return [f"-{worker.pid}-" for worker in self.workers]

    def containers(self) -> list[dict[str, Any]]:
        """Containers of the private engine, in any state."""
        return owned_containers(host=self.docker_host)

    def leftovers(self) -> list[str]:
        """Everything that could outlive the workers: groups (and so processes), containers, temporary folders, mounts."""
        left = [str(path) for place in (self.temporary, self.pipes) for path in place.iterdir()]
        pids = [worker.pid for worker in self.workers]
        for parent in {str(parent.path) for parent in cgroups.parents().values()}:
            left += [str(path) for pid in pids for path in Path(parent).glob(f"sandbox-*-{pid}-*")]
        left += [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if f"{self.folder}/" in line]
        if self.docker_host:
            left += [container["Id"] for container in self.containers()]
        return left


def kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def _bits(report: str | None) -> dict[str, Any]:
    """What of a report does not depend on when it was made."""
    told: dict[str, Any] = json.loads(report or '{"attacks": []}')
    for name in ("seconds", "receipt"):
        told.pop(name, None)
    for attack in told["attacks"]:
        attack.pop("seconds", None)
    return told
