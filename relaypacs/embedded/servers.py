"""PostgreSQL and Redis alone, kept for as long as anybody uses them: test runs side by side share one pair."""

import contextlib
import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from relaypacs.embedded.children import CannotStart
from relaypacs.embedded.leftovers import only_one
from relaypacs.embedded.machine import claim_data_dir
from relaypacs.embedded.postgres import Postgres, remove_socket_dir
from relaypacs.embedded.redis import EmbeddedRedis
from relaypacs.embedded.supervisor import START_SECONDS, StopAsked, Supervisor

USERS = "users.lock"  # every user holds it shared; the keeper ends once it can have it alone
STARTING = "starting.lock"
KEPT = "kept"  # stands while the servers do and are settled


@contextlib.contextmanager
def shared(data_dir: Path) -> Iterator[None]:
    """Both servers answer inside this block. A user that is killed lets go of them as one that leaves does."""
    claim_data_dir(data_dir)
    with (data_dir / USERS).open("a") as users:
        fcntl.flock(users, fcntl.LOCK_SH)  # waits while a keeper is on its way out
        with (data_dir / STARTING).open("a") as starting:
            fcntl.flock(starting, fcntl.LOCK_EX)
            if not _answer(data_dir):
                _start_keeper(data_dir)
        yield


def _answer(data_dir: Path) -> bool:
    return (data_dir / KEPT).exists() and Postgres(data_dir).answers() and EmbeddedRedis(data_dir).answers()


def _start_keeper(data_dir: Path) -> None:
    (data_dir / KEPT).unlink(missing_ok=True)
    command = [sys.executable, "-m", "relaypacs.embedded.servers", str(data_dir)]
    root = Path(__file__).resolve().parent.parent.parent
    with (data_dir / "keeper.log").open("wb") as log:
        keeper = subprocess.Popen(command, cwd=root, stdout=log, stderr=log, start_new_session=True)
    deadline = time.monotonic() + START_SECONDS
    while not _answer(data_dir):
        if keeper.poll() is not None or time.monotonic() > deadline:
            raise CannotStart(f"The servers did not start: {(data_dir / 'keeper.log').read_text()[-2000:]}")
        time.sleep(0.1)


def keep(data_dir: Path) -> None:
    """Start both and end them when the last user has gone."""
    supervisor = Supervisor(data_dir, say=print, environment=os.environ, cwd=data_dir)
    supervisor.heed_signals()
    postgres = Postgres(data_dir)
    with only_one(data_dir), (data_dir / USERS).open("a") as users, contextlib.suppress(StopAsked):
        try:
            supervisor.start([postgres.child(), EmbeddedRedis(data_dir).child()])
            supervisor.await_ready()
            postgres.settle()
            (data_dir / KEPT).touch()
            supervisor.watch(until=lambda: _alone(users.fileno()))
        finally:
            (data_dir / KEPT).unlink(missing_ok=True)
            supervisor.stop()
            remove_socket_dir(data_dir)


def _alone(users: int) -> bool:
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


if __name__ == "__main__":
    keep(Path(sys.argv[1]))
