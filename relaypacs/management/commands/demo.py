"""`manage.py demo` (`make demo`): a whole journey without a browser; ends well only if the study is verified."""

import contextlib
import os
import re
import signal
import socket
import subprocess  # nosec B404  (our own command, no shell)
import sys
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path

import httpx
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from relaypacs.demo import journey
from relaypacs.errors import RelayError

READY = re.compile(r"^RelayPACS is ready: (\S+)$")
ACCOUNT = re.compile(r"^  radiographer\s+(\S+)\s+(\S+)$")
START_SECONDS = 120.0
STOP_SECONDS = 20.0
# A demo shall not take minutes to find out that the PACS lost something.
QUICK = {"VERIFY_FIRST_SECONDS": "0.3", "RETRY_FIRST_SECONDS": "1", "PROBE_SECONDS": "2", "SWEEP_SECONDS": "1"}


class Command(BaseCommand):
    help = "Starts everything on free ports and in a scratch folder, relays a study, asks the PACS, stops everything."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("study", nargs="?", type=Path, help="A folder with one study; else the bundled sample.")

    def handle(self, *args: object, **options: object) -> None:
        study = options["study"]
        if isinstance(study, Path) and not study.is_dir():
            raise CommandError(f"{study} is not a folder.")
        with tempfile.TemporaryDirectory(prefix="relaypacs-demo-") as scratch, _running(Path(scratch)) as (url, login):
            self.stdout.write("\nThe study:")
            try:
                whole = journey.relay_sample(
                    url,
                    *login,
                    study=study if isinstance(study, Path) else None,
                    out=self._say,
                    receipt=Path(scratch) / "receipt.pdf",
                )
            except (RelayError, OSError, httpx.HTTPError) as error:
                raise CommandError(f"The study did not get through: {error}") from error
            with contextlib.suppress(FileNotFoundError):
                size = (Path(scratch) / "receipt.pdf").stat().st_size
                self._say(f"    the receipt is a PDF of {size} bytes")
        if not whole:
            raise CommandError("The study is not verified: the PACS does not have every image.")
        self.stdout.write("\nVerified: the PACS has every image of the study.")

    def _say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()


@contextlib.contextmanager
def _running(scratch: Path) -> Iterator[tuple[str, tuple[str, str]]]:
    """`manage.py up` on free ports; the address of its web server, and somebody's name and password."""
    settings.DEMO_PACS_PORT = _free_port()
    own = {
        "PORT": str(_free_port()),
        "DEMO_PACS_PORT": str(settings.DEMO_PACS_PORT),
        "DICOM_PORT": str(_free_port()),
        "RELAYPACS_DATA_DIR": str(scratch / "data"),
        "RELAYPACS_SAMPLE": "false",
        "PYTHONUNBUFFERED": "1",
    }
    foreign = {"DATABASE_URL", "MIGRATION_DATABASE_URL", "REDIS_URL", "STORAGE_URL"}
    environment = {name: value for name, value in os.environ.items() if name not in foreign} | QUICK | own
    command = [sys.executable, str(settings.BASE_DIR / "manage.py"), "up"]
    up = subprocess.Popen(  # nosec B603
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        yield _await_ready(up)
    finally:
        up.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            up.communicate(timeout=STOP_SECONDS)
        if up.poll() is None:
            up.kill()


def _await_ready(up: "subprocess.Popen[str]") -> tuple[str, tuple[str, str]]:
    url, login = "", ("", "")
    deadline = time.monotonic() + START_SECONDS
    for line in up.stdout or ():
        sys.stdout.write(line)
        if ready := READY.match(line.rstrip()):
            url = ready[1]
        if account := ACCOUNT.match(line.rstrip()):
            login = account[1], account[2]
        if line.startswith("Stop it with"):
            return url, login
        if time.monotonic() > deadline:
            break
    raise CommandError("RelayPACS did not start; what it said stands above.")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
