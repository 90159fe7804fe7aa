"""Settings of the test suite: SQLite in memory, or the PostgreSQL named by REDOUBT_TEST_DATABASE."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from arena.settings.base import *  # noqa: F403
from arena.settings.base import REDOUBT_RATES, env

SECRET_KEY = "only for tests"  # noqa: S105
DEBUG = False
ALLOWED_HOSTS = ["testserver", "localhost", "127.0.0.1"]
DATA_DIR = Path(tempfile.gettempdir()) / "redoubt-tests"
DATA_DIR.mkdir(exist_ok=True)
MEDIA_ROOT = DATA_DIR / "media"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
WHITENOISE_USE_FINDERS = True
REDOUBT_WARM_HOSTS = 0  # tests of the sandbox count what is left in this very process
REDOUBT_RATES = {name: (10_000, seconds) for name, (_, seconds) in REDOUBT_RATES.items()}

# A file, not memory: workers write from a thread of their own, and shared-memory databases do not wait for locks.
DATABASES = {
    "default": env.db_url("REDOUBT_TEST_DATABASE")
    if "REDOUBT_TEST_DATABASE" in env
    else {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": DATA_DIR / "unused.sqlite3",
        "TEST": {"NAME": DATA_DIR / f"test-{os.getpid()}.sqlite3"},
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;",
        },
    }
}
REDOUBT_SIGNING_KEY = str(DATA_DIR / "signing-key.pem")
