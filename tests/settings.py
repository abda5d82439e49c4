"""The settings tests run under: the real ones, with a data directory of their own and a quick password hash."""

import os
import tempfile
from pathlib import Path

_uid = os.getuid()
os.environ.setdefault("RELAYPACS_DATA_DIR", str(Path(tempfile.gettempdir()) / f"relaypacs-tests-{_uid}"))
os.environ.setdefault("SECRET_KEY", "only-for-tests-" + "x" * 40)
os.environ.setdefault("DISK_RESERVE_BYTES", "0")
os.environ.setdefault("RETRY_FIRST_SECONDS", "1")
os.environ.setdefault("PROBE_SECONDS", "30")
os.environ.setdefault("VERIFY_FIRST_SECONDS", "0.2")

from relaypacs.settings import *  # noqa: E402, F403
from relaypacs.settings import DATABASES, OWNER_DATABASE  # noqa: E402

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
if OWNER_DATABASE:
    # The owner makes and drops the test database; what the application's own role may do has tests of its own.
    DATABASES["default"] = OWNER_DATABASE | {"OPTIONS": DATABASES["default"]["OPTIONS"]}
    OWNER_DATABASE = None
DATABASES["default"]["TEST"] = {"NAME": f"test_relaypacs_{os.getpid()}"}  # test runs side by side do not meet
