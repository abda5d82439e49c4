"""Where the embedded PostgreSQL and Redis listen, worked out from the data directory alone."""

import hashlib
import os
from pathlib import Path
from urllib.parse import quote

DATABASE = "relaypacs"
OWNER_ROLE = "relaypacs_owner"
APP_ROLE = "relaypacs_app"
POSTGRES_SOCKET = ".s.PGSQL.5432"
REDIS_SOCKET = "redis.sock"

# Not TMPDIR: two terminals may disagree about it, and every process must find the same sockets. Nothing is trusted
# here for lying in /tmp: the folder is made with mode 0700, and one that belongs to somebody else is refused.
SHORT = Path("/tmp")  # nosec B108


def socket_dir(data_dir: Path) -> Path:
    """A unix socket's path may have 107 bytes and a data directory may lie anywhere: the sockets stand elsewhere."""
    digest = hashlib.sha256(os.fsencode(data_dir.resolve())).hexdigest()[:12]
    return SHORT / f"relaypacs-{os.getuid()}-{digest}"


def redis_socket(data_dir: Path) -> Path:
    return socket_dir(data_dir) / REDIS_SOCKET


def database_url(data_dir: Path, role: str) -> str:
    return f"postgresql://{role}@{quote(str(socket_dir(data_dir)), safe='')}/{DATABASE}"


def redis_url(data_dir: Path, database: int = 0) -> str:
    return f"unix://{redis_socket(data_dir)}?db={database}"
