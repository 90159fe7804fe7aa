"""Where Linux's kernel is missing everything but submitted code works, and `doctor` says what does not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from packs import BASELINE, python_submission, small_pack

ROOT = Path(__file__).resolve().parents[2]


def on_macos(*arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'platform'}", "COLUMNS": "200", "XDG_CONFIG_HOME": str(home)}
    command = [sys.executable, str(Path(__file__).with_name("like_macos.py")), *arguments]
    return subprocess.run(command, cwd=home, env=env, capture_output=True, text=True, check=False)


def test_doctor_says_what_is_missing_without_linux(tmp_path: Path) -> None:
    told = on_macos("doctor", home=tmp_path)
    assert told.returncode == 1, told.stderr
    assert "Traceback" not in told.stderr
    for words in (
        "torchvision",
        "bubblewrap needs the Linux kernel",
        "docker needs the Linux kernel",
        "weights-only",
    ):
        assert words in " ".join(told.stdout.split()), told.stdout


def test_weights_are_evaluated_without_linux_and_code_is_refused_with_the_reason(tmp_path: Path) -> None:
    pack = small_pack(tmp_path, examples=4, shard=4)
    assert pack.folder is not None
    told = on_macos("evaluate", str(pack.folder), str(BASELINE), "--json", "report.json", home=tmp_path)
    assert told.returncode == 0, told.stderr
    assert json.loads((tmp_path / "report.json").read_text())["environment"]["lane"] == "in-process"
    code = on_macos("evaluate", str(pack.folder), str(python_submission(tmp_path / "code")), home=tmp_path)
    assert code.returncode == 3
    assert "entries with code can be judged on Linux only" in code.stderr
    assert "Traceback" not in code.stderr
