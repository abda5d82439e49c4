"""One child process: a program on a leash or a role of our own, how it is known to be ready, and how it ends."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from relaypacs.errors import RelayError

LEASH = Path(__file__).with_name("leash.py")
LOG_KEPT_BYTES = 10 * 1024**2
TOKEN = "RELAYPACS_UP"  # names the run a process belongs to, in its environment

StopPlan = tuple[tuple[signal.Signals, float], ...]  # signal, and how many seconds to wait after it


class CannotStart(RelayError):
    """Something this machine must provide is missing; `detail` is a sentence for whoever typed the command."""

    def __init__(self, detail: str) -> None:
        super().__init__("cannot_start", detail)


def _nothing() -> None:
    return None


def _at_once() -> bool:
    return True


@dataclass(frozen=True, kw_only=True)
class Child:
    """What is to run: a program, or with `role` a function of ours in a fork of the nursery.

    `ready` is asked until it says yes, `prepare` heals what an earlier run left.
    """

    name: str
    command: Sequence[str] = ()
    role: Callable[[], object] | None = None
    prepare: Callable[[], None] = _nothing
    ready: Callable[[], bool] = _at_once
    stop: StopPlan = ((signal.SIGTERM, 9.0), (signal.SIGKILL, 2.0))
    user: tuple[int, int] | None = None
    heals_itself: bool = False  # `prepare` deals with what a killed run left, nobody else may


def leashed(command: Sequence[str], *, death_signal: signal.Signals, user: tuple[int, int] | None) -> list[str]:
    who = "-" if user is None else f"{user[0]}:{user[1]}"
    start = [sys.executable, "-I", "-S", str(LEASH), str(int(death_signal)), str(os.getpid()), who]
    return [*start, *command]


class Process(Protocol):
    """A started process; its pid is also the id of its process group."""

    @property
    def pid(self) -> int: ...

    def ended(self) -> int | None:
        """The exit status once the leader has ended; what is left of its group is ended with it."""

    def send(self, number: signal.Signals) -> None:
        """To the leader, which tells its own; KILL to the whole group, for then nobody else would."""


class Program:
    """A foreign program, started through the leash."""

    def __init__(self, child: Child, *, log: Path, environment: Mapping[str, str], cwd: Path) -> None:
        command = leashed(child.command, death_signal=child.stop[0][0], user=child.user)
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=dict(environment),
                cwd=cwd,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    def ended(self) -> int | None:
        """The group is killed before the leader is reaped, while its id cannot yet belong to anybody else."""
        if self.process.returncode is None:
            if os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                return None
            self._kill_group()
        return self.process.wait()

    def send(self, number: signal.Signals) -> None:
        if self.ended() is not None:
            return
        if number == signal.SIGKILL:
            self._kill_group()
        else:
            self.process.send_signal(number)

    def _kill_group(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)


@dataclass(eq=False)
class Running:
    """A started child, since when, and where it writes."""

    child: Child
    process: Process
    log: Path
    log_start: int
    started: float = field(default_factory=time.monotonic)

    @property
    def pid(self) -> int:
        return self.process.pid

    def ended(self) -> int | None:
        return self.process.ended()

    def last_words(self, lines: int = 6) -> str:
        """The end of what this start wrote to its log."""
        with self.log.open("rb") as file:
            file.seek(self.log_start)
            return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])


def make_room(log: Path) -> int:
    """Put a large log aside, keeping one; answer where the next line will stand."""
    log.parent.mkdir(parents=True, exist_ok=True)
    log.touch()
    size = log.stat().st_size
    if size > LOG_KEPT_BYTES:
        log.replace(log.with_suffix(".log.1"))
        log.touch()
        size = 0
    return size


def stop_together(running: Sequence[Running]) -> None:
    """End these children side by side, each by its own plan of signals and seconds."""
    waiting = {one: list(one.child.stop) for one in running}
    due = dict.fromkeys(waiting, 0.0)
    while waiting := {one: plan for one, plan in waiting.items() if one.ended() is None}:
        for one, plan in waiting.items():
            if plan and time.monotonic() >= due[one]:
                number, seconds = plan.pop(0)
                one.process.send(number)
                due[one] = time.monotonic() + seconds
        time.sleep(0.05)
