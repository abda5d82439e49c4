"""A whole RelayPACS for a test: `manage.py up` on free ports and a scratch folder, as a person would start it."""

import contextlib
import json
import os
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent
READY = re.compile(r"^RelayPACS is ready: (\S+)$")
ACCOUNT = re.compile(r"^  (clinician|radiographer|radiologist|admin)\s+(\S+)\s+(\S+)$")
NOT_INHERITED = {
    "DATABASE_URL",
    "MIGRATION_DATABASE_URL",
    "REDIS_URL",
    "DJANGO_SETTINGS_MODULE",
    "PROMETHEUS_MULTIPROC_DIR",
    "SECRET_KEY",
}
START_SECONDS = 120.0
STOP_SECONDS = 40.0  # a machine busy with other tests is no failure; that a stop takes 15 s is shown elsewhere


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Stack:
    """One running `manage.py up`."""

    data_dir: Path
    environment: dict[str, str]
    launcher: Sequence[str] = ()
    lines: list[str] = field(default_factory=list)
    accounts: dict[str, tuple[str, str]] = field(default_factory=dict)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.environment['PORT']}"

    @property
    def demo_pacs_port(self) -> int:
        return int(self.environment["DEMO_PACS_PORT"])

    def start(self, *, wait: bool = True) -> None:
        """Start `up`; with `wait`, until a study can be uploaded. The same folder and ports serve again."""
        self.lines.clear()
        self._unread: queue.Queue[str | None] = queue.Queue()
        command = [*self.launcher, sys.executable, str(ROOT / "manage.py"), "up"]
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        threading.Thread(target=self._read, args=(self.process, self._unread), daemon=True).start()
        if wait:
            self.wait_for(READY)
            self.wait_for(re.compile(r"^Stop it with Ctrl-C\.$"))

    @staticmethod
    def _read(process: subprocess.Popen[str], unread: queue.Queue[str | None]) -> None:
        for line in process.stdout or ():
            unread.put(line.rstrip("\n"))
        unread.put(None)

    def wait_for(self, pattern: re.Pattern[str], *, seconds: float = START_SECONDS) -> re.Match[str]:
        """The next line of output that matches; all lines read are kept in `lines`, accounts in `accounts`."""
        deadline = time.monotonic() + seconds
        while (line := self._unread.get(timeout=max(0.01, deadline - time.monotonic()))) is not None:
            self.lines.append(line)
            if account := ACCOUNT.match(line):
                self.accounts[account[1]] = (account[2], account[3])
            if found := pattern.search(line):
                return found
        raise AssertionError("`manage.py up` ended:\n" + "\n".join(self.lines))

    def pids(self) -> dict[str, int]:
        """By name: `web`, `beat`, `demo-pacs`, `worker-delivery` and the other workers, `postgres`."""
        record = json.loads((self.data_dir / "children.json").read_text())
        pids = {name: int(child["pid"]) for name, child in record["children"].items()}
        postmaster = self.data_dir / "postgres" / "postmaster.pid"
        if postmaster.exists():
            pids["postgres"] = int(postmaster.read_text().splitlines()[0])
        return pids

    def kill(self, name: str, *, number: signal.Signals = signal.SIGKILL) -> int:
        """Kill a child and its whole process group, without warning; `up` brings it back. Answers the old pid."""
        pid = self.pids()[name]
        os.killpg(pid, number)
        return pid

    def wait_back(self, name: str, *, old: int, seconds: float = 60.0) -> int:
        """Until `up` has started the child anew; answers the new pid."""
        deadline = time.monotonic() + seconds
        while (pid := self.pids().get(name, old)) == old:
            if time.monotonic() > deadline:
                raise AssertionError(f"{name} was not started again")
            time.sleep(0.1)
        return pid

    def tree(self) -> list[psutil.Process]:
        """Every process of this stack, `up` first."""
        up = psutil.Process(self.process.pid)
        return [up, *up.children(recursive=True)]

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask `up` to stop and answer its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(timeout=STOP_SECONDS)


def prepare(data_dir: Path, *, launcher: Sequence[str] = (), **env: str) -> Stack:
    """A stack that is not started yet."""
    ports = {"PORT": str(free_port()), "DEMO_PACS_PORT": str(free_port()), "DICOM_PORT": str(free_port())}
    inherited = {name: value for name, value in os.environ.items() if name not in NOT_INHERITED}
    own = {"RELAYPACS_DATA_DIR": str(data_dir), "RELAYPACS_SAMPLE": "false", "PYTHONUNBUFFERED": "1"}
    return Stack(data_dir=data_dir, environment={**inherited, **ports, **own, **env}, launcher=launcher)


@contextlib.contextmanager
def stack(data_dir: Path, *, launcher: Sequence[str] = (), **env: str) -> Iterator[Stack]:
    """A running stack; everything it started has ended when the block is left.

    Args:
        data_dir: scratch folder; used again by a later stack it keeps its database and studies.
        launcher: words before `python manage.py up`, e.g. of setpriv.
        env: further environment, e.g. RETRY_FIRST_SECONDS="1"; RELAYPACS_SAMPLE is off unless named.
    """
    one = prepare(data_dir, launcher=launcher, **env)
    one.start()
    try:
        yield one
    finally:
        one.stop()
