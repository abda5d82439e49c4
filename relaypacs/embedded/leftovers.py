"""One `up` per data folder, and an end to whatever a killed `up` has left running."""

import contextlib
import fcntl
import json
import os
import secrets
import signal
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

import psutil

from relaypacs.embedded.children import TOKEN, CannotStart

LOCK = "up.lock"
RECORD = "children.json"
CLOCK_SLACK = 2.0  # seconds; the time of boot, by which starts are reckoned, moves when the clock is set
PATIENCE = 8.0  # seconds that leftovers get before they are killed


@contextlib.contextmanager
def only_one(data_dir: Path) -> Iterator[None]:
    """Hold the data folder. The lock ends with the process that holds it, so a killed run leaves none."""
    with (data_dir / LOCK).open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise CannotStart(_taken(data_dir, file)) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _taken(data_dir: Path, file: IO[str]) -> str:
    file.seek(0)
    holder = file.read().strip() or "unknown"
    return (
        f"RelayPACS already runs on {data_dir} (process {holder}); stop it first, "
        "or name another folder with RELAYPACS_DATA_DIR."
    )


class Record:
    """Which processes belong to this run, kept in the data folder for the run after it."""

    def __init__(self, data_dir: Path) -> None:
        self.path = data_dir / RECORD
        self.token = secrets.token_hex(16)
        self.children: dict[str, dict[str, float]] = {}

    def note(self, name: str, pid: int) -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            self.children[name] = {"pid": pid, "started": psutil.Process(pid).create_time()}
        fresh = self.path.with_suffix(".new")
        fresh.write_text(json.dumps({"token": self.token, "up": os.getpid(), "children": self.children}, indent=1))
        fresh.replace(self.path)

    def forget(self) -> None:
        self.path.unlink(missing_ok=True)


def end_leftovers(data_dir: Path) -> int:
    """End the processes of an earlier run that was killed; answer how many there were."""
    try:
        record = json.loads((data_dir / RECORD).read_text())
        token, children = str(record["token"]), list(record["children"].values())
    except (FileNotFoundError, ValueError, TypeError, KeyError, AttributeError):  # none, or torn by the kill
        return 0
    found = list(_leftovers(token, children))
    end(found)
    (data_dir / RECORD).unlink(missing_ok=True)
    return len(found)


def _leftovers(token: str, children: Iterable[dict[str, float]]) -> Iterator[psutil.Process]:
    """A pid alone proves nothing, it may be somebody else's by now: a start time or our token must agree."""
    starts = {int(child["pid"]): child["started"] for child in children}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.status() == psutil.STATUS_ZOMBIE or process.pid == os.getpid():
                continue
            known = abs(process.create_time() - starts.get(process.pid, 0.0)) < CLOCK_SLACK
            if known or process.environ().get(TOKEN) == token:
                yield process


def end(processes: Iterable[psutil.Process], *, first: signal.Signals = signal.SIGTERM) -> None:
    """Ask each to end, then insist. Nothing is lost by it: what is due stands in PostgreSQL."""
    alive = list(processes)
    for number, patience in ((first, PATIENCE), (signal.SIGKILL, 2.0)):
        for process in alive:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)
        alive = wait_gone(alive, seconds=patience)
        if not alive:
            return


def wait_gone(processes: Iterable[psutil.Process], *, seconds: float) -> list[psutil.Process]:
    """Those that have not ended in time."""
    deadline = time.monotonic() + seconds
    alive = list(processes)
    while (alive := [process for process in alive if _alive(process)]) and time.monotonic() < deadline:
        time.sleep(0.05)
    return alive


def _alive(process: psutil.Process) -> bool:
    try:  # a zombie that its new parent has yet to reap has ended
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
