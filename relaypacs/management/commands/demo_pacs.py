"""`manage.py demo_pacs`: the demo PACS by itself, on the loopback address, until it is ended."""

import signal
import tempfile
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from relaypacs.demo import pacs
from relaypacs.demo.accounts import AE_TITLE


class Command(BaseCommand):
    help = "Runs a small PACS: Storage, storage commitment, C-ECHO and C-FIND, on 127.0.0.1."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--port", type=int, default=settings.DEMO_PACS_PORT)
        parser.add_argument("--directory", type=Path, default=settings.DATA_DIR / "demo-pacs")
        parser.add_argument("--ae", default=AE_TITLE)
        parser.add_argument(
            "--report-to", type=int, default=settings.DICOM_PORT, help="The port that its commitment reports go to."
        )
        parser.add_argument(
            "--lose", type=int, default=settings.DEMO_LOSE, help="Say that it stored the Nth, and do not."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        signal.signal(signal.SIGTERM, _end)
        directory: Path = options["directory"]
        (directory / "incoming").mkdir(parents=True, exist_ok=True)
        # what comes in is written where it will be kept, so that keeping it is a name more and not a copy
        tempfile.tempdir = str(directory / "incoming")
        for leftover in (directory / "incoming").iterdir():
            leftover.unlink(missing_ok=True)
        pacs.serve(
            directory,
            port=options["port"],
            ae_title=options["ae"],
            report_to=options["report_to"],
            lose=options["lose"],
        )


def _end(*_: Any) -> None:
    raise SystemExit(0)
