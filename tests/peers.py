"""Real peers for the tests: dcmtk's storescp, Orthanc, and (by name) the scripted and the misbehaving ones."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.loopback import LOOPBACK, PATH, data_set_of, free_port, listening, program_path, require, wait_until
from tests.rogues import Rogue, rogue_scp, silent_listener
from tests.scripted import Received, ScriptedSCP, scripted_scp

__all__ = [
    "Orthanc",
    "Program",
    "Received",
    "Rogue",
    "ScriptedSCP",
    "data_set_of",
    "free_port",
    "listening",
    "orthanc",
    "program_path",
    "require",
    "rogue_scp",
    "scripted_scp",
    "silent_listener",
    "storescp",
    "wait_until",
]


@dataclass
class Program:
    """A server process of ours: started, frozen, thawed, stopped and killed by its own pid."""

    command: Sequence[str]
    port: int
    ae: str
    directory: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        if self.process is None:
            raise RuntimeError("the program is not running")
        return self.process.pid

    def start(self) -> None:
        self.process = subprocess.Popen(
            self.command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PATH": PATH, **self.environment},
        )
        wait_until(self.ready, f"start of {self.command[0]}")

    def ready(self) -> bool:
        if self.process is not None and self.process.poll() is not None:
            raise RuntimeError(f"{self.command[0]} ended with {self.process.returncode}")
        return listening(self.port)

    def freeze(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        process, self.process = self.process, None
        if process is None or process.poll() is not None:
            return
        process.send_signal(number)
        process.send_signal(signal.SIGCONT)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


@contextmanager
def _scratch(directory: Path | None) -> Iterator[Path]:
    if directory is not None:
        directory.mkdir(parents=True, exist_ok=True)
        yield directory
        return
    with tempfile.TemporaryDirectory(prefix="relaypacs-peer-") as name:
        yield Path(name)


@contextmanager
def storescp(
    *flags: str, directory: Path | None = None, port: int | None = None, environment: Mapping[str, str] | None = None
) -> Iterator[Program]:
    """dcmtk's storescp with these flags; it writes to `directory` and takes every class and syntax it knows."""
    require("storescp")
    with _scratch(directory) as place:
        number = port or free_port()
        command = ["storescp", "--accept-all", "--promiscuous", "-aet", "STORESCP", "-od", str(place), *flags]
        program = Program([*command, str(number)], number, "STORESCP", place, environment or {})
        try:
            program.start()
            yield program
        finally:
            program.kill()


@dataclass
class Orthanc(Program):
    """A real Orthanc with its DICOM door on `port` and its REST API on `http_port`."""

    http_port: int = 0

    def ready(self) -> bool:
        return super().ready() and listening(self.http_port)

    def get(self, path: str) -> Any:
        return json.loads(self._octets(path))

    def _octets(self, path: str) -> bytes:
        with urllib.request.urlopen(f"http://{LOOPBACK}:{self.http_port}{path}", timeout=60) as answer:
            octets: bytes = answer.read()
            return octets

    def delete(self, instance: str) -> None:
        """Remove an instance, by Orthanc's id."""
        address = f"http://{LOOPBACK}:{self.http_port}/instances/{instance}"
        with urllib.request.urlopen(urllib.request.Request(address, method="DELETE"), timeout=60) as answer:
            answer.read()

    def instances(self) -> list[str]:
        """Orthanc's own ids of all instances."""
        ids: list[str] = self.get("/instances")
        return ids

    def sop_instance_uids(self) -> set[str]:
        return {row["MainDicomTags"]["SOPInstanceUID"] for row in self.get("/instances?expand")}

    def file(self, instance: str) -> bytes:
        """The stored Part 10 file of an instance, by Orthanc's id."""
        return self._octets(f"/instances/{instance}/file")

    def data_set(self, instance: str) -> bytes:
        return data_set_of(self.file(instance))

    def statistics(self) -> dict[str, Any]:
        numbers: dict[str, Any] = self.get("/statistics")
        return numbers


@contextmanager
def orthanc(
    directory: Path | None = None, *, environment: Mapping[str, str] | None = None, **config: Any
) -> Iterator[Orthanc]:
    """Debian's Orthanc on free loopback ports, knowing RELAYPACS; `config` overrides its configuration."""
    require("Orthanc")
    with _scratch(directory) as place:
        http_port, port = free_port(), free_port()
        settings = _orthanc_settings(place, http_port, port) | config
        (place / "orthanc.json").write_text(json.dumps(settings))
        server = Orthanc(
            ["Orthanc", str(place / "orthanc.json")], port, "ORTHANC", place, environment or {}, http_port=http_port
        )
        try:
            server.start()
            yield server
        finally:
            server.kill()  # it takes its time over a stop, and its folder goes anyway


def _orthanc_settings(place: Path, http_port: int, port: int) -> dict[str, Any]:
    return {
        "Name": "TestPACS",
        "StorageDirectory": str(place / "storage"),
        "IndexDirectory": str(place / "index"),
        "Plugins": [],
        "HttpPort": http_port,
        "DicomPort": port,
        "DicomAet": "ORTHANC",
        "DicomCheckCalledAet": True,
        "DicomAlwaysAllowEcho": True,
        "DicomAlwaysAllowStore": True,
        "UnknownSopClassAccepted": True,
        "DicomModalities": {"relay": ["RELAYPACS", LOOPBACK, 4242]},
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
    }
