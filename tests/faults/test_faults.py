"""kill -9 at random moments: nothing is lost, nothing is there twice, and the board is that of an undisturbed run."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from evaluator.records.receipt import verify
from evaluator.records.report import Report
from tests.faults.entries import defense
from tests.faults.site import ROOT, Site, kill
from tests.needs import SUPERUSER
from tests.sandbox.engine import reachable_engine

_EVALUATION_SECONDS = 120.0  # the longest that one may take here, with all its disturbances
_MOMENTS = 2.5  # seconds after its beginning within which an evaluation is disturbed

Strike = Callable[[Site, random.Random], None]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    SUPERUSER.unless(os.geteuid() == 0),  # only root's jobs can be told apart by their groups
]


class Sites:
    """Makes installations, and ends what is left of them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: list[Site] = []

    def make(self, sandbox: str, docker_host: str = "") -> Site:
        site = Site(self._folder / "site", sandbox, docker_host)
        self._made.append(site)
        site.prepare()
        return site

    def copy(self, site: Site) -> Site:
        """The same on the engine that is everybody's and that nobody kills."""
        self._made.append(site.copy(self._folder / "calm"))
        return self._made[-1]

    def end(self) -> None:
        for site in self._made:
            for process in (site.web, *site.workers, site.launcher):
                if process is not None:
                    kill(process)


@pytest.fixture
def sites(tmp_path: Path) -> Iterator[Sites]:
    made = Sites(tmp_path)
    yield made
    made.end()


@pytest.fixture
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a Docker engine of the test's own, which may be killed."""
    reachable_engine()  # where there is none there is no program to start one with
    folder = Path(f"/tmp/faults-{os.getpid()}")  # a socket's path is short
    try:
        start_engine(folder)
        yield folder
    finally:
        subprocess.run([ROOT / "deploy/dev/docker-engine", "stop", folder], check=True)


def start_engine(folder: Path) -> None:
    subprocess.run([ROOT / "deploy/dev/docker-engine", "start", folder], stdout=subprocess.DEVNULL, check=True)


def enter(site: Site, entries: int, rng: random.Random, *, kills: int) -> None:
    """Uploads the entries; the web process is killed in the middle of `kills` of the uploads, and the client tries again."""
    site.start_web()
    site.wait_for(lambda: site.upload(defense(0)) != "unreachable", seconds=60, why="the first upload")
    unlucky = set(rng.sample(range(1, entries), kills) if kills else [])
    for number in range(1, entries):
        archive, answers = defense(number), list[str]()
        if number in unlucky:
            uploading = threading.Thread(target=lambda: answers.append(site.upload(archive)))  # noqa: B023 (joined at once)
            uploading.start()
            time.sleep(rng.uniform(0, 0.15))
            assert site.web is not None
            kill(site.web)
            uploading.join()
            site.start_web()
        site.wait_for(lambda: site.upload(archive) in ("created", "known"), seconds=60, why="an upload")  # noqa: B023


def storm(site: Site, strikes: list[Strike], rng: random.Random) -> None:
    """Each strike hits at a random moment of its evaluation (spread over all of them); then everything may come to its end."""
    begun = time.monotonic()
    site.start_worker()
    entries = site.count("evaluations_evaluation")
    for number, strike in enumerate(strikes):
        due = number * entries // len(strikes)
        site.wait_for(lambda: site.settled() >= due, seconds=_EVALUATION_SECONDS * (due + 1), why="its turn")  # noqa: B023
        site.wait_for(lambda: bool(site.hosts()) or site.finished(), seconds=_EVALUATION_SECONDS, why="a host")
        time.sleep(rng.uniform(0, _MOMENTS))
        strike(site, rng)
        print(f"{time.monotonic() - begun:7.0f} s: {site.settled()} of {entries} settled, {strike.__name__}", flush=True)
        if site.worker.poll() is not None:
            site.start_worker()
    site.wait_for(site.finished, seconds=_EVALUATION_SECONDS * entries, why="the end")


def strike_worker(site: Site, rng: random.Random) -> None:
    kill(site.worker)


def strike_host(site: Site, rng: random.Random) -> None:
    site.wait_for(lambda: bool(site.hosts()) or site.finished(), seconds=_EVALUATION_SECONDS, why="a host to kill")
    for pid in rng.sample(site.hosts(), k=1) if site.hosts() else []:
        os.kill(pid, signal.SIGKILL)


