"""Every setting of RelayPACS; the environment is read here and nowhere else, and a bad value stops the start."""

import secrets
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from celery.schedules import crontab
from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured
from environ import FileAwareEnv

from relaypacs.embedded import paths

BASE_DIR = Path(__file__).resolve().parent.parent
VERSION = (BASE_DIR / "VERSION").read_text().strip()

env = FileAwareEnv()

# --- The machine -----------------------------------------------------------------------------------------------------

DATA_DIR = Path(env.str("RELAYPACS_DATA_DIR", default=str(BASE_DIR / ".relaypacs"))).expanduser().resolve()
HOST = env.str("HOST", default="127.0.0.1")
PORT = env.int("PORT", default=8000)
DEMO_PACS_PORT = env.int("DEMO_PACS_PORT", default=11112)
DEMO_PASSWORD = env.str("RELAYPACS_DEMO_PASSWORD", default="")
DEMO_LOSE = env.int("RELAYPACS_DEMO_LOSE", default=0)  # the demo PACS drops this instance, to show that it is noticed
RELAY_SAMPLE = env.bool("RELAYPACS_SAMPLE", default=True)
DICOM_HOST = env.str("DICOM_HOST", default="127.0.0.1")  # where PACS may call us; they can from elsewhere if it says so
DICOM_AE_TITLE = env.str("DICOM_AE_TITLE", default="RELAYPACS")
DICOM_PORT = env.int("DICOM_PORT", default=11113)

DEBUG = env.bool("DEBUG", default=False)
LOG_LEVEL = env.str("LOG_LEVEL", default="INFO").upper()
if LOG_LEVEL not in {"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"}:
    raise ImproperlyConfigured(f"LOG_LEVEL is {LOG_LEVEL!r}; it must be DEBUG, INFO, WARNING, ERROR or CRITICAL.")


def _kept_secret(path: Path) -> str:
    """The secret of an installation that was given none: made once, readable by its owner alone."""
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        pass
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x") as file:
            path.chmod(0o600)
            file.write(secrets.token_urlsafe(64))
    except FileExistsError:
        pass
    except OSError:  # a read-only data folder is reported by `up`, in words; other commands live with a passing key
        return secrets.token_urlsafe(64)
    return path.read_text().strip()


SECRET_KEY = env.str("SECRET_KEY", default="") or _kept_secret(DATA_DIR / "secret-key")
SECRET_KEY_FALLBACKS = env.list("SECRET_KEY_FALLBACKS", default=[])
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])
USE_TLS = env.bool("RELAYPACS_HTTPS", default=False)  # behind a proxy that ends TLS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if USE_TLS else None
SECURE_HSTS_SECONDS = 31_536_000 if USE_TLS else 0
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = USE_TLS
SESSION_COOKIE_AGE = 12 * 3600
SESSION_COOKIE_HTTPONLY = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"

# --- What the journey may take ---------------------------------------------------------------------------------------

ENABLE_ASYNC_UPLOAD = env.bool("ENABLE_ASYNC_UPLOAD", default=True)
SYNC_UPLOAD_SECONDS = 120  # with ENABLE_ASYNC_UPLOAD off: how long `complete` may work before it leaves the rest
STORAGE_URL = env.str("STORAGE_URL", default=(DATA_DIR / "packs").as_uri())
if urlsplit(STORAGE_URL).scheme != "file":
    raise ImproperlyConfigured("STORAGE_URL must be file:///… : this version keeps packs on a local disk.")
STORAGE_ROOT = Path(unquote(urlsplit(STORAGE_URL).path))
MAX_UPLOAD_BYTES = env.int("MAX_UPLOAD_BYTES", default=20 * 1024**3)
DISK_RESERVE_BYTES = env.int(
    "DISK_RESERVE_BYTES", default=512 * 1024**2
)  # what the disk keeps free for everything else
INSPECT_MEMORY_BYTES = env.int("INSPECT_MEMORY_BYTES", default=512 * 1024**2)
RETRY_FIRST_SECONDS = env.float("RETRY_FIRST_SECONDS", default=30.0)  # first wait after a delivery did not get through
RETRY_CAP_SECONDS = env.float("RETRY_CAP_SECONDS", default=3600.0)
PROBE_SECONDS = env.float("PROBE_SECONDS", default=30.0)  # how often a destination that is down is tried
VERIFY_FIRST_SECONDS = env.float(
    "VERIFY_FIRST_SECONDS", default=5.0
)  # between two questions to a PACS that lacks instances
COMMITMENT_SECONDS = env.int("COMMITMENT_SECONDS", default=24 * 3600)  # for a storage commitment's report; then a query
LEASE_SECONDS = env.int("LEASE_SECONDS", default=60)
SWEEP_SECONDS = env.float("SWEEP_SECONDS", default=5.0)

