"""Programs that are run to their end, and what they and others cost in processor time."""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.loopback import PATH, program_path
from tests.stack import ROOT

TICKS = os.sysconf("SC_CLK_TCK")
NODELAY = {"TCP_NODELAY": "1"}
GB = 1_000_000_000


class RunFailed(Exception):
    """A side did not do what was to be measured."""


@dataclass(frozen=True)
class Cost:
    """Seconds on the clock, and of processor time in user and kernel mode."""

    seconds: float
    cpu: float


def missing(*programs: str) -> str:
    """A sentence about what is not installed; "" where everything is."""
    gone = [program for program in programs if program_path(program) is None]
    return f"{' and '.join(gone)} {'is' if len(gone) == 1 else 'are'} not installed" if gone else ""


def install(*words: str, where: Path) -> None:
    """Runs an installer; its talk is shown only as the reason why it failed."""
    done = subprocess.run(words, cwd=where, check=False, capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or "without a word").splitlines()[-1]
        raise RunFailed(f"{Path(words[0]).name} could not install a peer: {last}")


def run(*commands: Sequence[str], environment: Mapping[str, str] | None = None) -> Cost:
    """Runs the commands side by side to their end.

    Raises:
        RunFailed: one of them ended with another status than 0.
    """
    began = time.monotonic()
    running = [_start(command, environment or {}) for command in commands]
    try:
        cpu = sum(_wait(process) for process in running)
        return Cost(time.monotonic() - began, cpu)
    finally:
        for process in running:
            if process.returncode is None:
                process.kill()
                process.wait()


def _start(command: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command, env={**os.environ, "PATH": PATH, **environment}, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )


def _wait(process: subprocess.Popen[bytes]) -> float:
    """Processor seconds of the process and of those that it waited for."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RunFailed(f"{Path(str(process.args[0])).name} ended with {process.returncode}")  # type: ignore[index]
    return usage.ru_utime + usage.ru_stime


def cpu_of(pids: Iterable[int]) -> float:
    """Processor seconds so far of these processes and of their children that have ended."""
    return sum(map(_cpu_of, pids))


def _cpu_of(pid: int) -> float:
    with suppress(FileNotFoundError, ProcessLookupError):
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        return sum(map(int, fields[11:15])) / TICKS  # utime, stime, cutime, cstime
    return 0.0


def own_cpu() -> float:
    """Processor seconds of this process so far, and of the children it has waited for."""
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in both)


class Helper:
    """A module of this package as a child process that does one job for each line of JSON it is given.

    It stays between jobs: what it imports is paid for once and is in nobody's figures.
    """

    def __init__(self, module: str, *, python: str = sys.executable) -> None:
        self.name = module
        self._process = subprocess.Popen(
            [python, "-m", f"tests.figures.{module}"],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is for us; at the end of its input it ends as well
        )

    def __enter__(self) -> "Helper":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    def do(self, **job: Any) -> dict[str, Any]:
        """What the child answers to this job; raises RunFailed with what it says went wrong."""
        self.begin(**job)
        return self.end()

    def begin(self, **job: Any) -> None:
        if self._process.stdin is None:
            raise RunFailed(f"{self.name} cannot be told anything")
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()

    def end(self) -> dict[str, Any]:
        line = self._process.stdout.readline() if self._process.stdout is not None else ""
        answer: dict[str, Any] = json.loads(line) if line else {"trouble": "it ended"}
        if "trouble" in answer:
            raise RunFailed(f"{self.name}: {answer['trouble']}")
        return answer

    def cost(self, **job: Any) -> Cost:
        answer = self.do(**job)
        return Cost(answer["seconds"], answer["cpu"])