def strike_web(site: Site, rng: random.Random) -> None:
    assert site.web is not None
    kill(site.web)
    site.start_web()


def strike_launcher(site: Site, rng: random.Random) -> None:
    assert site.launcher is not None
    kill(site.launcher)
    time.sleep(rng.uniform(0, 1))
    site.start_launcher()


def strike_guardian(site: Site, rng: random.Random) -> None:
    """Then nobody is left to remove the containers of the process that made them, which is killed next."""
    guardians = subprocess.run(["pgrep", "-f", f"docker_guardian.py {site.holder.pid} "], capture_output=True, text=True)
    for pid in guardians.stdout.split():
        os.kill(int(pid), signal.SIGKILL)
    if site.launcher is None:
        kill(site.worker)
    else:
        strike_launcher(site, rng)


def striking_engine(folder: Path) -> Strike:
    """kill -9 of the engine and of the containerd that it started, which a new engine would otherwise wait for in vain."""

    def strike_engine(site: Site, rng: random.Random) -> None:
        for pid in (folder / "pid", folder / "exec/containerd/containerd.pid"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid.read_text()), signal.SIGKILL)
        time.sleep(rng.uniform(0, 1))
        start_engine(folder)

    return strike_engine


def assert_as_undisturbed(site: Site, calm: Site) -> None:
    """Nothing lost, nothing double, the same board, receipts that verify, no trace left."""
    entries = calm.count("submissions_submission")
    for each in (site, calm):
        assert [row["entry"][1] for row in each.board()] == ["completed"] * entries, each.told()
    for disturbed, undisturbed in zip(site.board(), calm.board(), strict=True):
        assert disturbed == undisturbed
    assert site.count("submissions_submission") == site.count("leaderboards_standing") == entries
    assert len({verify(Report.model_validate_json(report)) for report in site.reports()}) == 1
    assert len(site.reports()) == entries
    for each in (site, calm):
        each.stop()
    # What a killed worker left is found by the next one, which looks once a minute: the engine may have been slow to make it.
    site.start_worker()
    site.wait_for(lambda: site.leftovers() == [], seconds=90, why="leftovers")
    site.stop()


def run(site: Site, calm: Site, strikes: list[Strike], rng: random.Random) -> None:
    calm.start_worker()
    storm(site, strikes, rng)
    calm.wait_for(calm.finished, seconds=_EVALUATION_SECONDS * calm.count("evaluations_evaluation"), why="the undisturbed run")
    assert_as_undisturbed(site, calm)


def test_kills_of_worker_host_and_web_leave_the_board_as_it_would_have_been(sites: Sites) -> None:
    rng = random.Random(1)
    site = sites.make("bubblewrap")
    enter(site, 2, rng, kills=1)
    run(site, sites.copy(site), [strike_host, strike_web, strike_worker], rng)


@pytest.mark.docker
def test_kills_of_engine_and_guardian_leave_the_board_as_it_would_have_been(sites: Sites, engine: Path) -> None:
    rng = random.Random(2)
    site = sites.make("docker", f"unix://{engine}/docker.sock")
    enter(site, 1, rng, kills=0)
    run(site, sites.copy(site), [striking_engine(engine), strike_guardian], rng)


@pytest.mark.docker
def test_kills_of_the_launcher_leave_the_board_as_it_would_have_been(sites: Sites, engine: Path) -> None:
    rng = random.Random(4)
    site = sites.make("launcher", f"unix://{engine}/docker.sock")
    enter(site, 1, rng, kills=0)
    run(site, sites.copy(site), [strike_launcher, strike_guardian], rng)


@pytest.mark.nightly
@pytest.mark.docker
@pytest.mark.timeout(4 * 3600)
@pytest.mark.parametrize(("backend", "entries"), [("bubblewrap", 70), ("docker", 70), ("launcher", 60)])
def test_two_hundred_evaluations_survive_two_hundred_kills(backend: str, entries: int, sites: Sites, engine: Path) -> None:
    rng = random.Random(3)
    site = sites.make(backend, "" if backend == "bubblewrap" else f"unix://{engine}/docker.sock")
    enter(site, entries, rng, kills=20)
    strikes: list[Strike] = [strike_worker, strike_host, strike_web]
    if backend != "bubblewrap":
        strikes += [striking_engine(engine), strike_guardian]
    if backend == "launcher":
        strikes.append(strike_launcher)
    run(site, sites.copy(site), rng.choices(strikes, k=47), rng)
