"""One machine, no services: SQLite, local files, an embedded worker. The default of `manage.py`."""

from __future__ import annotations

from arena.settings.base import *  # noqa: F403
from arena.settings.base import DATA_DIR, env
from arena.settings.networks import tidy
from arena.settings.secret import load_or_make

DATA_DIR.mkdir(parents=True, exist_ok=True)
SECRET_KEY = load_or_make(DATA_DIR / "secret_key")
DEBUG = env.bool("REDOUBT_DEBUG", default=False)
ALLOWED_HOSTS = tidy(env.list("REDOUBT_HOSTS", default=["localhost", "127.0.0.1", "[::1]", "0.0.0.0"]))  # noqa: S104
CSRF_TRUSTED_ORIGINS = tidy(env.list("REDOUBT_ORIGINS", default=[]))

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": DATA_DIR / "redoubt.sqlite3",
        "OPTIONS": {
            # Writers queue up instead of failing: a write lock is taken at BEGIN and waited for.
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        },
    }
}

# Static files are served from the packages themselves: there is no collectstatic step.
WHITENOISE_USE_FINDERS = True