# --- Django ----------------------------------------------------------------------------------------------------------

INSTALLED_APPS = [
    "django_prometheus",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "django.forms",
    "django_otp",
    "django_otp.plugins.otp_totp",
    "django_otp.plugins.otp_static",
    "rest_framework",
    "rest_framework_simplejwt.token_blacklist",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "csp",
    "relaypacs",
    "accounts",
    "uploads",
    "reports",
]

MIDDLEWARE = [
    "relaypacs.logs.RequestIdMiddleware",
    "relaypacs.metrics.RequestMetricsMiddleware",
    "relaypacs.problems.ProblemMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django_otp.middleware.OTPMiddleware",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "relaypacs.urls"
CSRF_FAILURE_VIEW = "relaypacs.problems.csrf_failed"
ASGI_APPLICATION = "relaypacs.asgi.application"
TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
FORM_RENDERER = "django.forms.renderers.TemplatesSetting"
LANGUAGE_CODE = "en-gb"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
STATIC_URL = "/static/"
STATIC_ROOT = env.str("STATIC_ROOT", default="") or None  # where `collectstatic` put them; else straight from the tree
STATICFILES_DIRS = [BASE_DIR / "static"]
WHITENOISE_USE_FINDERS = STATIC_ROOT is None
WHITENOISE_AUTOREFRESH = DEBUG
DATA_UPLOAD_MAX_MEMORY_SIZE = 16 * 1024**2  # the manifest's limit; chunk octets never pass through it
DATA_UPLOAD_MAX_NUMBER_FIELDS = 10_000

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "img-src": [SELF, "data:", "blob:"],
        "object-src": [NONE],
        "base-uri": [SELF],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
        "worker-src": [SELF],
    }
}

# --- The truth and the messenger -------------------------------------------------------------------------------------


def _database(url: str) -> dict[str, Any]:
    config: dict[str, Any] = env.db_url_config(url)
    if config.get("ENGINE") != "django.db.backends.postgresql":
        raise ImproperlyConfigured("DATABASE_URL must be a postgresql:// URL: RelayPACS runs on PostgreSQL alone.")
    config["HOST"] = unquote(str(config["HOST"]))
    return config


DATABASE_URL = env.str("DATABASE_URL", default="")
MIGRATION_DATABASE_URL = env.str("MIGRATION_DATABASE_URL", default="")
EMBEDDED_DATABASE = not DATABASE_URL
if EMBEDDED_DATABASE:
    DATABASE_URL = paths.database_url(DATA_DIR, "relaypacs_app")
    MIGRATION_DATABASE_URL = MIGRATION_DATABASE_URL or paths.database_url(DATA_DIR, "relaypacs_owner")
DATABASES = {
    "default": _database(DATABASE_URL)
    | {
        "OPTIONS": {
            # Requests run on short-lived threads under ASGI: a pool, not a connection per thread.
            "pool": {"min_size": 0, "max_size": env.int("DATABASE_POOL_SIZE", default=16), "timeout": 10},
        }
    }
}
OWNER_DATABASE = _database(MIGRATION_DATABASE_URL) if MIGRATION_DATABASE_URL else None

REDIS_URL = env.str("REDIS_URL", default="")
EMBEDDED_REDIS = not REDIS_URL
REDIS_URL = REDIS_URL or paths.redis_url(DATA_DIR)


def _broker(url: str) -> str:
    """redis-py says unix://path?db=N where Celery says redis+socket://path?virtual_host=N."""
    if not url.startswith("unix://"):
        return url
    return url.replace("unix://", "redis+socket://", 1).replace("?db=", "?virtual_host=", 1)


