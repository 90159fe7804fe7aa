"""The command line and the site are one evaluator: the same seed gives the same bits, and a receipt can be replayed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from packs import BASELINE, python_submission, small_pack

from arena.cli.main import main
from evaluator.records import receipt
from tests.e2e.site import ROOT, Site

_ACCOUNT = """
import django
django.setup()
from arena.accounts.services import make_token, sign_up
user = sign_up(username="alice", email="alice@example.org", password="correct horse battery", address="127.0.0.1")
print(make_token(user=user, name="test").secret)
"""


def redoubt(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Runs the command line in a process of its own."""
    command = [sys.executable, "-c", "from arena.cli.main import main; main()", *arguments]
    paths = os.pathsep.join([str(ROOT), str(ROOT / "platform")])
    environment = {**os.environ, "PYTHONPATH": paths, "COLUMNS": "160", **(env or {})}
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=150, cwd=ROOT, env=environment)


@dataclass(frozen=True)
class Done:
    """How a command ended in this process."""

    returncode: int
    stdout: str
    stderr: str


Here = Callable[..., Done]


@pytest.fixture
def here(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Here:
    """Runs the command line in this process: what it refuses or lists needs no start of a new one."""

    def run(*arguments: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["redoubt", *arguments])
        monkeypatch.setenv("COLUMNS", "160")
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return Done(int(ended.value.code or 0), said.out, said.err)

    return run


@pytest.fixture
def key(tmp_path: Path) -> dict[str, str]:
    """A signing key of this test's own."""
    return {"REDOUBT_SIGNING_KEY": str(tmp_path / "key.pem")}


@pytest.fixture(scope="module")
def working_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site with one small pack and a worker."""
    folder = tmp_path_factory.mktemp("site")
    small_pack(folder / "packs", examples=4, shard=2)
    with Site(folder / "data") as site:
        site.manage("publish_packs", "--root", str(folder / "packs"))
        site.serve()
        site.work()
        yield site


@pytest.mark.slow
def test_the_site_and_the_command_line_give_the_same_bits(working_site: Site, tmp_path: Path, key: dict[str, str]) -> None:
    submission = python_submission(tmp_path / "submission")
    token = working_site._run("-c", _ACCOUNT).strip().splitlines()[-1]
    server = {"REDOUBT_SERVER": working_site.url, "REDOUBT_TOKEN": token}
    entered = redoubt("submit", str(submission), "--challenge", "small-mnist", "--wait", env=server)
    assert entered.returncode == 0, entered.stderr + entered.stdout
    assert "robust accuracy" in entered.stdout
    identifier = re.search(r"entered as (\w+)", entered.stdout).group(1)  # type: ignore[union-attr]
    assert identifier in redoubt("status", env=server).stdout

    with urllib.request.urlopen(f"{working_site.url}/entries/{identifier}/receipt.json") as answer:
        (tmp_path / "site.json").write_bytes(answer.read())
    site = receipt.read(tmp_path / "site.json")
    receipt.verify(site)
    pack = str(working_site.data.parent / "packs" / "small-mnist")
    local = redoubt(
        "evaluate", pack, str(submission), "--seed", str(site.seed), "--json", str(tmp_path / "local.json"), env=key
    )
    assert local.returncode == 0, local.stderr
    assert receipt.compare(site, receipt.read(tmp_path / "local.json")) == []

    replayed = redoubt("replay", str(tmp_path / "site.json"), str(submission), "--pack", pack)
    assert replayed.returncode == 0, replayed.stderr
    assert "reproduced bit for bit" in replayed.stdout


def test_a_forged_receipt_and_a_wrong_folder_are_refused_before_anything_runs(
    tmp_path: Path, key: dict[str, str], here: Here
) -> None:
    pack = small_pack(tmp_path, examples=4)
    done = redoubt("evaluate", str(pack.folder), str(BASELINE), "--json", str(tmp_path / "r.json"), env=key)
    assert done.returncode == 0, done.stderr
    assert "getting the images" in done.stderr, "without a terminal, too, it says what it does"
    another = python_submission(tmp_path / "another")
    wrong = here("replay", str(tmp_path / "r.json"), str(another), "--pack", str(pack.folder))
    assert wrong.returncode == 2
    assert "is another submission than the receipt's" in wrong.stderr
    assert "getting the images" not in wrong.stderr, "nothing was computed"
    table = json.loads((tmp_path / "r.json").read_text())
    table["robust_accuracy"] = 1.0
    (tmp_path / "r.json").write_text(json.dumps(table))
    refused = here("replay", str(tmp_path / "r.json"), str(BASELINE), "--pack", str(pack.folder))
    assert refused.returncode == 2
    assert "signature does not fit" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("evaluate", "mnist-lin", "."), 2, 'Did you mean "mnist-linf"?'),
        (("evaluate", "mnist-linf", "/nowhere"), 2, "is not a folder"),
        (("attack", "pdg", "--against", "mnist-standard"), 2, "Nearest: pdpgd, pgd"),
        (("attack", "pgd", "--against", "mnist-standard", "--epsilon", "-1"), 2, "greater than 0"),
        (("attack", "pgd", "--against", "mnist-standard", "--threat", "l0", "--epsilon", "5000"), 2, "must be at most 784"),
        (("attack", "pgd", "--against", "mnist-standard", "-o", "steps=0"), 2, "steps must be at least 1"),
        (("attack", "cw_l2", "--against", "mnist-standard"), 2, "It can do: l2"),
        (("attack", "pgd", "--against", "nobody"), 2, "mnist-standard"),
        (("status", "--server", "http://127.0.0.1:9", "--token", "x"), 3, "Is it running?"),
        (("status",), 2, "REDOUBT_TOKEN"),
    ],
)
def test_wrong_input_is_one_sentence_and_an_exit_code(arguments: tuple[str, ...], code: int, words: str, here: Here) -> None:
    done = here(*arguments)
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_an_attack_writes_a_verified_array_and_a_gallery(tmp_path: Path) -> None:
    import numpy as np

    files = ["--save", str(tmp_path / "o.npz"), "--gallery", str(tmp_path / "g.html")]
    done = redoubt("attack", "pgd", "--against", "mnist-standard", "--examples", "6", "-o", "steps=10", *files)
    assert done.returncode == 0, done.stderr
    stored = np.load(tmp_path / "o.npz", allow_pickle=False)
    assert stored["x_adv"].shape == (6, 1, 28, 28)
    assert stored["broken"].all()
    assert (stored["distance"] <= 0.3).all()
    page = (tmp_path / "g.html").read_text()
    assert page.count("<img ") == 18
    assert "<script" not in page


def test_an_attack_heeds_the_votes_that_a_defense_declares() -> None:
    """Scored by one draw each, clean images and breaks differed from draw to draw and were flagged as such."""
    folder = ROOT / "evaluator" / "defenses" / "reference" / "noise_layers"
    done = redoubt("attack", "pgd", "--against", str(folder), "--examples", "6", "-o", "steps=3", "--epsilon", "0.1")
    assert done.returncode == 0, done.stderr
    assert "the majority of 8 counts" in done.stdout
    assert "flag" not in done.stdout


def test_doctor_says_what_this_machine_can_do() -> None:
    done = redoubt("doctor")
    assert done.returncode == 0, done.stdout
    for words in ("PyTorch", "sandbox bubblewrap", "sandbox docker", "network: full", "MNIST"):
        assert words in done.stdout


@pytest.mark.parametrize("command", ["attacks", "architectures", "challenges"])
def test_catalogs_list_what_there_is(command: str, here: Here) -> None:
    done = here(command)
    expected = {"attacks": "apgd_t", "architectures": "mnist-cnn", "challenges": "mnist-linf"}[command]
    assert done.returncode == 0
    assert expected in done.stdout
