"""Our own listener: PACS call it to report on a storage commitment, and to send back what we asked for by C-MOVE."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable
from contextlib import suppress

from uploads.pacs import accepting, guest
from uploads.pacs.deadlines import Deadlines
from uploads.pacs.errors import PeerError
from uploads.pacs.guest import Guest
from uploads.pacs.wire import Wire

# Not by pynetdicom's own server, which reads a PDU of any length into memory, keeps a whole instance there (or in a
# file), starts a thread for every report, and waits without end for the rest of a PDU. Its codec and its negotiation
# are used; the rest is our own wire with its deadlines. What all callers together can make us hold is bounded by
# AT_ONCE messages of report.LONGEST_REPORT and IN_THE_HALL requests of pdu.LONGEST_REQUEST octets.

logger = logging.getLogger(__name__)

AT_ONCE = 16
"""Associations at the same time; one more is told to come later."""
IN_THE_HALL = 64
"""Connections that have not said who they are; one more, and the one that has been silent longest has to go."""
TICK_SECONDS = 0.5
LAST_WORDS_SECONDS = 5.0
DEFAULT_DEADLINES = Deadlines()


class Listener:
    """Takes C-ECHO, commitment reports and, with `on_instance`, C-STORE, whose octets are hashed and thrown away.

    `callers(calling AE, address)`: whether we know who calls; others are rejected. The title by which we are called
    is not looked at, for each destination may know us by another one. `on_report` and `on_instance` are called on
    threads with the calling AE title; False means that nothing of ours is meant, an exception that it should be
    tried again.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        callers: Callable[[str, str], bool],
        on_report: guest.OnReport,
        on_instance: guest.OnInstance | None = None,
        deadlines: Deadlines = DEFAULT_DEADLINES,
    ) -> None:
        """Begin to listen; OSError where the port cannot be had. Port 0 is any free one."""
        self._callers = callers
        self._on_report = on_report
        self._on_instance = on_instance
        self._deadlines = deadlines
        self._lock = threading.Condition()
        self._hall: dict[socket.socket, None] = {}
        self._seated: dict[socket.socket, None] = {}
        self._ended = threading.Event()
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.create_server((host, port), family=family, backlog=IN_THE_HALL)
        self._socket.settimeout(TICK_SECONDS)

    @property
    def port(self) -> int:
        return int(self._socket.getsockname()[1])

    def serve(self) -> None:
        """Until `close` is called, by another thread or a signal handler."""
        try:
            while not self._ended.is_set():
                try:
                    connection, address = self._socket.accept()
                except TimeoutError:
                    continue
                except OSError:  # no descriptor left, or the caller has gone again
                    self._ended.wait(TICK_SECONDS)
                    continue
                self._admit(connection, str(address[0]))
        finally:
            self._socket.close()
            self._see_off()

    def close(self) -> None:
        """Take no more calls; what is being answered is answered."""
        self._ended.set()

    def _admit(self, connection: socket.socket, address: str) -> None:
        with self._lock:
            if len(self._hall) >= IN_THE_HALL:
                longest_silent = next(iter(self._hall))
                self._hall.pop(longest_silent)
                _hang_up(longest_silent)
            self._hall[connection] = None
        thread = threading.Thread(target=self._attend, args=(connection, address), name="caller", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no thread left
            self._dismiss(connection)

    def _attend(self, connection: socket.socket, address: str) -> None:
        try:
            wire = Wire(connection, stall=self._deadlines.stall)
            caller = Guest(wire, self._deadlines, on_report=self._on_report, on_instance=self._on_instance)
            caller.attend(lambda title: self._refusal(connection, title, address))
        except PeerError as trouble:
            logger.info("a call ended early: %s", trouble.code)
        except OSError as error:
            logger.info("a call ended early: %s", type(error).__name__)
        finally:
            self._dismiss(connection)

    def _refusal(self, connection: socket.socket, calling_ae: str, address: str) -> tuple[int, int, int] | None:
        """Why this caller is rejected; None where it gets a seat."""
        try:
            known = self._callers(calling_ae, address)
        except Exception:  # whatever keeps us from knowing may have passed when it calls again
            logger.exception("it could not be looked up who calls")
            return accepting.CONGESTED
        if not known:
            logger.warning("a caller whose AE title no destination has was rejected")
            return accepting.CALLING_AE_UNKNOWN
        with self._lock:
            if len(self._seated) >= AT_ONCE:
                return accepting.LOCAL_LIMIT_EXCEEDED
            self._hall.pop(connection, None)
            self._seated[connection] = None
        return None

    def _dismiss(self, connection: socket.socket) -> None:
        with self._lock:
            self._hall.pop(connection, None)
            self._seated.pop(connection, None)
            self._lock.notify_all()
        connection.close()

    def _see_off(self) -> None:
        """Nothing more is read; the answers under way still go out."""
        with self._lock:
            for connection in (*self._hall, *self._seated):
                _hang_up(connection)
            self._lock.wait_for(lambda: not (self._hall or self._seated), LAST_WORDS_SECONDS)


def _hang_up(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RD)