CELERY_BROKER_URL = _broker(env.str("BROKER_URL", default=REDIS_URL))
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_CREATE_MISSING_QUEUES = True
CELERY_TASK_DEFAULT_QUEUE = "interactive"
CELERY_TASK_ACKS_LATE = False  # PostgreSQL knows what is due; a message is a hint and may be lost
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_SOFT_SHUTDOWN_TIMEOUT = 8.0
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = False
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_SEND_TASK_EVENTS = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TASK_PUBLISH_RETRY_POLICY = {"max_retries": 1, "interval_start": 0, "interval_step": 0.2}
CELERY_BROKER_TRANSPORT_OPTIONS = {"socket_timeout": 2, "socket_connect_timeout": 2, "health_check_interval": 10}
CELERY_BEAT_SCHEDULE_FILENAME = str(DATA_DIR / "beat-schedule")
CELERY_BEAT_SCHEDULE = {
    "sweep": {
        "task": "uploads.tasks.sweep",
        "schedule": SWEEP_SECONDS,
        "options": {"queue": "maintenance", "expires": SWEEP_SECONDS * 3},
    },
    "sync-packs": {
        "task": "uploads.tasks.sync_packs",
        "schedule": 3.0,
        "options": {"queue": "maintenance", "expires": 9.0},
    },
    "measure": {
        "task": "uploads.tasks.measure",
        "schedule": 15.0,
        "options": {"queue": "maintenance", "expires": 30.0},
    },
    "certificates": {
        "task": "uploads.tasks.warn_of_certificates",
        "schedule": crontab(hour="6", minute="0"),
        "options": {"queue": "maintenance", "expires": 3600.0},
    },
    "retention": {
        "task": "uploads.tasks.retention",
        "schedule": 600.0,
        "options": {"queue": "maintenance", "expires": 600.0},
    },
}

# --- Who may come in -------------------------------------------------------------------------------------------------

AUTH_USER_MODEL = "accounts.User"
LOGIN_URL = "accounts:login"
LOGIN_REDIRECT_URL = "uploads:list"
LOGOUT_REDIRECT_URL = "accounts:login"
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
OTP_TOTP_ISSUER = "RelayPACS"
OTP_ADMIN_HIDE_SENSITIVE_DATA = True

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "accounts.authentication.BearerAuthentication",
        "accounts.authentication.PageSessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["relaypacs.bodies.BoundedJSONParser"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "relaypacs.bodies.AsItIs",
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "relaypacs.problems.handle",
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "RelayPACS",
    "DESCRIPTION": "Upload gateway for teleradiology. Received is not delivered, and delivered is not verified.",
    "VERSION": VERSION,
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PUBLIC": True,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "COMPONENT_SPLIT_REQUEST": True,
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "ENUM_NAME_OVERRIDES": {
        "UploadStateEnum": "uploads.states.UploadState",
        "DeliveryStateEnum": "uploads.states.DeliveryState",
    },
    "POSTPROCESSING_HOOKS": ["drf_spectacular.hooks.postprocess_schema_enums", "uploads.openapi.add_streams"],
}

SIMPLE_JWT = {
    "ACCESS_TOKEN_LIFETIME": timedelta(minutes=15),
    "REFRESH_TOKEN_LIFETIME": timedelta(days=14),
    "ALGORITHM": "HS256",
    "SIGNING_KEY": env.str("JWT_SIGNING_KEY", default="") or "jwt:" + SECRET_KEY,
    "AUDIENCE": "relaypacs-api",
    "ISSUER": "relaypacs",
    "CHECK_REVOKE_TOKEN": True,
    "USER_ID_CLAIM": "sub",
}

# --- What is written down about the running of it --------------------------------------------------------------------

LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"ids": {"()": "relaypacs.logs.IdsFilter"}},
    "formatters": {"json": {"()": "relaypacs.logs.JsonFormatter"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json", "filters": ["ids"]}},
    "root": {"handlers": ["stderr"], "level": LOG_LEVEL},
    "loggers": {
        "pynetdicom": {"level": "CRITICAL"},  # its lines hold names and UIDs
        "pydicom": {"level": "CRITICAL"},
        "httpx": {"level": "WARNING"},
        "xhtml2pdf": {"level": "WARNING"},
        "django.request": {"level": "ERROR"},
    },
}
