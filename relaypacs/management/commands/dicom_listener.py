"""`manage.py dicom_listener`: PACS call it to report on storage commitments and to send back what was asked for."""

import functools
import signal
import time
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import close_old_connections

from relaypacs.embedded.children import CannotStart
from relaypacs.embedded.machine import need_port
from uploads.pacs.listener import Listener
from uploads.pipeline import reports

CALLERS_SECONDS = 5.0  # for so long one that was taken away may still call
STRANGERS_SECONDS = 0.5  # how soon one that was just entered may call: a PACS that is turned away may not report again

P = ParamSpec("P")
R = TypeVar("R")


def visiting(work: Callable[P, R]) -> Callable[P, R]:
    """On a caller's thread: the database connection is given back when the work is done."""

    @functools.wraps(work)
    def done(*args: P.args, **kwargs: P.kwargs) -> R:
        close_old_connections()
        try:
            return work(*args, **kwargs)
        finally:
            close_old_connections()

    return done


class Command(BaseCommand):
    help = "Listens on DICOM_HOST and DICOM_PORT for PACS that report, or send back what was asked for by C-MOVE."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            need_port(
                settings.DICOM_HOST,
                settings.DICOM_PORT,
                variable="DICOM_PORT",
                purpose="DICOM listener",
                host_variable="DICOM_HOST",
            )
            listener = self.listener()
        except CannotStart as error:
            raise CommandError(error.detail) from error
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: listener.close())
        listener.serve()

    @staticmethod
    def listener() -> Listener:
        """It listens already; what it is told goes into our rows."""
        return Listener(
            settings.DICOM_HOST,
            settings.DICOM_PORT,
            callers=Callers(),
            on_report=visiting(reports.take_report),
            on_instance=visiting(reports.take_instance),
        )


class Callers:
    """Whether we know who calls: the destinations' AE titles, read again every few seconds, and for whoever is new."""

    def __init__(self) -> None:
        self._titles: set[str] = set()
        self._read_at: float | None = None

    def __call__(self, calling_ae: str, address: str) -> bool:
        now = time.monotonic()
        keep = CALLERS_SECONDS if calling_ae in self._titles else STRANGERS_SECONDS
        if self._read_at is None or now - self._read_at > keep:
            self._titles = visiting(reports.known_titles)()
            self._read_at = now
        return calling_ae in self._titles
