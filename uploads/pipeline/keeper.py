"""Keeps a lease alive while a long leg works, and tells the leg when it has lost the row."""

import copy
import logging
import threading
from types import TracebackType

from django.conf import settings
from django.db import DatabaseError, connection

from uploads.models import Leased, LeaseLost

logger = logging.getLogger(__name__)


class Keeper:
    """Renews the lease of a row from a thread of its own, four times per lease.

    `check()` raises LeaseLost as soon as somebody else has the row; `lost()` says the same without raising.
    A database that is away for a moment costs nothing: the fence decides when the work is written back.
    """

    def __init__(self, row: Leased) -> None:
        self._row = copy.copy(row)  # its own, so that the two threads share no state
        self._stop = threading.Event()
        self._lost = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lease-keeper", daemon=True)

    def __enter__(self) -> "Keeper":
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join(timeout=10)

    def lost(self) -> bool:
        return self._lost.is_set()

    def check(self) -> None:
        if self.lost():
            raise LeaseLost(str(self._row.pk))

    def _run(self) -> None:
        try:
            while not self._stop.wait(settings.LEASE_SECONDS / 4):
                self._renew()
        finally:
            connection.close()

    def _renew(self) -> None:
        try:
            self._row.renew()
        except LeaseLost:
            self._lost.set()
            self._stop.set()
        except DatabaseError as error:
            logger.warning("lease not renewed: %s", type(error).__name__)
            connection.close()
