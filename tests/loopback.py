"""What every real peer of the tests stands on: programs, ports, and waiting until something is so."""

from __future__ import annotations

import os
import shutil
import socket
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pydicom
import pytest

LOOPBACK = "127.0.0.1"
PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
READY_WITHIN_SECONDS = 30.0
LISTENING = "0A"


def require(*programs: str) -> None:
    """Skip the test where a program is missing; with CI=true that is a failure, so that nothing is skipped unseen."""
    missing = [program for program in programs if program_path(program) is None]
    if not missing:
        return
    reason = f"needs {', '.join(missing)} (Debian packages orthanc, dcmtk ...)"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def program_path(program: str) -> str | None:
    return shutil.which(program, path=PATH)


def free_port() -> int:
    """A loopback port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until(true: Callable[[], bool], what: str, *, seconds: float = READY_WITHIN_SECONDS) -> None:
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise TimeoutError(f"{what} did not happen within {seconds} s")
        time.sleep(0.02)


def listening(port: int) -> bool:
    """Asks the kernel rather than the peer: a probing connection would use up the one association of a test."""
    rows = [line.split() for name in ("tcp", "tcp6") for line in _proc_net(name)]
    return any(row[3] == LISTENING and int(row[1].rsplit(":", 1)[1], 16) == port for row in rows)


def _proc_net(name: str) -> list[str]:
    table = Path("/proc/net") / name
    return table.read_text().splitlines()[1:] if table.exists() else []


def data_set_of(file: bytes) -> bytes:
    """The octets of a Part 10 file after its group 2."""
    stream = BytesIO(file)
    pydicom.filereader.read_preamble(stream, force=False)
    pydicom.filereader._read_file_meta_info(stream)
    return file[stream.tell() :]
