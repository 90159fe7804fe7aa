"""The settings of each installation keep their promises."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from arena.settings.data_folder import default_data_folder
from arena.settings.secret import load_or_make

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = ROOT / "platform" / "arena" / "settings"
PRODUCTION = {
    "DJANGO_SETTINGS_MODULE": "arena.settings.production",
    "SECRET_KEY": "k" * 25 + "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789",
    "ALLOWED_HOSTS": "redoubt.example.org",
    "DATABASE_URL": "postgres://redoubt@localhost/redoubt",
    "REDIS_URL": "redis://localhost/0",
    "REDOUBT_SIGNING_KEY": "signing-key.pem",
}


def manage(*arguments: str, folder: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "manage.py"), *arguments]
    clean = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    env = {**clean, "REDOUBT_DATA": str(folder / "data"), **env}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)


def test_djangos_deployment_check_finds_nothing_in_production(tmp_path: Path) -> None:
    ran = manage("check", "--deploy", "--fail-level", "WARNING", folder=tmp_path, env=PRODUCTION)
    assert ran.returncode == 0, ran.stderr


SAY = """
import json
from django.conf import settings
print(json.dumps({name: getattr(settings, name) for name in NAMES}, default=str))
"""


def production_settings(folder: Path, names: list[str], **env: str) -> dict[str, Any]:
    ran = manage("shell", "-v", "0", "-c", SAY.replace("NAMES", repr(names)), folder=folder, env={**PRODUCTION, **env})
    assert ran.returncode == 0, ran.stderr
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


@pytest.mark.parametrize("password", ["p@ss/w:rd?#[", "$HOME", "100%41"])
def test_any_password_reaches_the_database_as_it_is(tmp_path: Path, password: str) -> None:
    found = production_settings(tmp_path, ["DATABASES"], DATABASE_PASSWORD=password)["DATABASES"]["default"]
    assert (found["PASSWORD"], found["HOST"], found["USER"]) == (password, "localhost", "redoubt")


def test_hosts_and_origins_are_read_without_the_spaces_that_people_write(tmp_path: Path) -> None:
    given = {
        "ALLOWED_HOSTS": "one.example.org, two.example.org ,",
        "CSRF_TRUSTED_ORIGINS": " https://a.example.org , https://b.example.org",
    }
    assert production_settings(tmp_path, list(given), **given) == {
        "ALLOWED_HOSTS": ["one.example.org", "two.example.org"],
        "CSRF_TRUSTED_ORIGINS": ["https://a.example.org", "https://b.example.org"],
    }
    assert production_settings(tmp_path, ["CSRF_TRUSTED_ORIGINS"], ALLOWED_HOSTS="one.example.org, two.example.org") == {
        "CSRF_TRUSTED_ORIGINS": ["https://one.example.org", "https://two.example.org"]
    }


def test_no_password_is_part_of_an_address_in_the_compose_file() -> None:
    assert "PASSWORD:?}@" not in (ROOT / "deploy" / "compose.yaml").read_text()


def test_only_who_asks_for_it_binds_subdomains_and_browsers_lists_to_tls(tmp_path: Path) -> None:
    names = ["SECURE_HSTS_INCLUDE_SUBDOMAINS", "SECURE_HSTS_PRELOAD"]
    assert production_settings(tmp_path, names) == dict.fromkeys(names, False)
    assert production_settings(tmp_path, names, **dict.fromkeys(names, "true")) == dict.fromkeys(names, True)


def test_a_checkout_keeps_its_data_in_var_and_an_installed_wheel_in_the_users_data_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert default_data_folder(ROOT) == ROOT / "var"
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    installed = tmp_path / "environment" / "lib" / "python3.11"
    installed.mkdir(parents=True)
    assert default_data_folder(installed).is_relative_to(tmp_path / "home")


def test_manage_py_runs_from_any_folder_with_the_embedded_settings(tmp_path: Path) -> None:
    ran = manage("migrate", "-v", "0", folder=tmp_path, env={})
    assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "data" / "redoubt.sqlite3").is_file()
    wal = manage("shell", "-v", "0", "-c", JOURNAL_MODE, folder=tmp_path, env={})
    assert wal.stdout.strip() == "wal"


JOURNAL_MODE = "from django.db import connection as c; k = c.cursor(); k.execute('pragma journal_mode'); print(k.fetchone()[0])"


def test_migrations_say_what_the_models_say(tmp_path: Path) -> None:
    ran = manage("makemigrations", "--check", "--dry-run", folder=tmp_path, env={})
    assert ran.returncode == 0, ran.stdout


def test_the_web_imports_no_torch_and_no_statistics_before_it_needs_them(tmp_path: Path) -> None:
    code = "import sys, arena.asgi, arena.urls, arena.jobs.worker; print({'torch', 'scipy.stats'} & set(sys.modules))"
    ran = manage("shell", "-v", "0", "-c", code, folder=tmp_path, env={})
    assert ran.stdout.strip() == "set()", ran.stderr


@pytest.mark.parametrize("module", ["base", "production"])
def test_every_variable_is_documented(module: str) -> None:
    names = set(re.findall(r'env\.\w+\(\s*"([A-Z_]+)"', (SETTINGS / f"{module}.py").read_text()))
    page = (ROOT / "deploy" / "README.md").read_text()
    assert names
    assert not {name for name in names if f"`{name}`" not in page}


def test_the_secret_key_is_made_once_and_is_nobody_elses_to_read(tmp_path: Path) -> None:
    path = tmp_path / "secret_key"
    first = load_or_make(path)
    assert len(first) > 50
    assert load_or_make(path) == first
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.django_db
def test_every_answer_carries_a_policy_without_inline_scripts_or_styles() -> None:
    policy = Client().get("/api/v1/challenges")["Content-Security-Policy"]
    assert "script-src 'self'" in policy
    assert "style-src 'self'" in policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
