"""PostgreSQL, Redis and Celery workers on any number of machines; everything comes from the environment."""

from __future__ import annotations

import os

import structlog

from arena.settings.base import *  # noqa: F403
from arena.settings.base import DATA_DIR, REDOUBT_REQUESTS, REST_FRAMEWORK, env
from arena.settings.networks import tidy

DEBUG = False
SECRET_KEY = env.str("SECRET_KEY")
ALLOWED_HOSTS = tidy(env.list("ALLOWED_HOSTS"))
CSRF_TRUSTED_ORIGINS = tidy(
    env.list("CSRF_TRUSTED_ORIGINS", default=[f"https://{host}" for host in ALLOWED_HOSTS if host != "*"])
)

# Each process has a pool of its own: a place for every request at work, one for the streams' look at the boards, one to spare.
# A connection belongs to no thread, so none outlives its request. Their sum over all processes stays below max_connections.
DATABASE_POOL = env.int("DATABASE_POOL", default=REDOUBT_REQUESTS + 2)
# A password by itself needs no escaping; in the address it does.
_PASSWORD = os.environ.get("DATABASE_PASSWORD", "")
_DATABASE = {**env.db_url("DATABASE_URL"), **({"PASSWORD": _PASSWORD} if _PASSWORD else {})}
DATABASES = {
    "default": {
        **_DATABASE,
        "CONN_MAX_AGE": 0,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {
            **_DATABASE.get("OPTIONS", {}),
            "connect_timeout": 5,
            "pool": {"min_size": 0, "max_size": DATABASE_POOL, "timeout": 5.0, "max_idle": 60.0},
        },
    }
}

REDIS_URL = env.str("REDIS_URL")
CACHES = {
    "default": {
        "BACKEND": "arena.web.cache.SurvivingRedisCache",
        "LOCATION": REDIS_URL,
        "OPTIONS": {"socket_connect_timeout": 1, "socket_timeout": 1},
    }
}

REDOUBT_QUEUE = "celery"
CELERY_BROKER_URL = REDIS_URL
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
# A broker that is down costs an upload a moment, not its request: the sweep sends the message again.
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "socket_connect_timeout": 2,
    "socket_timeout": 5,
    "max_retries": 1,
    "interval_start": 0.1,
}
CELERY_BROKER_CONNECTION_MAX_RETRIES = None  # a worker waits for its broker as long as it takes
CELERY_TASK_IGNORE_RESULT = True
# Queues by kind: "work" (evaluations and cells) and "looks" (first looks at attacks, reported within a minute). The sweep is a
# process of its own, `manage.py sweeper`: it must not wait behind the evaluations whose dead workers it is there to find.
CELERY_TASK_DEFAULT_QUEUE = "work"
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_DISABLE_PREFETCH = True  # work takes minutes: no message waits in a busy worker while another one is idle
CELERY_WORKER_HIJACK_ROOT_LOGGER = False

REST_FRAMEWORK = {**REST_FRAMEWORK, "NUM_PROXIES": env.int("NUM_PROXIES", default=1)}  # TLS ends at a proxy
REDOUBT_SIGNING_KEY = env.str("REDOUBT_SIGNING_KEY")  # one key for all workers

STATIC_ROOT = DATA_DIR / "static"  # filled by `manage.py collectstatic`
# With STORAGE_BACKEND set (for instance storages.backends.s3.S3Storage) archives go there; STORAGE_OPTIONS is its JSON.
STORAGES = {
    "default": {
        "BACKEND": env.str("STORAGE_BACKEND", default="django.core.files.storage.FileSystemStorage"),
        "OPTIONS": env.json("STORAGE_OPTIONS", default={}),
    },
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}

# TLS ends at the proxy in front; it must set X-Forwarded-Proto and strip any that a client sends.
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SECURE_SSL_REDIRECT = env.bool("SECURE_SSL_REDIRECT", default=True)
SECURE_HSTS_SECONDS = env.int("SECURE_HSTS_SECONDS", default=365 * 24 * 3600)
# Both bind more than this site, for long, and the second is hard to take back: the owner of the domain says so, or nobody.
SECURE_HSTS_INCLUDE_SUBDOMAINS = env.bool("SECURE_HSTS_INCLUDE_SUBDOMAINS", default=False)
SECURE_HSTS_PRELOAD = env.bool("SECURE_HSTS_PRELOAD", default=False)
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]  # they ask for these two
SESSION_COOKIE_SECURE = True
CSRF_COOKIE_SECURE = True

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "json": {
            "()": "structlog.stdlib.ProcessorFormatter",
            "processor": structlog.processors.JSONRenderer(),
            "foreign_pre_chain": [
                structlog.stdlib.add_log_level,
                structlog.stdlib.add_logger_name,
                structlog.processors.TimeStamper(fmt="iso"),
                structlog.processors.format_exc_info,
            ],
        }
    },
    "filters": {"storage": {"()": "arena.serving.storage_faults.InOneLine"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json", "filters": ["storage"]}},
    "root": {"handlers": ["stderr"], "level": env.str("REDOUBT_LOG_LEVEL", default="INFO")},
}
