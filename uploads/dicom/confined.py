"""A process of our own that reads foreign bytes: started with nothing but what it needs, heard line by line, killed."""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from uploads.dicom.child import READY
from uploads.dicom.wire import MAX_LINE

_ROOT: Final = Path(__file__).resolve().parents[2]
_READ: Final = 64 * 1024
_KEPT: Final = ("PATH", "PYTHONPATH", "SYSTEMROOT", "LD_LIBRARY_PATH")


class FenceFailed(OSError):
    """The child could not be started: nothing is known of the files, and trying again later makes sense."""


class Lost(Exception):
    """The child died, hung or talked nonsense."""


class Confined:
    """One running child, `python -m module arguments`, once it has said that it is ready.

    Raises FenceFailed where it has not within `start_seconds`. `stdin` is where it is told from: a descriptor, or a
    pipe that `tell` writes to.
    """

    def __init__(
        self,
        module: str,
        arguments: Sequence[str],
        *,
        pass_fds: Sequence[int],
        start_seconds: float,
        stdin: int = subprocess.PIPE,
    ) -> None:
        self._received = b""
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # a traceback could quote patient data
            pass_fds=tuple(pass_fds),
            start_new_session=True,
            cwd=_ROOT,
            env=_environment(),
            bufsize=0,
        )
        try:
            if self.line(start_seconds) + b"\n" != READY:
                raise Lost
        except Lost as lost:
            self.end()
            raise FenceFailed("The process that reads uploaded files could not be started.") from lost

    def tell(self, line: bytes) -> None:
        """Raises Lost where it no longer listens."""
        stdin = self._process.stdin
        try:
            if stdin is not None:
                stdin.write(line)
        except BrokenPipeError as error:
            raise Lost from error

    def line(self, seconds: float) -> bytes:
        """The next line it says, without its end. Raises Lost where none comes in time."""
        deadline = time.monotonic() + seconds
        while b"\n" not in self._received:
            if len(self._received) > MAX_LINE:
                raise Lost
            self._receive(deadline - time.monotonic())
        line, _, self._received = self._received.partition(b"\n")
        return line

    def _receive(self, seconds: float) -> None:
        stdout = self._process.stdout
        poll = select.poll()
        if stdout is None or seconds <= 0:
            raise Lost
        poll.register(stdout, select.POLLIN)
        data = os.read(stdout.fileno(), _READ) if poll.poll(seconds * 1000) else b""
        if not data:
            raise Lost
        self._received += data

    def end(self) -> None:
        """Kill the child and whatever it may have started."""
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # it is gone already, which is what was wanted
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


def _environment() -> dict[str, str]:
    """What Python needs to start, and nothing else: the child has no business with our secrets."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    return {**kept, "LC_ALL": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1", "OPENBLAS_NUM_THREADS": "1"}
