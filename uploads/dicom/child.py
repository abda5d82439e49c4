"""The process inside the fence: reads slices of one pack, answers with verdicts, and can do nothing else.

Started as `python -m uploads.dicom.child FD MEMORY CPU_SECONDS ASKED` by `uploads.dicom.fence`, never by hand.
"""

import ctypes
import resource
import signal
import sys
from typing import Final

from uploads.dicom.filled import from_argument
from uploads.dicom.inspect import inspect
from uploads.dicom.source import FileSlice
from uploads.dicom.wire import MAX_LINE, result_to_line, slices_from_line

READY: Final = b"ready\n"
_OPEN_FILES: Final = 24
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NO_NEW_PRIVS: Final = 38


def confine(*, memory: int, written: int = 0) -> None:
    """Give up what reading needs not: memory beyond `memory` bytes, files beyond `written`, core dumps, privileges.

    The limits are set here and not between fork and exec, so that the fence may be used from threads.
    """
    limits = {resource.RLIMIT_FSIZE: written, resource.RLIMIT_CORE: 0, resource.RLIMIT_NOFILE: _OPEN_FILES}
    if sys.platform == "linux":  # elsewhere there is no prctl, and address space cannot be limited
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        limits[resource.RLIMIT_AS] = memory
    for what, limit in limits.items():
        resource.setrlimit(what, (limit, limit))


def allow_cpu(seconds: int) -> None:
    """Let the next file use `seconds` of processor time; more ends the process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(used.ru_utime + used.ru_stime) + 1 + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.RLIM_INFINITY))


def main(arguments: list[str]) -> None:
    pack, memory, cpu_seconds = (int(argument) for argument in arguments[:3])
    asked = from_argument(arguments[3])
    confine(memory=memory)
    requests, results = sys.stdin.buffer, sys.stdout.buffer
    results.write(READY)
    results.flush()
    while line := requests.readline(MAX_LINE):
        for part in slices_from_line(line):
            allow_cpu(cpu_seconds)
            found = inspect(FileSlice(pack, part.offset, part.size), name=part.name, asked=asked)
            results.write(result_to_line(part.index, found))
            results.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
