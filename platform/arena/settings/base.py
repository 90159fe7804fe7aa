"""What every kind of installation shares."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import environ  # type: ignore[import-untyped]  # ships no types
from csp.constants import NONE, SELF

from arena.settings.data_folder import default_data_folder
from arena.settings.networks import read_networks

env = environ.Env()
BASE_DIR = Path(__file__).resolve().parents[3]
DATA_DIR = Path(env.str("REDOUBT_DATA", default=str(default_data_folder(BASE_DIR)))).resolve()

# The Markdown files of /docs/: the checkout's, or in an installed package the copy beside the site.
REDOUBT_DOCS = (
    BASE_DIR if (BASE_DIR / "docs" / "README.md").is_file() else Path(__file__).resolve().parents[1] / "web" / "documents"
)

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_htmx",
    "template_partials",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "arena.accounts",
    "arena.challenges",
    "arena.submissions",
    "arena.jobs",
    "arena.evaluations",
    "arena.leaderboards",
    "arena.matrix",
    "arena.demo",
    "arena.api",
    "arena.web",
]

MIDDLEWARE = [
    "arena.serving.admission.admission",
    "django.middleware.security.SecurityMiddleware",
    "arena.serving.files.StaticFiles",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    }
]

ROOT_URLCONF = "arena.urls"
ASGI_APPLICATION = "arena.asgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = False

AUTH_USER_MODEL = "accounts.User"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]
LOGIN_URL = "/log-in/"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = "/"

STATIC_URL = "/static/"
MEDIA_ROOT = DATA_DIR / "media"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
FILE_UPLOAD_PERMISSIONS = 0o600
FILE_UPLOAD_HANDLERS = [
    "django.core.files.uploadhandler.MemoryFileUploadHandler",
    "arena.submissions.spooling.NamelessFileUploadHandler",
]

# No inline script or style anywhere, and nothing from another origin.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "form-action": [SELF],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
        "object-src": [NONE],
    }
}
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_SAMESITE = "Lax"

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["arena.api.authentication.TokenAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticatedOrReadOnly"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_THROTTLE_CLASSES": ["arena.api.throttling.CallThrottle"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "arena.api.errors.handle",
    # How many proxies in front append to X-Forwarded-For; 0: the header is not believed (arena.accounts.rates).
    "NUM_PROXIES": env.int("NUM_PROXIES", default=0),
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
}
SPECTACULAR_SETTINGS = {
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "TITLE": "Redoubt",
    "DESCRIPTION": "Challenges, submissions and evaluations of adversarial robustness.",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "COMPONENT_SPLIT_REQUEST": True,
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "arena.api.schema.document_errors",
        "arena.api.schema.allow_empty_squares",
    ],
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
    "filters": {"storage": {"()": "arena.serving.storage_faults.InOneLine"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line", "filters": ["storage"]}},
    "root": {"handlers": ["stderr"], "level": env.str("REDOUBT_LOG_LEVEL", default="INFO")},
}

# What runs entries (see arena.jobs.runner), in which sandbox, and the key that signs receipts (made on first use).
REDOUBT_RUNNER = "arena.jobs.runner.Runner"
REDOUBT_SANDBOX = env.str("REDOUBT_SANDBOX", default="auto")  # bubblewrap | docker | auto
REDOUBT_DEVICE = env.str("REDOUBT_DEVICE", default="cpu")  # where weights-only entries run: cpu | cuda
REDOUBT_SIGNING_KEY = env.str("REDOUBT_SIGNING_KEY", default=str(DATA_DIR / "signing-key.pem"))
# Hosts that each worker keeps started ahead, with everything imported, until a submission comes (0: none): one for defenses
# and one for attacks. Each holds about 300 MiB; where memory is short none is kept unless somebody asks for it.
_MEMORY_GIB = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
REDOUBT_WARM_HOSTS = env.int("REDOUBT_WARM_HOSTS", default=2 if _MEMORY_GIB >= 8 else 0)
# How shards are handed to workers: "poll" (workers ask the database) or "celery" (a message hints at each new shard).
REDOUBT_QUEUE = "poll"
REDOUBT_MACHINE = env.str("REDOUBT_MACHINE", default=socket.gethostname())  # whose workers share storage, data and sandbox
REDOUBT_LEASE_SECONDS = env.float("REDOUBT_LEASE_SECONDS", default=30.0)
REDOUBT_RETRY_SECONDS = env.float("REDOUBT_RETRY_SECONDS", default=5.0)
REDOUBT_MAX_ATTEMPTS = 3  # platform failures of one shard before the evaluation gives up
REDOUBT_MAX_LEASES = 12  # leases of one shard before it is taken to kill its workers
REDOUBT_PROGRESS_SECONDS = 0.34
REDOUBT_LOG_BYTES = 64 * 1024

# What one web process does at once (see arena.serving.admission). What is over REDOUBT_REQUESTS waits so many seconds at most.
REDOUBT_REQUESTS = env.int("REDOUBT_REQUESTS", default=8)
REDOUBT_WAIT_SECONDS = env.float("REDOUBT_WAIT_SECONDS", default=10.0)
REDOUBT_OPEN_REQUESTS = env.int("REDOUBT_OPEN_REQUESTS", default=250)
REDOUBT_STREAMS = env.int("REDOUBT_STREAMS", default=2000)

REDOUBT_UPLOAD_BYTES = env.int("REDOUBT_UPLOAD_BYTES", default=256 * 1024 * 1024)
# From which networks a proxy may say whose request it passes on; None: from wherever the connection comes.
REDOUBT_PROXIES = read_networks("REDOUBT_PROXIES", env.list("REDOUBT_PROXIES", default=None))
# Rate limits, as (how often, in how many seconds); see arena.accounts.rates. None counts what a person's name alone is used
# for: anyone who knows the name could lock that person out.
REDOUBT_RATES = {
    "log-in from one address": (60, 300),
    "log-in of one person from one address": (10, 300),
    "sign-up from one address": (20, 3600),
    "wrong tokens from one address": (60, 300),
    "API from one address": (240, 60),
    "API of one person": (600, 60),
    "uploads of one person": (60, 3600),
}
REDOUBT_SUBMISSIONS_PER_DAY = env.int("REDOUBT_SUBMISSIONS_PER_DAY", default=50)  # per challenge: of a team, and of a person
