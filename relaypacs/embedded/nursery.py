"""Our own children are forks of one process that has done the importing: each is up at once and shares memory."""

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import forkserver, get_context
from pathlib import Path

import psutil

from relaypacs.embedded.children import TOKEN, CannotStart, Child
from relaypacs.embedded.leash import show_as, tie_to


def warm_up(modules: Sequence[str], *, environment: Mapping[str, str]) -> None:
    """Start the process that the children will be forked from; it imports while others do their part of the start.

    Its environment is theirs. Ctrl-C in a terminal reaches it too and is not for it: it ends with this process.
    """
    os.environ.update(environment)
    forkserver.set_forkserver_preload(list(modules))
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Fork:
    """One of our own roles, forked from the warm process."""

    def __init__(self, child: Child, role: Callable[[], object], *, log: Path) -> None:
        arguments = (role, child.name, str(log), int(child.stop[0][0]))
        self.process = get_context("forkserver").Process(target=_live, args=arguments, name=child.name)
        self.over: int | None = None
        try:
            self.process.start()
        except (EOFError, ConnectionError) as error:
            raise CannotStart(
                f"The process that {child.name} is forked from has ended; what it said stands above."
            ) from error

    @property
    def pid(self) -> int:
        return int(self.process.pid or 0)

    def ended(self) -> int | None:
        if self.over is None:
            self.over = self.process.exitcode
            if self.over is not None:
                self._kill_group()
        return self.over

    def send(self, number: signal.Signals) -> None:
        if self.ended() is not None:
            return
        if number == signal.SIGKILL:
            self._kill_group()
        else:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def _kill_group(self) -> None:
        """By our token and not by the id alone: the leader is reaped elsewhere, so its id may have gone to others."""
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if os.getpgid(process.pid) == self.pid and process.environ().get(TOKEN) == os.environ.get(TOKEN):
                    process.kill()


def _live(role: Callable[[], object], name: str, log: str, death_signal: int) -> None:
    """The first steps of a fork: a session and a log of its own, and an end together with whoever keeps it."""
    os.setsid()
    with Path(log).open("ab") as output:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(output.fileno(), stream.fileno())
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    show_as(name)
    tie_to(os.getppid(), death_signal)
    role()
